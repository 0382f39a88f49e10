"""VMs that no person would write, sent to the server itself: it answers every one, and lets none in unpinned."""

import asyncio
import base64
import json
import random
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.pinning.conftest import Admission, Tenant
from tests.pinning.inputs import vm

VM = {"group": "kubevirt.io", "version": "v1", "resource": "virtualmachines"}
ODDITIES: list[Any] = [
    None, "", "x" * 300, "\x00", "😀", 0, -1, 2**63, 1.5, True, [], {}, [[]], [{}], [None], {"": ""}, {"blue": None},
    "10.0.0.9", "10.0.0.9/24", "fd00::9", '{"blue": ["10.0.0.9"]}', '{"blue": [7]}', "02:00:00:00:00:00:00", "ff" * 6,
    "[" * 2000,
]  # fmt: skip
ROUNDS = 150


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(inner):
        yield (*path, key)
        yield from places(one, (*path, key))


def mutate(body: Any, chance: random.Random) -> Any:
    for _ in range(chance.randint(1, 3)):
        paths = list(places(body))
        if not paths:
            break
        *way, last = chance.choice(paths)
        place = body
        for key in way:
            place = place[key]
        match chance.randrange(3):
            case 0:
                del place[last]
            case 1:
                place[last] = json.loads(json.dumps(chance.choice(ODDITIES)))
            case _ if isinstance(place, list):
                place.append(json.loads(json.dumps(place[last])))
            case _:
                place[last] = [place[last]]
    return body


def names_a_network_of_ours(body: Any) -> bool:
    """Whether KubeVirt would attach a NIC of this VM to the NAD."""
    try:
        networks = body["spec"]["template"]["spec"]["networks"]
        return any(n["multus"]["networkName"].endswith("blue-net") for n in networks)
    except (KeyError, TypeError, AttributeError):
        return False


def patched(response: dict[str, Any]) -> str:
    return base64.b64decode(response["patch"]).decode() if "patch" in response else ""


@pytest.mark.parametrize("seed", range(2))
async def test_every_mutated_vm_gets_an_answer_and_none_is_let_in_unpinned(
    admission: Admission, tenant: Tenant, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same ones each time
    replica = admission.replicas["a"]
    requests = {"virtnet.dev/addresses": '{"blue": ["10.0.0.77"]}'}

    async def one(number: int) -> None:
        annotations = requests if number % 2 else None
        body = mutate(vm(f"f{seed}-{number}", annotations=annotations, macs={"blue": "02:00:00:00:00:09"}), chance)
        asked = {"uid": str(uuid4()), "resource": VM, "operation": "CREATE", "namespace": tenant.namespace,
                 "name": f"f{seed}-{number}", "object": body, "userInfo": {}, "dryRun": True}  # fmt: skip
        status, answer = await replica.post("pin-vm", {"request": asked})
        assert status in (200, 400), f"{status} for {json.dumps(body)}: {answer}"
        if status == 400:
            return
        response = answer["response"]
        assert response["uid"] == asked["uid"]
        if response["allowed"]:
            assert "pinned" in patched(response) or not names_a_network_of_ours(body), json.dumps(body)
        else:
            assert response["status"]["message"], json.dumps(body)

    for start in range(0, ROUNDS, 15):
        await asyncio.gather(*(one(number) for number in range(start, start + 15)))
