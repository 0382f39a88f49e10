"""Objects that no person would write, sent to the server itself: it answers every one, and lets no VM in unpinned."""

import asyncio
import base64
import copy
import json
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pinning.conftest import Admission, Tenant
from tests.pinning.inputs import nad, network, pod, subnet, vm
from virtnet.api.multus import InvalidNetwork, NadNetwork, selections
from webhooks.cache import nad_network

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
        spec = body["spec"]["template"]["spec"]
        nics = {interface["name"] for interface in spec["domain"]["devices"]["interfaces"]}
        return any(n["multus"]["networkName"].endswith("blue-net") and n["name"] in nics for n in spec["networks"])
    except (KeyError, TypeError, AttributeError):
        return False


def has_what_the_api_server_adds(body: Any) -> bool:
    """Whether an object has a kind, a name and a namespace: without them it never comes to a webhook."""
    try:
        return bool(body["kind"] and body["metadata"]["name"] and body["metadata"]["namespace"])
    except (KeyError, TypeError):
        return False


def patched(response: dict[str, Any]) -> str:
    return base64.b64decode(response["patch"]).decode() if "patch" in response else ""


async def reviewed(admission: Admission, path: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """The response; None where the server says that this is no review at all."""
    whole = {"uid": str(uuid4()), "operation": "CREATE", "userInfo": {}, "dryRun": True, **request}
    status, answer = await admission.replicas["a"].post(path, {"request": whole})
    assert status in (200, 400), f"{status} for {json.dumps(request)}: {answer}"
    if status == 400:
        return None
    response: dict[str, Any] = answer["response"]
    assert response["uid"] == whole["uid"]
    if not response["allowed"]:
        assert 0 < len(response["status"]["message"]) <= 1100, json.dumps(request)
        if has_what_the_api_server_adds(request["object"]):
            assert "failed to decide" not in response["status"]["message"], json.dumps(request)
    return response


async def at_once(one: Callable[[int], Awaitable[None]]) -> None:
    for start in range(0, ROUNDS, 15):
        await asyncio.gather(*(one(number) for number in range(start, start + 15)))


@pytest.mark.parametrize("seed", range(2))
async def test_every_mutated_vm_gets_an_answer_and_none_is_let_in_unpinned(
    admission: Admission, tenant: Tenant, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same ones each time
    requests = {"virtnet.dev/addresses": '{"blue": ["10.0.0.77"]}'}

    async def one(number: int) -> None:
        annotations = requests if number % 2 else None
        name = f"f{seed}-{number}"
        body = vm(name, annotations=annotations, macs={"blue": "02:00:00:00:00:09"})
        body["metadata"]["namespace"] = tenant.namespace  # as the API server sends it
        body = mutate(body, chance)
        request = {"resource": VM, "namespace": tenant.namespace, "name": name, "object": body}
        response = await reviewed(admission, "pin-vm", request)
        if response and response["allowed"]:
            assert "pinned" in patched(response) or not names_a_network_of_ours(body), json.dumps(body)

    await at_once(one)
    assert await tenant.leases() == {}


OTHERS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "a pod": (
        "mark-pod",
        {"group": "", "version": "v1", "resource": "pods"},
        pod([{"name": "blue-net", "interface": "net1", "ips": ["10.0.0.7/24"], "mac": "02:00:00:00:00:07"}]),
    ),
    "a Subnet": (
        "check",
        {"group": "virtnet.dev", "version": "v1alpha1", "resource": "subnets"},
        subnet(
            cidrs="10.5.0.0/24 fd05::/64",
            gateways=["10.5.0.1"],
            ranges=["10.5.0.9-10.5.0.20"],
            excludes=["10.5.0.12"],
            reservations=[{"address": "10.5.0.9", "vm": "db"}],
            routes=[{"destination": "10.9.0.0/24", "gateway": "10.5.0.9"}],
            multicast={"snooping": True, "querier": True, "querierAddress": "10.5.0.3"},
        ),
    ),
    "a ProviderNetwork": (
        "check",
        {"group": "virtnet.dev", "version": "v1alpha1", "resource": "providernetworks"},
        network("fuzz", customNics=[{"nic": "eth1", "nodes": ["n1"]}], nodeSelector={"a": "b"}, excludeNodes=["n2"]),
    ),
    "a NAD": (
        "check-nad",
        {"group": "k8s.cni.cncf.io", "version": "v1", "resource": "network-attachment-definitions"},
        nad({"subnet": "blue", "plugins": [{"type": "virtnet-cni", "subnet": "blue"}]}),
    ),
}


@pytest.mark.parametrize("what", OTHERS)
async def test_every_other_mutated_object_gets_an_answer(admission: Admission, tenant: Tenant, what: str) -> None:
    path, resource, body = OTHERS[what]
    chance = random.Random(what)  # noqa: S311 - the same ones each time
    whole = {**body, "metadata": {**body["metadata"], "namespace": tenant.namespace}}
    allowed = []

    async def one(number: int) -> None:
        mutated = mutate(copy.deepcopy(whole), chance)
        update = {"operation": "UPDATE", "oldObject": whole} if number % 3 == 0 else {}
        request = {"resource": resource, "namespace": tenant.namespace, "name": "f", "object": mutated, **update}
        response = await reviewed(admission, path, request)
        allowed.append(bool(response and response["allowed"]))

    await at_once(one)
    assert set(allowed) == {True, False}, "some of each"
    assert await reviewed(admission, path, {"resource": resource, "namespace": tenant.namespace, "object": whole})
    assert await tenant.leases() == {}


@given(st.recursive(st.sampled_from(ODDITIES), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_a_nad_says_it_is_followed_or_refused(config: Any) -> None:
    metadata = {"namespace": "demo", "name": "odd"}
    for said in (config, json.dumps(config), {"type": "virtnet-cni", "subnet": config}, {"plugins": config}):
        text = said if isinstance(said, str) else json.dumps(said)
        found = nad_network({"metadata": metadata, "spec": {"config": text}})
        assert found is None or isinstance(found, NadNetwork | InvalidNetwork)


@given(st.text() | st.sampled_from([f"[{json.dumps(odd)}]" for odd in ODDITIES]), st.data())
def test_whatever_a_pod_selects_it_is_understood_or_refused(text: str, data: st.DataObject) -> None:
    element = {key: data.draw(st.sampled_from(ODDITIES)) for key in ("name", "namespace", "interface", "ips", "mac")}
    for said in (text, json.dumps([element]), json.dumps(element)):
        with suppress(InvalidNetwork):
            assert all(one.nad and one.interface for one in selections(said, "demo"))
