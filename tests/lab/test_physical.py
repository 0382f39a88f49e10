"""The lab's physical switch learns where a MAC address is, per VLAN, and carries tags to trunk ports only."""

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from virtnet.lab import netns, teardown
from virtnet.lab.names import LabNames
from virtnet.lab.physical import Learned, Physical

pytestmark = pytest.mark.system

ALL_PROTOCOLS = 0x0003
GUEST = "02:00:00:00:00:0a"
TAG_100 = bytes.fromhex("81000064")
RARP = bytes.fromhex("8035") + bytes(46)


@pytest.fixture
def physical() -> Iterator[Physical]:
    names = LabNames("testphysical")
    found = Physical(names)
    nodes = [names.node(number) for number in (1, 2, 3)]
    try:
        netns.create(names.central)
        found.wire()
        for node in nodes:
            netns.create(node.netns)
            found.plug(node)
        found.start(nodes)
        yield found
    finally:
        teardown.tear_down(names)


def announce(device: str, tag: bytes = b"") -> None:
    """A guest's announcement of its MAC address, on the NIC of the node whose namespace we are in."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        raw.send(b"\xff" * 6 + bytes.fromhex(GUEST.replace(":", "")) + tag + RARP)


def listener(device: str) -> socket.socket:
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    raw.bind((device, 0))
    raw.settimeout(5)
    return raw


def first_from_guest(raw: socket.socket) -> bytes:
    while True:
        frame = raw.recv(2000)
        if frame[6:12] == bytes.fromhex(GUEST.replace(":", "")):
            return frame


def test_it_learns_per_vlan_where_a_guest_is_and_where_it_has_gone(physical: Physical) -> None:
    node1, node3 = physical.names.node(1), physical.names.node(3)
    with netns.inside(physical.outside, partial(listener, "vlan100")) as access:
        netns.inside(node1.netns, partial(announce, node1.physical_nic, TAG_100))
        assert first_from_guest(access)[12:14] == RARP[:2], "the access port has the frame without its tag"
        assert physical.where(GUEST, 100) == "node1"
        netns.inside(node3.netns, partial(announce, node3.physical_nic, TAG_100))
        first_from_guest(access)
    assert physical.where(GUEST, 100) == "node3"
    assert not physical.where(GUEST), "it is known in the VLAN only"
    with netns.inside(physical.outside, partial(listener, "untagged")) as access:
        netns.inside(node1.netns, partial(announce, node1.physical_nic))
        first_from_guest(access)
    assert Learned("node1", 0, GUEST) in physical.learned()
    assert physical.where(GUEST, 100) == "node3"


def test_nodes_reach_the_machine_outside(physical: Physical) -> None:
    for number in (1, 3):
        netns.run("ping", "-c1", "-W5", "172.31.2.1", netns=physical.names.node(number).netns)
        netns.run("ping", "-c1", "-W5", "fd31:2::1", netns=physical.names.node(number).netns)
