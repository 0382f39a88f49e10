"""Limits of NICs as a real OVN keeps them: UDP between two NICs, each direction by itself, beside the other one."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.attach.real_pods import attached
from tests.attach.rig import Node
from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api.qos_policy import QosLimit
from virtnet.features.qos import Limits, qos_rows
from virtnet.handoff.options import ChassisOptions
from virtnet.lab import netns
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

PODS = {"bounded": 11, "free": 12}
NUMBER = 7777
DATAGRAMS, SIZE = 300, 1000
BLUE = subnet("qos")
SLOW, FREE = QosLimit(rate_kbps=64, dscp=46), QosLimit()
SECONDS = 60.0


async def written(ovn: OvnCentral, egress: QosLimit, ingress: QosLimit) -> None:
    nics = {name: port(BLUE, number, f"{name}.blue") for name, number in PODS.items()}
    rows = [
        *vpc_rows(VPC),
        *subnet_rows(BLUE, Range.of(BLUE)),
        *(row for nic in nics.values() for row in port_rows(nic, BLUE, ChassisOptions())),
        *qos_rows(nics["bounded"], Limits(egress, ingress)),
    ]
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound:
        await northbound.commit(difference(rows, northbound.observed()))


def opened(where: str) -> socket.socket:
    """A UDP socket in a pod that is told the marks of what it receives."""

    def work() -> socket.socket:
        found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found.bind(("", NUMBER))
        found.setblocking(False)  # noqa: FBT003
        found.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        return found

    return netns.inside(where, work)


def drained(wire: socket.socket) -> Iterator[int]:
    """The DSCP of each datagram that has arrived."""
    try:
        while True:
            _, ancillary, _, _ = wire.recvmsg(2048, 64)
            yield next(data[0] >> 2 for level, kind, data in ancillary if (level, kind) == (0, socket.IP_TOS))
    except BlockingIOError:
        return


async def through(source: socket.socket, target: socket.socket, number: int) -> list[int]:
    """The marks of what arrives of so many datagrams; none of an earlier burst."""
    list(drained(target))
    found: list[int] = []
    for _ in range(DATAGRAMS):
        source.sendto(bytes(SIZE), (f"10.10.0.{number}", NUMBER))
        await asyncio.sleep(0.001)
        found += drained(target)
    end = asyncio.get_running_loop().time() + 1
    while len(found) < DATAGRAMS and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.01)
        found += drained(target)
    return found


@pytest.fixture
def pods(node: Node, real_ovn: OvnCentral) -> dict[str, str]:
    """The pods' network namespaces."""
    asyncio.run(written(real_ovn, FREE, FREE))
    return attached(node, BLUE, PODS)


def test_udp_is_limited_and_marked_in_one_direction_and_not_in_the_other(
    node: Node, real_ovn: OvnCentral, pods: dict[str, str]
) -> None:
    async def work() -> None:
        with ExitStack() as held:
            wires = {name: held.enter_context(opened(where)) for name, where in pods.items()}

            async def sent() -> list[int]:
                return await through(wires["bounded"], wires["free"], PODS["free"])

            async def received() -> list[int]:
                return await through(wires["free"], wires["bounded"], PODS["bounded"])

            def compared(slow: list[int], other: list[int]) -> str:
                """What is not as it should be; empty for nothing."""
                few, marked = 4 * len(slow) < len(other), {*slow} == {SLOW.dscp} and {*other} == {0}
                return "" if few and marked else f"{len(slow)} of {len(other)}, marks {({*slow}, {*other})}"

            async def whole() -> str:
                found = await sent(), await received()
                return "" if min(map(len, found)) > DATAGRAMS // 2 else f"{[*map(len, found)]}"

            async def egress() -> str:
                return compared(await sent(), await received())

            async def ingress() -> str:
                return compared(await received(), await sent())

            await until(whole, "nothing is limited")
            await written(real_ovn, SLOW, FREE)
            await until(egress, "what it sends is limited alone")
            await written(real_ovn, FREE, SLOW)
            await until(ingress, "what it receives is limited alone")
            await written(real_ovn, FREE, FREE)
            await until(whole, "nothing is limited any more")

    asyncio.run(work())
    for name in PODS:
        assert node.cni("DEL", container=name) == (0, None)
    node.daemon.stop()


async def until(problem: Callable[[], Awaitable[str]], what: str) -> None:
    """Wait until there is no problem left."""
    end = asyncio.get_running_loop().time() + SECONDS
    while found := await problem():
        assert asyncio.get_running_loop().time() < end, f"{what}: {found}"
