"""Multicast snooping and its querier, as a real OVN does them: who joins a group gets it, and nobody else."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.attach.rig import Node
from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api import Subnet
from virtnet.handoff.options import ChassisOptions
from virtnet.lab import netns
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

PODS = {"sender": 11, "member": 12, "other": 13}
GROUP, NUMBER = "239.7.7.7", 7777
IPV4, IGMP, UDP, QUERY = 0x0800, 2, 17, 0x11
SECONDS = 30.0


def blue(**multicast: bool) -> Subnet:
    return subnet(multicast=multicast)


def rows(of: Subnet) -> list[object]:
    nics = [
        row
        for name, number in PODS.items()
        for row in port_rows(port(of, number, f"{name}.blue"), of, ChassisOptions())
    ]
    return [*vpc_rows(VPC), *subnet_rows(of, Range.of(of)), *nics]


class Ear:
    """All that arrives at a pod."""

    def __init__(self, where: str) -> None:
        def work() -> socket.socket:
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IPV4))
            wire.bind(("pod1", IPV4))
            wire.settimeout(0)
            return wire

        self.wire = netns.inside(where, work)
        self.heard: list[bytes] = []

    def has(self, what: Callable[[bytes], bool]) -> bool:
        try:
            while True:
                self.heard.append(self.wire.recv(2048))
        except BlockingIOError:
            return any(map(what, self.heard))


def is_query(frame: bytes) -> bool:
    return frame[23] == IGMP and frame[14 + 4 * (frame[14] & 15)] == QUERY


def is_for_group(frame: bytes) -> bool:
    return frame[23] == UDP and frame[30:34] == socket.inet_aton(GROUP)


def joined(where: str) -> socket.socket:
    def work() -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here = socket.inet_aton(f"10.10.0.{PODS['member']}")
        found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + here)
        return found

    return netns.inside(where, work)


def sender(where: str) -> socket.socket:
    def work() -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(f"10.10.0.{PODS['sender']}"))
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("B", 4))
        return found

    return netns.inside(where, work)


async def until(holds: Callable[[], object], what: str) -> None:
    end = asyncio.get_running_loop().time() + SECONDS
    while not holds():
        assert asyncio.get_running_loop().time() < end, f"{what}: not within {SECONDS:g} s"
        await asyncio.sleep(0.1)


@pytest.fixture
def pods(node: Node, real_ovn: OvnCentral) -> dict[str, str]:
    """The pods' network namespaces, on a Subnet that floods multicast."""
    asyncio.run(written(real_ovn, blue()))
    node.restart_daemon(OVN="real")
    places = {}
    for name, number in PODS.items():
        spec = port(blue(), number, f"{name}.blue").spec
        given = {"port": f"demo/{name}.blue", "mac": spec.mac_address, "addresses": [f"10.10.0.{number}/24"]}
        node.pod(name, configure=True, **given)
        sandbox = node.sandbox()
        node.add(name, netns=sandbox, pod=name)
        places[name] = sandbox.rpartition("/")[2]
    return places


async def written(ovn: OvnCentral, of: Subnet) -> None:
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound:
        await northbound.commit(difference(rows(of), northbound.observed()))


def test_who_joins_a_group_gets_it_and_nobody_else(node: Node, real_ovn: OvnCentral, pods: dict[str, str]) -> None:
    async def work() -> None:
        ears = {name: Ear(where) for name, where in pods.items()}
        with ExitStack() as opened:
            for ear in ears.values():
                opened.enter_context(ear.wire)
            await written(real_ovn, blue(snooping=True, querier=True))
            await until(lambda: ears["other"].has(is_query), "a query of OVN's")
            opened.enter_context(joined(pods["member"]))
            voice = opened.enter_context(sender(pods["sender"]))

            def reaches(name: str) -> bool:
                voice.sendto(b"hello", (GROUP, NUMBER))
                return ears[name].has(is_for_group)

            await until(lambda: reaches("member"), "the group's member has it")
            ears["other"].has(is_for_group)
            ears["other"].heard.clear()
            ears["member"].heard.clear()
            await until(lambda: reaches("member"), "the group's member has it again")
            assert not ears["other"].has(is_for_group)

    asyncio.run(work())
    for name in PODS:
        assert node.cni("DEL", container=name) == (0, None)
    node.daemon.stop()
