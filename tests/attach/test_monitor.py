"""What the kernel tells of links, addresses and routes, as a real one tells it."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import aclosing
from uuid import uuid4

import pytest

from virtnet.lab import netns
from virtnet.node.monitor import AddressEvent, LinkEvent, Overrun, RouteEvent, events

pytestmark = pytest.mark.system


@pytest.fixture
def node() -> Iterator[str]:
    name = f"vnm{uuid4().hex[:6]}"
    netns.create(name)
    yield name
    netns.run("ip", "netns", "delete", name)


async def test_each_change_is_told_with_its_interface(node: str) -> None:
    async with aclosing(events(f"/run/netns/{node}")) as changes, asyncio.timeout(20):
        assert await anext(changes) == Overrun()
        netns.ip(node, "link add vea type veth peer name veb", "link set vea up", "link set veb up")
        index = netns.inside(node, lambda: socket.if_nametoindex("vea"))
        netns.ip(
            node,
            "address add 10.0.0.1/24 dev vea",
            "route add 10.1.0.0/16 via 10.0.0.2",
            "route add 10.2.0.0/16 nexthop via 10.0.0.2 nexthop via 10.0.0.3",
            "link del vea",
        )
        wanted = [LinkEvent(index, "vea", upper=True), AddressEvent(index), RouteEvent(index), RouteEvent(0)]
        async for event in changes:
            if event in wanted:
                wanted.remove(event)
            if not wanted:
                return
