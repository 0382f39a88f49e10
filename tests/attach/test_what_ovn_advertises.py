"""What OVN really tells IPv6 guests, as docs/addresses.md says it: addresses by DHCPv6, none of their own making."""

import socket
import struct
import time
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from tests.attach.rig import Node
from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api.addresses import mac_octets
from virtnet.handoff.options import ChassisOptions
from virtnet.lab import netns
from virtnet.lab.ovn_central import OvnCentral
from virtnet.node import frames
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.multicast import link_local

BLUE = subnet(cidr="fd10::/64", mtu=1400)
NIC = port(BLUE, 5, "db.blue")
ALL_ROUTERS = IPv6Address("ff02::2")
SOLICITATION, ADVERTISEMENT = 133, 134
MANAGED, AUTONOMOUS, ON_LINK = 0x80, 0x40, 0x80
PREFIX, MTU = 3, 5
SECONDS = 20.0


@dataclass
class Advertised:
    """A router's advertisement (RFC 4861, section 4.2)."""

    flags: int
    options: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, body: bytes) -> "Advertised":
        found, rest = cls(body[5]), body[16:]
        while rest:
            size = 8 * rest[1]
            found.options[rest[0]] = rest[:size]
            rest = rest[size:]
        return found


def ask(where: str) -> Advertised:
    """Solicit, as a guest does when it boots, until there is an answer."""
    mac = NIC.spec.mac_address
    body = struct.pack("!BBHI", SOLICITATION, 0, 0, 0)
    packet = frames._ipv6(link_local(mac), ALL_ROUTERS, body)
    frame = frames._ethernet(frames._multicast(ALL_ROUTERS), mac_octets(mac), 0, frames.IPV6, packet)

    def work() -> Advertised:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(frames.IPV6)) as wire:
            wire.bind(("pod1", frames.IPV6))
            wire.settimeout(0.5)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                wire.send(frame)
                try:
                    while True:
                        said = wire.recv(2048)
                        if said[20] == socket.IPPROTO_ICMPV6 and said[54] == ADVERTISEMENT:
                            return Advertised.read(said[54:])
                except TimeoutError:
                    continue
        raise AssertionError("no router has answered")

    return netns.inside(where, work)


async def test_addresses_come_by_dhcpv6_and_guests_make_none(node: Node, real_ovn: OvnCentral) -> None:
    rows = [*vpc_rows(VPC), *subnet_rows(BLUE, Range.of(BLUE)), *port_rows(NIC, BLUE, ChassisOptions())]
    async with OvsdbNorthbound(real_ovn.remote("nb")) as northbound:
        await northbound.commit(difference(rows, []))
    node.restart_daemon(OVN="real")
    node.pod(mac=NIC.spec.mac_address, addresses=["fd10::5/64"], configure=False)
    sandbox = node.sandbox()
    node.add(netns=sandbox)
    said = ask(sandbox.rpartition("/")[2])
    assert said.flags & MANAGED
    prefix = said.options[PREFIX]
    assert IPv6Address(prefix[16:32]) == IPv6Address("fd10::")
    assert (prefix[2], prefix[3] & ON_LINK, prefix[3] & AUTONOMOUS) == (64, ON_LINK, 0)
    assert struct.unpack("!I", said.options[MTU][4:8]) == (1400,)
    assert node.cni("DEL", netns=sandbox) == (0, None)
    node.daemon.stop()
