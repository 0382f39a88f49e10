"""A running guest whose NIC has moved to another Subnet, on a real OVN: what DHCP answers it there, and when."""

import socket
import struct
from dataclasses import dataclass

import pytest

from tests.attach.rig import run
from tests.safety.conftest import Chassis, chassis
from tests.safety.spoken import UDP, octets, v4
from tests.safety.wire import wire
from tests.topology.samples import NOWHERE, VPC, Range, port, subnet
from virtnet.api import Port, Subnet
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

__all__ = ["chassis"]

BLUE, TEAL = subnet("blue", "10.10.0.0/24"), subnet("teal", "10.30.0.0/24")
BEFORE, AFTER = port(BLUE, 5, "db.hot"), port(TEAL, 7, "db.hot")
MAC, OLD, NEW = BEFORE.spec.mac_address, BEFORE.spec.addresses[0], AFTER.spec.addresses[0]
ROUTER = "10.10.0.1"
DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
NO_ADDRESS, ALL, EVERYBODY = "0.0.0.0", "255.255.255.255", "ff:ff:ff:ff:ff:ff"
COOKIE = bytes.fromhex("63825363")


@dataclass(frozen=True)
class Message:
    """Of a DHCP client (RFC 2131)."""

    kind: int
    number: int
    """By which its answer is known."""
    has: str = NO_ADDRESS
    """The address that it uses, and speaks from."""
    wants: str = ""
    to: str = ALL
    dst_mac: str = EVERYBODY

    def frame(self) -> bytes:
        head = struct.pack("!BBBBIHH", 1, 1, 6, 0, self.number, 0, 0)
        body = head + socket.inet_aton(self.has) + bytes(12) + octets(MAC) + bytes(10 + 64 + 128) + COOKIE
        body += bytes((53, 1, self.kind))
        if self.wants:
            body += bytes((50, 4)) + socket.inet_aton(self.wants)
        body += b"\xff"
        datagram = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
        return v4(MAC, datagram, src=self.has, to=self.to, proto=UDP, dst_mac=self.dst_mac)


def answer(link: socket.socket) -> tuple[int, int, str]:
    """The next one: which message it is for, what kind it is, and the address that it gives."""
    while True:
        frame = link.recv(2048)
        if frame[12:14] != b"\x08\x00" or frame[23] != UDP or frame[36:38] != struct.pack("!H", 68):
            continue
        body = frame[42:]
        assert body[236:240] == COOKIE
        options, rest = {}, body[240:]
        while rest and rest[0] != 255:
            if rest[0]:
                options[rest[0]] = rest[2 : 2 + rest[1]]
            rest = rest[2 + rest[1] :] if rest[0] else rest[1:]
        return struct.unpack("!I", body[4:8])[0], options[53][0], socket.inet_ntoa(body[16:20])


async def has(chassis: Chassis, nic: Port, of: Subnet) -> None:
    """Give OVN the NIC in a Subnet, as the controller does when the guest has arrived."""
    rows = [*vpc_rows(VPC), *subnet_rows(BLUE, Range.of(BLUE)), *subnet_rows(TEAL, Range.of(TEAL))]
    async with OvsdbNorthbound(chassis.ovn.remote("nb")) as northbound:
        await northbound.commit(difference([*rows, *port_rows(nic, of, NOWHERE)], northbound.observed()))
    chassis.bind(nic.key)
    chassis.ovn.nbctl("--timeout=60", "wait-until", "Logical_Switch_Port", nic.key, "up=true")
    chassis.settled()


@pytest.mark.system
async def test_it_is_refused_its_old_address_and_takes_the_new_one(chassis: Chassis) -> None:
    moved = AFTER.model_copy(update={"spec": AFTER.spec.model_copy(update={"mac_address": MAC})})
    await has(chassis, BEFORE, BLUE)
    run("ip", "-n", chassis.node.name, "link", "set", "p1", "addrgenmode", "none", "up")
    with wire(chassis.node.name, "p1") as link:

        def asks(*messages: Message) -> tuple[int, int, str]:
            """The first answer to any of them, in the order in which they are said."""
            for message in messages:
                link.send(message.frame())
            return answer(link)

        assert asks(Message(DISCOVER, 1)) == (1, OFFER, OLD)
        assert asks(Message(REQUEST, 2, wants=OLD)) == (2, ACK, OLD)
        assert asks(Message(REQUEST, 3, has=OLD)) == (3, ACK, OLD), "it renews"
        await has(chassis, moved, TEAL)
        renewals = (Message(REQUEST, 4, has=OLD), Message(REQUEST, 5, has=OLD, to=ROUTER))
        restarted = Message(REQUEST, 6, wants=OLD)
        assert asks(*renewals, restarted)[:2] == (6, NAK), "renewals from the old address pass no NIC of the new Subnet"
        assert asks(Message(DISCOVER, 7)) == (7, OFFER, NEW)
        assert asks(Message(REQUEST, 8, wants=NEW)) == (8, ACK, NEW)
