"""NICs of kind switchdev of a guest: the port in a real OVN, packets by it, and that afterwards all is as it was.

The virtual function is modelled: tests.attach.modelled_vf.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.attach.modelled_vf import GUEST, REPRESENTOR, UPLINK, VF, ModelledVf
from tests.attach.real_pods import commit
from tests.attach.rig import REPOSITORY, Node, eventually, inside, run
from tests.attach.samples import MAC
from tests.devices.sysfs import PF
from tests.topology.samples import VPC, Range, port, subnet
from tests.virtual_functions.test_knobs import FRESH
from virtnet.api import Port
from virtnet.handoff.options import ChassisOptions
from virtnet.lab.ovn_central import OvnCentral
from virtnet.node.allocations import POD_RESOURCES
from virtnet.node.virtual_functions.knobs import Knobs
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows

BLUE = subnet("switched")
INFO = "/run/k8s.cni.cncf.io/devinfo/cni/blue-net-c1_pod1"
CONFIG = json.dumps(
    {
        "cniVersion": "1.1.0", "name": "blue-net", "type": "virtnet-cni", "deviceID": VF,
        "runtimeConfig": {"CNIDeviceInfoFile": INFO},
    }
)  # fmt: skip
KUBELET = "import asyncio, pathlib, sys; from tests.attach import kubelet; asyncio.run(kubelet.serve(*map(pathlib.Path, sys.argv[1:])))"
STEPS = 2
"""Of its own: the MAC, and the representor."""


@dataclass
class Scene:
    """A node with a modelled virtual function, and the namespace that is its guest."""

    node: Node
    vf: ModelledVf
    guest: str

    def daemon(self, **environment: str) -> None:
        self.node.restart_daemon(MODELLED_VF=str(self.vf.state), **environment)

    def cni(self, command: str, netns: str, **given: Any) -> tuple[int, Any]:
        return self.node.cni(command, netns=netns, config=CONFIG, **given)

    def add(self, netns: str) -> dict[str, Any]:
        code, answer = self.cni("ADD", netns)
        assert code == 0, answer
        return dict(answer)

    @property
    def knobs(self) -> Knobs:
        return Knobs.model_validate_json(self.vf.knobs.read_text())

    @property
    def representor(self) -> dict[str, Any]:
        (link,) = inside(self.node.name, "-details", "link", "show", REPRESENTOR)
        return {"mtu": link["mtu"], "up": "UP" in link["flags"], "ipv6": link["inet6_addr_gen_mode"]}

    @property
    def state(self) -> Any:
        return self.knobs, self.representor, self.node.interfaces(), self.node.journal()


@contextmanager
def staged(node: Node, state: Path) -> Iterator[Scene]:
    """A node with a modelled virtual function, which its kubelet has given to the launcher."""
    guest = node.sandbox().rpartition("/")[2]
    made = Scene(node, ModelledVf(state), guest)
    made.vf.make(node.name, guest)
    served, allotted = node.state / "kubelet" / POD_RESOURCES, state / "allotted.json"
    served.parent.mkdir(parents=True, exist_ok=True)
    served.unlink(missing_ok=True)
    allotted.write_text(json.dumps({"demo/launcher": [VF]}))
    kubelet = node.background(
        "kubelet", sys.executable, "-c", KUBELET, str(served), str(allotted), PYTHONPATH=str(REPOSITORY)
    )
    eventually(served.exists, "the kubelet tells of devices")
    yield made
    kubelet.stop()
    run("ip", "-n", node.name, "link", "del", UPLINK)
    run("ip", "-n", node.name, "link", "del", REPRESENTOR)


@pytest.fixture
def scene(node: Node, tmp_path: Path) -> Iterator[Scene]:
    with staged(node, tmp_path) as made:
        before = made.state
        made.daemon()
        yield made
        made.daemon()
        node.clean()
        assert made.state == before
        node.daemon.stop()
    node.start_daemon()


def launcher(node: Node, **given: Any) -> str:
    """A pod to which the device is allotted; its network namespace."""
    node.pod(**{"nic": "switchdev", **given})
    return node.sandbox()


def test_it_is_a_port_of_the_switch(scene: Scene) -> None:
    netns, mac = launcher(scene.node), inside(scene.node.name, "link", "show", REPRESENTOR)[0]["address"]
    result = scene.add(netns)
    assert result["interfaces"] == [
        {"name": REPRESENTOR, "mac": mac, "mtu": 1400},
        {"name": "pod1", "mac": MAC, "sandbox": netns, "mtu": 1400, "pciID": VF},
    ]
    info = {"pci-address": VF, "pf-pci-address": PF, "representor-device": REPRESENTOR}
    assert json.loads(Path(INFO).read_text()) == {"type": "pci", "version": "1.1.0", "pci": info}
    assert scene.knobs == FRESH.model_copy(update={"mac": MAC})
    assert scene.representor == {"mtu": 1400, "up": True, "ipv6": "none"}
    assert scene.node.interfaces()[REPRESENTOR]["iface-id"] == "demo/db.blue"
    assert scene.cni("CHECK", netns) == (0, None)
    assert scene.add(netns) == result
    assert scene.cni("DEL", netns) == (0, None)
    assert not Path(INFO).exists()


def test_check_sees_what_others_have_changed(scene: Scene) -> None:
    netns = launcher(scene.node)
    scene.add(netns)
    run("ip", "-n", scene.node.name, "link", "set", REPRESENTOR, "down")
    code, answer = scene.cni("CHECK", netns)
    assert (code, answer["msg"]) == (1, f"the representor of device {VF} is {REPRESENTOR}, down")
    scene.vf.mode.write_text("legacy")
    code, answer = scene.cni("CHECK", netns)
    assert (code, answer["msg"]) == (1, f"the NIC of device {VF} is not in switchdev mode")
    scene.vf.mode.write_text("switchdev")


@pytest.mark.parametrize(("kind", "mode"), [("switchdev", "legacy"), ("sriov", "switchdev")])
def test_kind_and_mode_go_together(scene: Scene, kind: str, mode: str) -> None:
    underlay = {"providerNetwork": "physnet", "vlan": 0, "conflictDetection": False} if kind == "sriov" else None
    if underlay:
        scene.node.vsctl("--may-exist", "add-br", "br-phys", "--", "set", "Bridge", "br-phys", "datapath_type=netdev")
        scene.node.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=physnet:br-phys")
    netns = launcher(scene.node, nic=kind, underlay=underlay)
    scene.vf.mode.write_text(mode)
    code, answer = scene.cni("ADD", netns)
    scene.vf.mode.write_text("switchdev")
    assert code == 1
    said = "in" if mode == "switchdev" else "not in"
    assert f"its NIC is {said} switchdev mode, and port demo/db.blue is of kind {kind}" in answer["msg"]


@pytest.mark.parametrize("at", [*(f"do:{step}" for step in range(STEPS)), "claim:0", "attached:0"])
def test_killed_at_any_step_of_add(scene: Scene, at: str) -> None:
    netns, before = launcher(scene.node), scene.state
    scene.daemon(CRASH_AT=at)
    assert scene.cni("ADD", netns)[0] == 1
    eventually(lambda: scene.node.daemon.pid is None, "the daemon is dead")
    scene.daemon()
    assert scene.state == before
    scene.add(netns)
    assert scene.cni("CHECK", netns) == (0, None)


@pytest.mark.parametrize("at", [f"undo:{step}" for step in range(STEPS)])
def test_killed_at_any_step_of_del(scene: Scene, at: str) -> None:
    netns, before = launcher(scene.node), scene.state
    scene.daemon(CRASH_AT=at)
    scene.add(netns)
    assert scene.cni("DEL", netns)[0] == 1
    eventually(lambda: scene.node.daemon.pid is None, "the daemon is dead")
    scene.daemon()
    assert scene.state == before


async def write(ovn: OvnCentral) -> dict[str, Port]:
    nics = {name: port(BLUE, number, f"{name}.blue") for name, number in {"fast": 11, "plain": 12}.items()}
    rows = [*vpc_rows(VPC), *subnet_rows(BLUE, Range.of(BLUE))]
    rows += [row for nic in nics.values() for row in port_rows(nic, BLUE, ChassisOptions())]
    await commit(ovn, rows)
    return nics


def test_packets_by_flows_of_ovn(real_ovn: OvnCentral, scene: Scene) -> None:
    """Between the guest and an ordinary NIC in the same Subnet; not from another MAC."""
    nics = asyncio.run(write(real_ovn))
    fast, plain = nics["fast"].spec, nics["plain"].spec
    scene.daemon(OVN="real")
    netns = launcher(scene.node, port=nics["fast"].key, mac=fast.mac_address, addresses=[f"{fast.addresses[0]}/24"])
    scene.add(netns)
    assert scene.node.interfaces()[REPRESENTOR]["ovn-installed"] == "true"
    addresses = [f"{plain.addresses[0]}/24"]
    scene.node.pod("plain", configure=True, port=nics["plain"].key, mac=plain.mac_address, addresses=addresses)
    scene.node.add("c2", pod="plain")
    run("ip", "-n", scene.guest, "link", "set", GUEST, "address", fast.mac_address, "mtu", "1400", "up")
    run("ip", "-n", scene.guest, "address", "add", f"{fast.addresses[0]}/24", "dev", GUEST)
    ping = ("ip", "netns", "exec", scene.guest, "ping", "-c", "1", "-W", "5", plain.addresses[0])
    assert "1 received" in run(*ping)
    run("ip", "-n", scene.guest, "link", "set", GUEST, "address", "02:00:00:00:00:99")
    with pytest.raises(Exception, match="ping"):
        run(*ping)
