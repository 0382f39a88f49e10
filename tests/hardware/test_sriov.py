"""Virtual functions of the igb as NICs of pods: iproute2 shows what they have, and that afterwards all is as it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attach.rig import eventually, pinged, run
from tests.attach.samples import MAC
from tests.hardware import igb
from tests.hardware.igb import Igb
from tests.hardware.vf_node import ALL, NUMBER, VfNode, knobs, links, states
from tests.messages import VIRTUAL_FUNCTIONS, as_told
from tests.virtual_functions import test_knobs as model
from virtnet.node.devices.reading import SYSFS
from virtnet.node.devices.tree import Tree
from virtnet.node.virtual_functions.knobs import changed, wanted
from virtnet.node.virtual_functions.physical import PhysicalFunctions


@pytest.fixture
def wire(nic: Igb) -> Iterator[str]:
    """The other end of the wire, in VLAN 100."""
    name = igb.wire()
    run("ip", "link", "set", name, "up")
    run("ip", "link", "add", "tagged", "link", name, "type", "vlan", "id", "100")
    run("ip", "address", "add", "10.0.0.1/24", "dev", "tagged")
    run("ip", "link", "set", "tagged", "up")
    yield "10.0.0.1"
    run("ip", "link", "del", "tagged")


def test_a_pod_with_a_virtual_function(node: VfNode, nic: Igb, wire: str) -> None:
    device, netns, before = nic.vf(NUMBER), node.sandbox(), states(nic)[NUMBER]
    assert (before["ifname"], before["mtu"], before["altnames"]) == ("mine", 1300, ["pod1"])
    info = "/run/k8s.cni.cncf.io/devinfo/cni/blue-net-a_pod1"
    node.vf_pod("a", device, vlan=100, virtual_function=ALL)
    result = node.add_vf("a", device, netns, CNIDeviceInfoFile=info)
    assert result["interfaces"] == [{"name": "pod1", "mac": MAC, "sandbox": netns, "mtu": 1400, "pciID": device}]
    assert result["ips"] == [{"address": "10.0.0.5/24", "interface": 0}]
    told = json.loads(Path(info).read_text())
    assert told["pci"] == {"pci-address": device, "pf-pci-address": nic.address}
    link, set_ = links(netns).get(device), knobs(nic)[NUMBER]
    assert link
    assert (link["ifname"], link["address"], link["mtu"], link.get("altnames", [])) == ("pod1", MAC, 1400, [])
    assert "10.0.0.5" in [one["local"] for one in link["addr_info"]]
    assert links().get(device) is None
    assert (set_["address"], set_["spoofchk"], set_["trust"]) == (MAC, False, True)
    assert set_["vlan_list"] == [{"vlan": 100, "qos": 3}]
    assert set_["rate"] == {"max_tx": 50, "min_tx": 0}
    eventually(lambda: pinged(netns, wire), "the wire answers within the VLAN")
    assert node.vf("CHECK", "a", device, netns=netns) == (0, None)
    assert node.add_vf("a", device, netns, CNIDeviceInfoFile=info) == result
    assert node.vf("DEL", "a", device, netns=netns) == (0, None)
    assert not Path(info).exists()
    assert states(nic)[NUMBER] == before
    assert node.vf("DEL", "a", device, netns=netns) == (0, None)


@pytest.fixture
def vfio(nic: Igb) -> Iterator[str]:
    """A virtual function that is for a guest."""
    device = nic.vf(5)
    igb.unbind(device)
    igb.bind(device, "vfio-pci")
    yield device
    igb.unbind(device)
    igb.bind(device, "igbvf")
    eventually(lambda: device in links(), "it has its interface again")


def test_a_virtual_function_for_a_guest(vfio: str, node: VfNode, nic: Igb) -> None:
    """Nothing of it is in the pod; its physical function is set up for it."""
    netns, before = node.sandbox(), states(nic)[5]
    node.vf_pod("a", vfio, vlan=100, configure=False, virtual_function=ALL)
    result = node.add_vf("a", vfio, netns)
    assert result["interfaces"] == [{"name": "pod1", "mac": MAC, "sandbox": netns, "mtu": 1400, "pciID": vfio}]
    assert links(netns) == {}
    set_ = states(nic)[5]
    assert (set_["driver"], set_["knobs"]["address"], set_["knobs"]["trust"]) == ("vfio-pci", MAC, True)
    assert set_["knobs"]["vlan_list"] == [{"vlan": 100, "qos": 3}]
    assert node.vf("CHECK", "a", vfio, netns=netns) == (0, None)
    node.restart_daemon()
    assert node.vf("CHECK", "a", vfio, netns=netns) == (0, None)
    assert node.vf("DEL", "a", vfio, netns=netns) == (0, None)
    assert states(nic)[5] == before


async def test_the_igb_does_what_the_model_does(nic: Igb) -> None:
    """Any knobs that are set, and put back, read as ``tests/virtual_functions/test_knobs.py`` has it."""
    node, before = PhysicalFunctions("/proc/self/ns/net", Tree(SYSFS)), states(nic)
    vf = node.locate(nic.vf(4))
    assert vf
    found = (await node.look(vf)).knobs
    assert found
    needed = wanted(found, model.nic(100, **ALL))
    steps = changed(found, needed)
    assert len(steps) == 5
    for done in range(len(steps) + 1):
        now = found
        for knobs_, to in ((steps[:done], needed), (tuple(reversed(steps)), found)):
            for knob in knobs_:
                await node.set(vf, knob, to)
                now = model.put(now, knob, to)
                assert (await node.look(vf)).knobs == now
        assert states(nic) == before


def test_what_is_not_set_stays(node: VfNode, nic: Igb) -> None:
    run("ip", "link", "set", nic.interface, "vf", "1", "spoofchk", "off", "max_tx_rate", "30")
    before = states(nic)[1]
    try:
        node.vf_pod("a", nic.vf(1))
        node.add_vf("a", nic.vf(1))
        assert knobs(nic)[1] == {**before["knobs"], "address": MAC}
        assert node.vf("DEL", "a", nic.vf(1)) == (0, None)
        assert states(nic)[1] == before
    finally:
        run("ip", "link", "set", nic.interface, "vf", "1", "spoofchk", "on", "max_tx_rate", "0")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        pytest.param({"vlan_protocol": "802.1ad"}, "VLAN 100, qos 0, 802.1ad", id="802.1ad"),
        pytest.param({"min_tx_rate_mbps": 5}, "min_tx_rate 5, max_tx_rate 0", id="min_tx_rate"),
        pytest.param({"link_state": "Enable"}, "state enable", id="link state"),
    ],
)
def test_a_knob_that_the_driver_refuses(node: VfNode, nic: Igb, settings: dict[str, Any], says: str) -> None:
    before = states(nic)[NUMBER]
    node.vf_pod("a", nic.vf(NUMBER), vlan=100, virtual_function={"trust": True, **settings})
    code, answer = node.vf("ADD", "a", nic.vf(NUMBER), netns=node.sandbox())
    assert code == 1
    assert answer["msg"].startswith(
        f"driver igb refuses {says} for VF {NUMBER} of {nic.interface} ({nic.vf(NUMBER)}): "
    )
    if says == "state enable":
        row = VIRTUAL_FUNCTIONS["a setting that the driver refuses"]
        assert as_told(answer) == (row.reason, row.message.replace("PF (VF)", f"{nic.interface} ({nic.vf(NUMBER)})"))
    assert states(nic)[NUMBER] == before
    assert node.journal() == []


def test_devices_that_cannot_be_had(node: VfNode, nic: Igb) -> None:
    node.vf_pod("a", nic.vf(0))
    node.vf_pod("b", nic.vf(1))
    code, answer = node.vf("ADD", "b", nic.vf(0), netns=node.sandbox())
    assert (code, answer["msg"]) == (
        1, f"device {nic.vf(0)} is not allotted to pod demo/b; the kubelet has given it {nic.vf(1)}"
    )  # fmt: skip
    node.add_vf("a", nic.vf(0))
    node.allot(b=[nic.vf(0)])
    code, answer = node.vf("ADD", "b", nic.vf(0), netns=node.sandbox())
    assert code == 1
    assert answer["msg"] == f"device {nic.vf(0)} belongs to interface pod1 of pod demo/a, which runs on this node"
    node.allot(b=[nic.address])
    code, answer = node.vf("ADD", "b", nic.address, netns=node.sandbox())
    assert (code, answer["msg"]) == (1, f"device {nic.address} is no virtual function of this node")


def test_a_late_del_leaves_the_next_pod_alone(node: VfNode, nic: Igb) -> None:
    """The next one has the device once the first has ended, and the first's namespace may go whenever it likes."""
    device, before = nic.vf(NUMBER), states(nic)[NUMBER]
    first, second = node.sandbox(), node.sandbox()
    node.vf_pod("a", device, vlan=100, virtual_function=ALL)
    node.add_vf("a", device, first)
    node.forget("a")
    node.vf_pod("b", device, mac="02:76:6e:00:00:06")
    node.add_vf("b", device, second)
    assert knobs(nic)[NUMBER] == {**before["knobs"], "address": "02:76:6e:00:00:06"}
    assert node.vf("DEL", "a", device, netns=first) == (0, None)
    assert node.vf("CHECK", "b", device, netns=second) == (0, None)
    link = links(second).get(device)
    assert link
    assert link["address"] == "02:76:6e:00:00:06"


def test_a_namespace_that_is_gone(node: VfNode, nic: Igb) -> None:
    device, netns, before = nic.vf(NUMBER), node.sandbox(), states(nic)[NUMBER]
    node.vf_pod("a", device, vlan=100, virtual_function=ALL)
    node.add_vf("a", device, netns)
    run("ip", "netns", "del", Path(netns).name)
    assert node.vf("DEL", "a", device) == (0, None)
    assert states(nic)[NUMBER] == before


def test_check_sees_what_others_have_changed(node: VfNode, nic: Igb) -> None:
    device, netns = nic.vf(NUMBER), node.sandbox()
    node.vf_pod("a", device, vlan=100)
    node.add_vf("a", device, netns)
    for meddled, back, says in (
        (("vlan", "7"), ("vlan", "100"), "has VLAN 7, qos 0, 802.1Q and not VLAN 100, qos 0, 802.1Q"),
        (("mac", "02:00:00:00:00:77"), ("mac", MAC), f"has MAC 02:00:00:00:00:77 and not MAC {MAC}"),
    ):
        run("ip", "link", "set", nic.interface, "vf", str(NUMBER), *meddled)
        code, answer = node.vf("CHECK", "a", device, netns=netns)
        assert (code, says in answer["msg"]) == (1, True), answer
        run("ip", "link", "set", nic.interface, "vf", str(NUMBER), *back)
    assert node.vf("CHECK", "a", device, netns=netns) == (0, None)
    run("ip", "-n", Path(netns).name, "link", "set", "pod1", "netns", node.name)
    code, answer = node.vf("CHECK", "a", device, netns=netns)
    assert (code, answer["msg"].endswith("is not in the pod")) == (1, True), answer
