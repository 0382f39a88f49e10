"""The device that Multus has chosen for a NIC, and the file that tells what it is: written by ADD, gone after DEL."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.more_kinds import UPLINK
from tests.attach.rig import Node, eventually, run
from virtnet.node.device_info import DeviceInfo, PciDevice, VdpaDevice, VhostUserDevice, document
from virtnet.node.request import CniError, Frame, Request, parse

VF = "0000:01:10.0"
DIRECTORY = "/var/run/k8s.cni.cncf.io/devinfo/cni"
FILE = f"{DIRECTORY}/blue-net-c1_pod1"
SERVED = {"MORE_KINDS": "yes"}
GONE: tuple[Callable[[Node, str], Any], ...] = (
    lambda node, container: node.cni("DEL", container=container),
    lambda node, _: node.cni("GC", valid=[]),
)


def parsed(command: str = "ADD", **config: Any) -> Request:
    env = {"CNI_COMMAND": command, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "pod1", "CNI_NETNS": "/run/netns/x"}
    return parse(Frame(env=env, config=json.dumps({"cniVersion": "1.1.0", "name": "blue-net", **config})))


@pytest.mark.parametrize(
    ("config", "device"),
    [
        ({}, ""),
        ({"deviceID": VF}, VF),
        ({"pciBusID": VF}, VF),
        ({"deviceID": "10000:e1:1f.7", "pciBusID": VF}, "10000:e1:1f.7"),
        ({"deviceID": VF, "runtimeConfig": {"deviceID": "vdpa0"}}, "vdpa0"),
        ({"deviceID": "mlx5_core.sf.4", "runtimeConfig": {"mac": "x"}}, "mlx5_core.sf.4"),
        ({"deviceID": None, "runtimeConfig": None}, ""),
    ],
)
def test_the_device(config: dict[str, Any], device: str) -> None:
    assert parsed(**config).device == device


@pytest.mark.parametrize(
    "device", ["0000:01:10.8", "../0000:01:10.0", "a/b", ".x", "-x", "0000:01:10.0\n", "x" * 64, 7, [VF]]
)
@pytest.mark.parametrize("key", ["deviceID", "pciBusID"])
def test_no_device(key: str, device: object) -> None:
    config: dict[str, Any] = {key: device}
    with pytest.raises(CniError, match="is no device"):
        parsed(**config)
    assert parsed("DEL", **config).device == ""


@pytest.mark.parametrize("path", [FILE, FILE.removeprefix("/var"), f"{DIRECTORY}/a.b_c-c1_pod1", ""])
def test_the_file(path: str) -> None:
    assert parsed(runtimeConfig={"CNIDeviceInfoFile": path}).device_info == path


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "blue-net-c1_pod1",
        f"{DIRECTORY}/../cni/blue-net-c1_pod1",
        f"{DIRECTORY}/x/blue-net-c1_pod1",
        f"{DIRECTORY}//blue-net-c1_pod1",
        f"{DIRECTORY}/blue-net-c2_pod1",
        f"{DIRECTORY}/blue-net-c1_pod10",
        f"{DIRECTORY}/-c1_pod1",
        f"{DIRECTORY}/.x-c1_pod1",
        f"{DIRECTORY}/{'x' * 240}-c1_pod1",
        f"{FILE}\n",
        7,
        [FILE],
    ],
)
def test_no_file_of_this_nic(path: object) -> None:
    with pytest.raises(CniError, match="is no file of this NIC"):
        parsed(runtimeConfig={"CNIDeviceInfoFile": path})
    assert parsed("DEL", runtimeConfig={"CNIDeviceInfoFile": path}).device_info == ""


@given(st.text(), st.text())
def test_whatever_is_accepted_is_a_plain_name(device: str, path: str) -> None:
    try:
        request = parsed(deviceID=device, runtimeConfig={"CNIDeviceInfoFile": f"{DIRECTORY}/{path}"})
    except CniError:
        return
    assert "/" not in request.device
    assert str(Path(request.device_info).parent) == DIRECTORY


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (PciDevice(VF), {"type": "pci", "version": "1.1.0", "pci": {"pci-address": VF}}),
        (VhostUserDevice("server", "/x/y"),
         {"type": "vhost-user", "version": "1.1.0", "vhost-user": {"mode": "server", "path": "/x/y"}}),
        (VdpaDevice("vdpa0", "vhost", "/dev/vhost-vdpa-0", pf_pci_address=VF, representor_device="eth1"),
         {"type": "vdpa", "version": "1.1.0",
          "vdpa": {"parent-device": "vdpa0", "driver": "vhost", "path": "/dev/vhost-vdpa-0",
                   "pf-pci-address": VF, "representor-device": "eth1"}}),
    ],
)  # fmt: skip
def test_the_document(info: DeviceInfo, said: dict[str, Any]) -> None:
    assert document(info) == said


@pytest.fixture
def served(node: Node) -> Iterator[Node]:
    """A node that serves a NIC kind with a device."""
    run("ip", "-n", node.name, "link", "add", UPLINK, "type", "bridge")
    node.restart_daemon(**SERVED)
    node.pod(nic="macvlan")
    yield node
    node.restart_daemon(**SERVED)
    assert node.cni("GC", valid=[]) == (0, None)
    assert not node.journal()
    node.restart_daemon()
    run("ip", "-n", node.name, "link", "del", UPLINK)


@pytest.fixture
def container() -> str:
    """One that no other run of these tests has: the directory is the machine's."""
    return uuid4().hex


def file_of(container: str) -> Path:
    return Path(DIRECTORY) / f"blue-net-{container}_pod1"


def config_of(container: str, **changes: Any) -> str:
    runtime = {"deviceID": VF, "CNIDeviceInfoFile": str(file_of(container))}
    return json.dumps({"cniVersion": "1.1.0", "name": "blue-net", "deviceID": VF, "runtimeConfig": runtime} | changes)


def pci_address(container: str) -> str:
    return str(json.loads(file_of(container).read_text())["pci"]["pci-address"])


@pytest.mark.parametrize("gone", GONE, ids=["DEL", "GC"])
def test_written_and_removed(served: Node, container: str, gone: Callable[[Node, str], Any]) -> None:
    node, netns, config = served, served.sandbox(), config_of(container)
    result = node.add(container, netns=netns, config=config)
    assert result["interfaces"][-1]["pciID"] == VF
    assert pci_address(container) == VF
    file_of(container).write_text("what Multus has copied there")
    assert node.add(container, netns=netns, config=config) == result
    assert pci_address(container) == VF
    assert gone(node, container) == (0, None)
    assert not [*Path(DIRECTORY).glob(f"*{container}*")]


def test_another_device_is_another_nic(served: Node, container: str) -> None:
    node, netns = served, served.sandbox()
    node.add(container, netns=netns, config=config_of(container))
    runtime = {"deviceID": "0000:01:10.2", "CNIDeviceInfoFile": str(file_of(container))}
    result = node.add(container, netns=netns, config=config_of(container, runtimeConfig=runtime))
    assert result["interfaces"][-1]["pciID"] == "0000:01:10.2"
    assert pci_address(container) == "0000:01:10.2"


@pytest.mark.parametrize("at", ["attached:0", "do:5"])
def test_killed_in_add(served: Node, container: str, at: str) -> None:
    node, netns, config = served, served.sandbox(), config_of(container)
    node.restart_daemon(CRASH_AT=at, **SERVED)
    assert node.refused(container=container, netns=netns, config=config)["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    assert file_of(container).exists()
    node.start_daemon(**SERVED)
    assert file_of(container).exists() == (at == "do:5")
    node.add(container, netns=netns, config=config)
    assert pci_address(container) == VF
    assert node.cni("DEL", container=container) == (0, None)
    assert not file_of(container).exists()


@pytest.mark.parametrize("at", ["undo:0", "undo:4"])
def test_killed_in_del(served: Node, container: str, at: str) -> None:
    node, netns = served, served.sandbox()
    node.add(container, netns=netns, config=config_of(container))
    node.restart_daemon(CRASH_AT=at, **SERVED)
    assert node.refused("DEL", container=container)["code"] == 11
    eventually(lambda: node.daemon.pid is None, "the daemon is dead")
    node.start_daemon(**SERVED)
    assert not file_of(container).exists()


def test_a_file_that_cannot_be_written(served: Node, container: str) -> None:
    """The NIC is taken back, and so is the file's beginning."""
    node = served
    file_of(container).parent.mkdir(parents=True, exist_ok=True)
    file_of(container).mkdir()
    try:
        answer = node.refused(container=container, netns=node.sandbox(), config=config_of(container))
    finally:
        file_of(container).rmdir()
    assert answer["code"] == 11
    assert "its device-info file cannot be written: [Errno 21] Is a directory" in answer["msg"]
    eventually(lambda: node.cni("DEL", container=container) == (0, None), "DEL")
    assert not [*Path(DIRECTORY).glob(f"*{container}*")]
