"""Whose a device is, the kubelet says, by whichever of its methods it has; and nothing else is believed."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.kubelet import Kubelet, listed
from tests.attach.samples import journaled
from tests.messages import VIRTUAL_FUNCTIONS, as_told
from virtnet.node.allocations import Allocations, devices_of
from virtnet.node.request import CniError
from virtnet.protobuf import Malformed

VF, OTHER = "0000:3b:02.0", "0000:3b:02.1"
ALLOTTED = {"demo/launcher": [VF], "demo/other": [OTHER], "elsewhere/launcher": ["0000:3b:02.2"], "demo/bare": []}


@pytest.fixture(params=["on", "off", "absent"])
async def allocations(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Allocations]:
    """A kubelet whose method Get is on, switched off, or not there yet."""
    path = tmp_path / "allotted.json"
    path.write_text(json.dumps(ALLOTTED))
    async with Kubelet(path, get=request.param).serving(tmp_path / "kubelet.sock"):
        yield Allocations(tmp_path / "kubelet.sock")


async def test_a_device_of_the_pod(allocations: Allocations) -> None:
    await allocations.check(journaled(device=VF))


@pytest.mark.parametrize(
    ("pod", "device", "has"),
    [
        pytest.param("launcher", OTHER, VF, id="another pod's"),
        pytest.param("launcher", "0000:3b:02.2", VF, id="that of a pod of the same name elsewhere"),
        pytest.param("launcher", "0000:00:1f.6", VF, id="nobody's"),
        pytest.param("bare", VF, "none", id="of a pod without devices"),
        pytest.param("unknown", VF, "none", id="of a pod that the kubelet does not know"),
    ],
)
async def test_a_device_that_is_not_the_pods(allocations: Allocations, pod: str, device: str, has: str) -> None:
    with pytest.raises(CniError) as refused:
        await allocations.check(journaled(device=device, pod_name=pod))
    assert str(refused.value) == f"device {device} is not allotted to pod demo/{pod}; the kubelet has given it {has}"
    assert refused.value.code == CniError.NETWORK


async def test_people_are_told(allocations: Allocations, tmp_path: Path) -> None:
    absent, row = Allocations(tmp_path / "none.sock"), VIRTUAL_FUNCTIONS["a kubelet that cannot be asked"]
    with pytest.raises(CniError) as refused:
        await absent.check(journaled(device=OTHER))
    code, said = as_told(refused.value.answer())
    begin, end = row.message.replace("SOCKET", str(absent.socket)).split("ERROR")
    assert (code, said.startswith(begin), said.endswith(end)) == (row.reason, True, True), said
    with pytest.raises(CniError) as refused:
        await allocations.check(journaled(device=OTHER))
    row = VIRTUAL_FUNCTIONS["another pod's device"]
    assert as_told(refused.value.answer()) == (row.reason, row.message)


async def test_whether_anybody_can_tell(allocations: Allocations, tmp_path: Path) -> None:
    await allocations.check_served()
    absent = Allocations(tmp_path / "none.sock")
    with pytest.raises(CniError) as refused:
        await absent.check_served()
    row = VIRTUAL_FUNCTIONS["STATUS of such a network, and a kubelet that does not listen"]
    assert as_told(refused.value.answer()) == (row.reason, row.message.replace("SOCKET", str(absent.socket)))


@given(st.dictionaries(st.sampled_from(sorted(ALLOTTED)), st.lists(st.text(max_size=30), max_size=3)))
def test_what_protobuf_writes_is_read(allotted: dict[str, list[str]]) -> None:
    answer = listed(allotted)
    for pod in ALLOTTED:
        namespace, name = pod.split("/")
        assert devices_of(answer, namespace, name) == frozenset(allotted.get(pod, ()))


@given(st.binary(max_size=60))
def test_any_answer_is_read_or_malformed(answer: bytes) -> None:
    with contextlib.suppress(Malformed):
        devices_of(answer, "demo", "launcher")
