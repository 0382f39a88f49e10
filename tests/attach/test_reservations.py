"""A device is one pod's at a time, and is taken over from one that has ended before anything is changed for the next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.attach.more_kinds import Geneve
from tests.attach.samples import attachment, journaled
from tests.messages import VIRTUAL_FUNCTIONS, as_told
from virtnet.kube.errors import NotFound
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Drivers
from virtnet.node.request import AttachmentId, CniError
from virtnet.node.reservations import Reservations

VF, OTHER = "0000:3b:02.1", "0000:3b:02.0"
LIVING = {"metadata": {"name": "running", "uid": "u1"}, "status": {"phase": "Running"}}


class Known:
    """Pods of an API server, and a kubelet that has allotted all that is asked about."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.pods = {pod["metadata"]["name"]: pod for pod in pods}

    async def pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        if name not in self.pods:
            raise NotFound(f"pods {name!r} not found", code=404)
        return self.pods[name]

    async def check(self, entry: Entry) -> None:
        if entry.pod_name == "stranger":
            raise CniError(CniError.NETWORK, "not allotted")


class Kind(Geneve):
    """A NIC kind that takes a device, or none."""

    def __init__(self, *, device: bool) -> None:
        self._takes = device

    def device(self, entry: Entry) -> str:
        return entry.device if self._takes else ""


def nic(container: str, *, pod: str = "running", uid: str = "u1", port: str = "demo/db.blue", **given: Any) -> Entry:
    of_pod = {"pod_name": pod, "pod_uid": uid, "attachment": attachment(port, nic="sriov")}
    return journaled(container=container, **{"device": VF, **of_pod, **given})


async def made(tmp_path: Path, held: Entry, entry: Entry, *pods: dict[str, Any], busy: bool = False) -> list[str]:
    """The containers whose NICs were detached, once the device is the entry's."""
    journal, known, detached = Journal(tmp_path), Known(*pods), []
    await journal.write(held)

    async def detach(id_: AttachmentId) -> None:
        detached.append(id_.container)
        await journal.remove(id_)

    try:
        allocations: Any = known
        drivers = Drivers({"veth": Kind(device=False), "sriov": Kind(device=True)})
        await Reservations(journal, known, drivers, allocations).make(entry, busy=lambda _: busy, detach=detach)
    finally:
        journal.close()
    return detached


@pytest.mark.parametrize(
    ("held", "entry", "pods", "detached"),
    [
        pytest.param(nic("a"), nic("a"), [LIVING], [], id="its own"),
        pytest.param(nic("a"), nic("b", device=OTHER, port="demo/web.blue"), [LIVING], [], id="another one"),
        pytest.param(nic("a", attachment=attachment()), nic("b", port="demo/web.blue"), [LIVING], [], id="that a veth has only named"),
        pytest.param(nic("a"), nic("b"), [LIVING], ["a"], id="of an earlier sandbox of the pod"),
        pytest.param(nic("a"), nic("b", pod="second", uid="u2"), [], ["a"], id="of a pod that is gone"),
        pytest.param(nic("a"), nic("b", uid="u2"), [LIVING | {"metadata": {"name": "running", "uid": "u2"}}], ["a"],
                     id="of an earlier pod of the name"),
        pytest.param(nic("a"), nic("b", pod="second", uid="u2"), [LIVING | {"status": {"phase": "Failed"}}], ["a"],
                     id="of a pod that has ended"),
        pytest.param(nic("a", device=OTHER), nic("b", pod="second", uid="u2"), [], ["a"],
                     id="the same port by another device"),
    ],
)  # fmt: skip
async def test_whose_it_is(tmp_path: Path, held: Entry, entry: Entry, pods: list[Any], detached: list[str]) -> None:
    assert await made(tmp_path, held, entry, *pods) == detached


async def refused(tmp_path: Path, entry: Entry, *pods: dict[str, Any], busy: bool = False) -> tuple[str, str]:
    with pytest.raises(CniError) as refused:
        await made(tmp_path, nic("a"), entry, *pods, busy=busy)
    return as_told(refused.value.answer())


async def test_people_are_told(tmp_path: Path) -> None:
    row = VIRTUAL_FUNCTIONS["a device that a living pod has"]
    told = (row.reason, row.message)
    assert await refused(tmp_path, nic("b", pod="second", uid="u2", port="demo/web.blue"), LIVING) == told
    assert await refused(tmp_path, nic("a", interface="pod2", port="demo/web.blue"), LIVING) == told
    code, said = await refused(tmp_path, nic("b", pod="second", uid="u2", device=OTHER), LIVING)
    assert (code, said) == (row.reason, row.message.replace(f"device {VF}", "port demo/db.blue", 1))
    row = VIRTUAL_FUNCTIONS["a device that is being taken back"]
    assert await refused(tmp_path, nic("b", pod="second", uid="u2"), busy=True) == (row.reason, row.message)


async def test_a_stranger_takes_nothing_from_a_pod_that_has_ended(tmp_path: Path) -> None:
    assert await refused(tmp_path, nic("b", pod="stranger", uid="u3")) == ("7", "not allotted")
