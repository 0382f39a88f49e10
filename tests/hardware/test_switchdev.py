"""Virtual functions of the igb as NICs of kind switchdev. netdevsim has their eswitch and their representors, which are real
for the kernel, devlink and Open vSwitch; tc is the wire between a representor and its virtual function.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attach.rig import eventually, pinged, run
from tests.attach.samples import MAC
from tests.hardware import igb
from tests.hardware.igb import Igb
from tests.hardware.netdevsim import netdevsim, representors, set_mode
from tests.hardware.vf_node import NUMBER, VfNode, states
from virtnet.node.offload import port_flows

INFO = "/run/k8s.cni.cncf.io/devinfo/cni/blue-net-a_pod1"
PEER = "10.0.0.6"


@pytest.fixture
def representor(node: VfNode) -> Iterator[str]:
    """That of the virtual function of these tests."""
    with netdevsim(NUMBER + 1):
        set_mode("switchdev")
        yield representors()[NUMBER]


@pytest.fixture
def device(node: VfNode, nic: Igb) -> str:
    """One that is a pod's."""
    found = nic.vf(NUMBER)
    node.vf_pod("a", found, nic="switchdev", underlay=None)
    return found


def shown(representor: str) -> dict[str, Any]:
    """What of it is to be as before."""
    (link,) = json.loads(run("ip", "-details", "-json", "link", "show", representor))
    (features,) = json.loads(run("ethtool", "--json", "--show-features", representor))
    return {
        "offload": features["hw-tc-offload"]["active"],
        "up": "UP" in link["flags"],
        **{name: link.get(name) for name in ("address", "mtu", "master", "inet6_addr_gen_mode")},
    }


@contextmanager
def connected(representor: str) -> Iterator[None]:
    """What comes by igb's wire goes to a representor, and the other way round.

    The switch has to have the representor by then: it takes all root qdiscs away.
    """
    wire = igb.wire()
    run("ip", "link", "set", wire, "up", "promisc", "on")
    run("tc", "qdisc", "replace", "dev", wire, "ingress")
    into = ("action", "mirred", "ingress", "redirect", "dev", representor)
    run("tc", "filter", "add", "dev", wire, "ingress", "matchall", *into)
    run("tc", "qdisc", "replace", "dev", representor, "root", "handle", "1:", "prio")
    out = ("skip_hw", "action", "mirred", "egress", "redirect", "dev", wire)
    run("tc", "filter", "add", "dev", representor, "parent", "1:", "prio", "1", "matchall", *out)
    try:
        yield
    finally:
        run("tc", "qdisc", "del", "dev", wire, "ingress")
        run("ip", "link", "set", wire, "promisc", "off")


def taken(node: VfNode) -> int:
    """How many flows of the pod's the driver has taken."""
    return {one.port: one for one in asyncio.run(port_flows(node.ovsdb, "br-int"))}["demo/a.blue"].offloaded


def test_a_pod_by_its_representor(node: VfNode, nic: Igb, representor: str, device: str) -> None:
    netns, before, seen = node.sandbox(), states(nic)[NUMBER], shown(representor)
    assert (seen["offload"], seen["up"]) == (False, False)
    result = node.add_vf("a", device, netns, CNIDeviceInfoFile=INFO)
    assert result["interfaces"] == [
        {"name": representor, "mac": seen["address"], "mtu": 1400},
        {"name": "pod1", "mac": MAC, "sandbox": netns, "mtu": 1400, "pciID": device},
    ]
    info = {"pci-address": device, "pf-pci-address": nic.address, "representor-device": representor}
    assert json.loads(Path(INFO).read_text())["pci"] == info
    assert states(nic)[NUMBER]["knobs"] == {**before["knobs"], "address": MAC}
    assert node.interfaces()[representor]["iface-id"] == "demo/a.blue"
    switched = {"offload": True, "up": True, "mtu": 1400, "master": "ovs-system", "inet6_addr_gen_mode": "none"}
    assert shown(representor) == {**seen, **switched}

    node.pod("b", configure=True, port="demo/b.blue", mac="02:76:6e:00:00:06", addresses=[f"{PEER}/24"])
    node.add("b", pod="b")
    with connected(representor):
        eventually(lambda: pinged(netns, PEER), "a pod of another kind answers by way of the switch")
        eventually(lambda: pinged(netns, PEER) and taken(node) > 0, "the representor's driver takes flows")
        assert "in_hw" in run("tc", "-s", "filter", "show", "dev", representor, "ingress")
    assert node.vf("CHECK", "a", device, netns=netns) == (0, None)
    assert node.add_vf("a", device, netns, CNIDeviceInfoFile=INFO) == result
    assert node.vf("DEL", "a", device, netns=netns) == (0, None)
    assert not Path(INFO).exists()
    assert (states(nic)[NUMBER], shown(representor)) == (before, seen)
    assert representor not in node.interfaces()


def test_the_mode_changes_under_a_pod(node: VfNode, nic: Igb, representor: str, device: str) -> None:
    """Representors come anew, under whatever names; the virtual function is put back all the same."""
    netns, before = node.sandbox(), states(nic)[NUMBER]

    def check() -> str:
        code, answer = node.vf("CHECK", "a", device, netns=netns)
        return answer["msg"] if code else ""

    node.add_vf("a", device, netns)
    run("ip", "link", "set", representor, "down")
    assert check() == f"the representor of device {device} is {representor}, down"
    run("ip", "link", "set", representor, "up")
    assert check() == ""
    set_mode("legacy")
    assert check() == f"the NIC of device {device} is not in switchdev mode"
    set_mode("switchdev")
    assert check() == f"the representor of device {device} is {representors()[NUMBER]}, down"
    assert node.vf("DEL", "a", device, netns=netns) == (0, None)
    assert states(nic)[NUMBER] == before


@pytest.mark.usefixtures("representor")
def test_kind_and_mode_go_together(node: VfNode, device: str) -> None:
    """As the mode is by the time of ADD."""
    netns = node.sandbox()
    set_mode("legacy")
    code, answer = node.vf("ADD", "a", device, netns=netns)
    assert (code, "its NIC is not in switchdev mode, and port demo/a.blue is of kind" in answer["msg"]) == (1, True)
    set_mode("switchdev")
    node.add_vf("a", device, netns)
    node.vf_pod("b", device)
    node.forget("a")
    code, answer = node.vf("ADD", "b", device, netns=node.sandbox())
    assert (code, "its NIC is in switchdev mode, and port demo/b.blue is of kind sriov" in answer["msg"]) == (1, True)


def test_killed_around_the_representor(node: VfNode, nic: Igb, representor: str, device: str) -> None:
    netns, before = node.sandbox(), (states(nic)[NUMBER], shown(representor), node.interfaces())

    def found() -> Any:
        return states(nic)[NUMBER], shown(representor), node.interfaces()

    for step in ("do:4", "attached:0"):
        node.killed_at(step, "ADD", "a", device, netns)
        assert (step, found()) == (step, before)
    node.add_vf("a", device, netns)
    node.killed_at("undo:4", "DEL", "a", device, netns)
    assert found() == before
