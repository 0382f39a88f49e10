"""The stand-in runs the binding plugin's sidecar as KubeVirt does, and gives QEMU what the sidecar has made."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.attach.rig import eventually
from tests.binding.vhost_user import Backend
from tests.lab.standin_demo import Demo, vm
from tests.lab.standin_lab import StandinLab
from virtnet.api.nic_kinds import VHOSTUSER_BINDING
from virtnet.kube.kinds import VMIS, VMS

pytestmark = pytest.mark.lab

SOCKET = "vhostuser-pod16477688c0e.sock"
MAC = "02:00:00:00:00:01"


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory in which sockets can be reached."""
    path = Path(tempfile.mkdtemp(prefix="vu"))
    yield path
    shutil.rmtree(path)


async def start(demo: Demo, **interface: Any) -> None:
    body = vm("vm1", demo.namespace)
    bound = {"name": "blue", "binding": {"name": VHOSTUSER_BINDING}, "macAddress": MAC, **interface}
    body["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"] = [bound]
    await demo.cluster.create(VMS, body, demo.namespace)


def volume(standin: StandinLab, pod: dict[str, Any]) -> Path:
    """The directory of a launcher's sockets, as its node sees it."""
    number = pod["spec"]["nodeName"].removeprefix("node")
    return standin.state / f"kubelet{number}/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~empty-dir/public"


def switch_at(path: Path) -> Backend:
    """The switch, once QEMU takes its connection."""
    found: list[Backend] = []

    def connected() -> bool:
        with suppress(FileNotFoundError, ConnectionRefusedError):
            found.append(Backend(path))
        return bool(found)

    eventually(connected, "QEMU has made its socket")
    return found[0]


async def test_a_guest_has_the_nic_that_the_sidecar_has_made(standin: StandinLab, demo: Demo, short: Path) -> None:
    await start(demo)
    pod = await demo.phase("Pod", "Running")
    assert [one["name"] for one in pod["spec"]["containers"]] == ["compute", "hook-sidecar-0"]
    (short / "way").symlink_to(volume(standin, pod))
    switch = await asyncio.to_thread(switch_at, short / "way" / SOCKET)
    octets = bytes.fromhex(MAC.replace(":", ""))
    try:
        await asyncio.to_thread(
            switch.serve_until, "frames of the guest", lambda: any(one[6:12] == octets for one in switch.frames())
        )
        vmi = await demo.phase("VirtualMachineInstance", "Running", "vm1")
    finally:
        switch.close()
    assert vmi["status"]["interfaces"][0]["mac"] == MAC
    state = standin.state / "pods" / pod["metadata"]["uid"]
    assert b'type="vhostuser"' in (state / "domain.xml").read_bytes()
    (region,) = {one.file_size for one in switch.regions}
    assert region > 128 << 20
    said = json.loads((state / "network-info").read_text())
    assert said == {"interfaces": [{"network": "blue", "mac": "02:00:00:00:00:09"}]}


async def test_what_the_sidecar_refuses_is_in_the_conditions_of_the_vmi(demo: Demo) -> None:
    await start(demo, model="e1000")

    def refused(change: str, kind: str, thing: dict[str, Any]) -> bool:
        conditions = thing.get("status", {}).get("conditions", ()) if kind == "VirtualMachineInstance" else ()
        return any(one["type"] == "Synchronized" and "virtnet-vhostuser" in one["message"] for one in conditions)

    vmi = await demo.until(refused)
    said = next(one for one in vmi["status"]["conditions"] if one["type"] == "Synchronized")
    assert (said["status"], said["reason"]) == ("False", "Synchronizing with the Domain failed.")
    assert said["message"] == (
        'server error. command SyncVMI failed: "virtnet-vhostuser: VMI: interface blue: model e1000: vhost-user NICs '
        'are virtio; remove the model"'
    )
    assert (await demo.cluster.get(VMIS, "vm1", demo.namespace))["status"]["phase"] == "Scheduled"
