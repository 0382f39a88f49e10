"""Multicast snooping and its querier, as a real OVN does them: who joins a group gets it, and nobody else."""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.attach.rig import Node, run
from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api import Subnet
from virtnet.handoff.options import ChassisOptions
from virtnet.lab import netns
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.multicast import link_local
from virtnet.topology.names import router_mac
from virtnet.topology.rows import Row
from virtnet.topology.switch import gateway_key

PODS = {"sender": 11, "member": 12, "other": 13}
CIDRS = "10.10.0.0/24 fd10::/64"
NUMBER, UDP = 7777, 17
SECONDS = 30.0


class Igmp:
    """How IPv4 speaks of groups."""

    family, ethertype, group = socket.AF_INET, 0x0800, "239.7.7.7"

    @staticmethod
    def queries(frame: bytes) -> str:
        """Who asks for reports; empty for other frames."""
        is_query = frame[23] == socket.IPPROTO_IGMP and frame[14 + 4 * (frame[14] & 15)] == 0x11
        return socket.inet_ntoa(frame[26:30]) if is_query else ""

    @staticmethod
    def asker(of: Subnet) -> str:
        """The gateway."""
        return str(of.spec.networks[0][1])

    @classmethod
    def to_group(cls, frame: bytes) -> bool:
        return frame[23] == UDP and frame[30:34] == socket.inet_aton(cls.group)

    @classmethod
    def join(cls, found: socket.socket) -> None:
        here = socket.inet_aton(f"10.10.0.{PODS['member']}")
        found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(cls.group) + here)

    @staticmethod
    def speak(found: socket.socket) -> None:
        found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(f"10.10.0.{PODS['sender']}"))


class Mld:
    """How IPv6 does: reports and queries come after a hop-by-hop header with a router alert (RFC 3810)."""

    family, ethertype, group = socket.AF_INET6, 0x86DD, "ff05::7:7"

    @staticmethod
    def queries(frame: bytes) -> str:
        is_query = frame[20] == 0 and frame[54] == socket.IPPROTO_ICMPV6 and frame[62] == 130
        return socket.inet_ntop(socket.AF_INET6, frame[22:38]) if is_query else ""

    @staticmethod
    def asker(of: Subnet) -> str:
        """Its link-local address, as listeners require (RFC 3810, 5.1.14)."""
        return str(link_local(router_mac(gateway_key(of))))

    @classmethod
    def to_group(cls, frame: bytes) -> bool:
        return frame[20] == UDP and frame[38:54] == socket.inet_pton(socket.AF_INET6, cls.group)

    @classmethod
    def join(cls, found: socket.socket) -> None:
        group = socket.inet_pton(socket.AF_INET6, cls.group)
        index = struct.pack("@I", socket.if_nametoindex("pod1"))
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + index)

    @staticmethod
    def speak(found: socket.socket) -> None:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("pod1"))


Protocol = type[Igmp | Mld]


def group_net(protocol: Protocol, **multicast: bool) -> Subnet:
    """One for each: on a switch that has asked already, OVN asks again only after minutes."""
    return subnet(protocol.__name__.lower(), CIDRS, multicast=multicast)


def rows(of: Subnet) -> list[Row]:
    nics = [
        row
        for name, number in PODS.items()
        for row in port_rows(port(of, number, f"{name}.blue"), of, ChassisOptions())
    ]
    return [*vpc_rows(VPC), *subnet_rows(of, Range.of(of)), *nics]


class Ear:
    """All that arrives at a pod in one of the families."""

    def __init__(self, where: str, protocol: Protocol) -> None:
        def work() -> socket.socket:
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol.ethertype))
            wire.bind(("pod1", protocol.ethertype))
            wire.settimeout(0)
            return wire

        self.wire = netns.inside(where, work)
        self.heard: list[bytes] = []

    def listen(self) -> list[bytes]:
        """All that was heard since it was told to forget."""
        try:
            while True:
                self.heard.append(self.wire.recv(2048))
        except BlockingIOError:
            return self.heard


def speaking(where: str, protocol: Protocol, how: Callable[[socket.socket], None]) -> socket.socket:
    """A socket in a pod that has joined the group, or speaks to it."""

    def work() -> socket.socket:
        found = socket.socket(protocol.family, socket.SOCK_DGRAM)
        how(found)
        return found

    return netns.inside(where, work)


async def until(holds: Callable[[], object], what: str) -> None:
    end = asyncio.get_running_loop().time() + SECONDS
    while not holds():
        assert asyncio.get_running_loop().time() < end, f"{what}: not within {SECONDS:g} s"
        await asyncio.sleep(0.1)


@pytest.fixture(params=[Igmp, Mld])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    found: Protocol = request.param
    return found


@pytest.fixture
def pods(node: Node, real_ovn: OvnCentral, protocol: Protocol) -> dict[str, str]:
    """The pods' network namespaces, on a Subnet that floods multicast."""
    flooding = group_net(protocol)
    asyncio.run(written(real_ovn, flooding))
    node.restart_daemon(OVN="real")
    places = {}
    for name, number in PODS.items():
        spec = port(flooding, number, f"{name}.blue").spec
        addresses = [f"10.10.0.{number}/24", f"fd10::{number:x}/64"]
        given = {"port": f"demo/{name}.blue", "mac": spec.mac_address, "addresses": addresses}
        node.pod(name, configure=True, **given)
        sandbox = node.sandbox()
        node.add(name, netns=sandbox, pod=name)
        places[name] = sandbox.rpartition("/")[2]
    return places


async def written(ovn: OvnCentral, of: Subnet) -> None:
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound:
        await northbound.commit(difference(rows(of), northbound.observed()))


def test_who_joins_a_group_gets_it_and_nobody_else(
    node: Node, real_ovn: OvnCentral, pods: dict[str, str], protocol: Protocol
) -> None:
    async def work() -> None:
        ears = {name: Ear(where, protocol) for name, where in pods.items()}
        with ExitStack() as opened:
            for ear in ears.values():
                opened.enter_context(ear.wire)
            snooping = group_net(protocol, snooping=True, querier=True)
            await written(real_ovn, snooping)
            await until(lambda: any(map(protocol.queries, ears["other"].listen())), "a query of OVN's")
            assert {*filter(None, map(protocol.queries, ears["other"].heard))} == {protocol.asker(snooping)}
            opened.enter_context(speaking(pods["member"], protocol, protocol.join))
            voice = opened.enter_context(speaking(pods["sender"], protocol, protocol.speak))

            def reaches(name: str) -> bool:
                voice.sendto(b"hello", (protocol.group, NUMBER))
                return any(map(protocol.to_group, ears[name].listen()))

            async def heard_by() -> set[str]:
                """Who hears what is sent from now on until the member does."""
                for ear in ears.values():
                    ear.listen()
                    ear.heard.clear()
                await until(lambda: reaches("member"), "the group's member has it")
                return {name for name, ear in ears.items() if any(map(protocol.to_group, ear.listen()))}

            async with asyncio.timeout(SECONDS):  # until OVN has learnt of the group, all of them hear it
                while "other" in await heard_by():
                    pass
            assert "other" not in await heard_by()
            if protocol is Mld:
                run("ip", "-n", pods["sender"], "neigh", "flush", "dev", "pod1")
                run("ip", "netns", "exec", pods["sender"], "ping", "-6", "-c1", "-W5", f"fd10::{PODS['other']:x}")

    asyncio.run(work())
    for name in PODS:
        assert node.cni("DEL", container=name) == (0, None)
    node.daemon.stop()
