"""Who has an address is asked on the wire: of a real kernel at the other end, in both families."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from virtnet.lab import netns
from virtnet.node.netns import inside
from virtnet.node.underlays import _listener, holders

MAC = "02:76:6e:00:00:01"
ADDRESSES = ["10.7.0.1", "10.7.0.2", "fd07::1", "fd07::2"]

pytestmark = pytest.mark.system


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    """The namespace of a node and its device; at the other end a machine with two of the addresses."""
    node, outside = (f"vnc{uuid4().hex[:6]}{end}" for end in "no")
    for name in (node, outside):
        netns.create(name)
    try:
        netns.cable(outside, "eth0", node, "br-blue")
        netns.ip(outside, "address add 10.7.0.1/24 dev eth0", "address add fd07::1/64 dev eth0 nodad")
        yield node, outside
    finally:
        for name in (node, outside):
            netns.run("ip", "netns", "delete", name)


async def test_a_machine_that_has_an_address_is_named(wire: tuple[str, str]) -> None:
    node, outside = wire
    mac = netns.run("cat", "/sys/class/net/eth0/address", netns=outside).strip()
    with await inside(f"/run/netns/{node}", lambda _: _listener("br-blue")) as listener:
        found = await holders(listener, MAC, ADDRESSES, 0)
        assert found == {"10.7.0.1": mac, "fd07::1": mac}
        assert await holders(listener, mac, ADDRESSES, 0) == {}, "a guest of ours that still runs is no conflict"
