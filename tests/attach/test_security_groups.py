"""Security groups as a real OVN keeps them: TCP and UDP between two NICs."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.attach.real_pods import attached, commit
from tests.attach.rig import Node, eventually
from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api.security_group import GroupPort
from virtnet.handoff.options import ChassisOptions
from virtnet.lab import netns
from virtnet.lab.ovn_central import OvnCentral
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.names import port_key, switch_key
from virtnet.topology.rows import Key, Row
from virtnet.topology.security_group import (
    PeerSet,
    ResolvedGroup,
    ResolvedRule,
    free_rows,
    group_rows,
    membership,
)

PODS = {"web": 11, "db": 12}
BLUE = subnet("groups")
WEB, DB = (Key("Port_Group", f"SecurityGroup/demo/{name}") for name in PODS)
FREE = Key("Port_Group", f"{switch_key(BLUE.ref).id}:SecurityGroup/free")
OPEN = 7001
SHUT = 7002
QUIET_SECONDS = 0.3
"""How long what must not arrive is waited for."""


def rules(*, stateful: bool, peers: tuple[PeerSet, ...] = (PeerSet(group=WEB),)) -> list[Row]:
    """The group of the database: from the web's NICs to one port."""
    ports = tuple(GroupPort(protocol=protocol, port=OPEN) for protocol in ("TCP", "UDP"))
    egress = None if stateful else [ResolvedRule()]
    return group_rows(DB, ResolvedGroup([ResolvedRule(ports, peers)], egress, stateful=stateful))


async def written(ovn: OvnCentral, *groups: Row) -> None:
    """``groups``: the rows of the database's group; without, it is in none."""
    nics = {name: port(BLUE, number, f"{name}.blue") for name, number in PODS.items()}
    own = {"web": [membership(WEB), membership(FREE)], "db": [membership(DB)] if groups else [membership(FREE)]}
    ports = [row for nic in nics.values() for row in port_rows(nic, BLUE, ChassisOptions())]
    places = {port_key(nic): frozenset(own[name]) for name, nic in nics.items()}
    rows = [
        *vpc_rows(VPC),
        *subnet_rows(BLUE, Range.of(BLUE)),
        *group_rows(WEB, ResolvedGroup(None, None)),
        *free_rows(FREE),
        *groups,
        *(Row(row.key, row.columns, row.parent, groups=places.get(row.key, frozenset())) for row in ports),
    ]
    await commit(ovn, rows)


@pytest.fixture
def pods(node: Node, real_ovn: OvnCentral) -> dict[str, str]:
    """The pods' network namespaces."""
    asyncio.run(written(real_ovn))
    return attached(node, BLUE, PODS)


@contextmanager
def listening(where: str, kind: socket.SocketKind, number: int) -> Iterator[socket.socket]:
    def work() -> socket.socket:
        found = socket.socket(socket.AF_INET, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(("", number))
        if kind is socket.SOCK_STREAM:
            found.listen()
        return found

    with netns.inside(where, work) as found:
        yield found


def connects(pods: dict[str, str], source: str, target: str, number: int) -> bool:
    """Whether a TCP connection is made, and carries something both ways."""

    def work() -> bool:
        try:
            with socket.create_connection((f"10.10.0.{PODS[target]}", number), timeout=1) as wire:
                return wire.recv(2) == b"ok"
        except OSError:
            return False

    with listening(pods[target], socket.SOCK_STREAM, number) as server:
        server.settimeout(1.5)

        async def both() -> bool:
            async def serve() -> None:
                try:
                    wire, _ = await asyncio.to_thread(server.accept)
                except OSError:
                    return
                with wire:
                    wire.sendall(b"ok")

            answer, _ = await asyncio.gather(asyncio.to_thread(netns.inside, pods[source], work), serve())
            return bool(answer)

        return asyncio.run(both())


def arrives(pods: dict[str, str], source: str, target: str, number: int) -> bool:
    """Whether a datagram does."""

    def work() -> Any:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            return wire.sendto(b"hello", (f"10.10.0.{PODS[target]}", number))

    with listening(pods[target], socket.SOCK_DGRAM, number) as server:
        server.settimeout(QUIET_SECONDS)
        netns.inside(pods[source], work)
        try:
            return server.recv(16) == b"hello"
        except TimeoutError:
            return False


@pytest.mark.parametrize("stateful", [True, False])
def test_packets_go_where_a_group_lets_them(
    node: Node, real_ovn: OvnCentral, pods: dict[str, str], *, stateful: bool
) -> None:
    eventually(lambda: connects(pods, "web", "db", SHUT), "without rules they reach each other")
    asyncio.run(written(real_ovn, *rules(stateful=stateful)))
    assert connects(pods, "web", "db", OPEN)
    assert not connects(pods, "web", "db", SHUT)
    assert arrives(pods, "web", "db", OPEN)
    assert not arrives(pods, "web", "db", SHUT)
    assert connects(pods, "db", "web", SHUT) == stateful, "answers pass by themselves where the group is stateful"
    asyncio.run(
        written(
            real_ovn, *rules(stateful=stateful, peers=(PeerSet(cidrs=("10.10.0.0/24",), excluded=("10.10.0.11/32",)),))
        )
    )
    assert not connects(pods, "web", "db", OPEN), "that address is left out"
    asyncio.run(written(real_ovn, *group_rows(DB, ResolvedGroup(None, [], stateful=stateful))))
    assert connects(pods, "web", "db", SHUT) == stateful, "answers pass, though it may send nothing"
    asyncio.run(written(real_ovn))
    assert connects(pods, "web", "db", SHUT)
