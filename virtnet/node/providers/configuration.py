"""What the node has on an interface, read and moved as a whole. Blocks, in the namespace of the calling thread."""

import socket
import time
from collections.abc import Sequence

from pyroute2 import IPRoute

from virtnet.node import links
from virtnet.node.providers.nic import PhysicalNic
from virtnet.node.providers.objects import ADDRESS, NEIGHBOUR, NetlinkObject, merged
from virtnet.node.providers.rtnetlink import Rtnetlink

GATEWAY_SECONDS = 1.0
ASK_EVERY = 0.2


def read(name: str) -> list[NetlinkObject]:
    """Return what an interface has, without the neighbours that the kernel found; nothing where there is none."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return []
    with Rtnetlink() as kernel:
        return [item for item in kernel.read(index, name) if item.kind != NEIGHBOUR or item.static]


def put(netlink: IPRoute, objects: Sequence[NetlinkObject], name: str) -> None:
    """Put objects onto an interface, and bring it up; do nothing where there is none. Raises OSError."""
    found = PhysicalNic.find(netlink, name)
    if found is None:
        return
    if not found.up:
        links.set_up(netlink, found.index)
    with Rtnetlink() as kernel:
        for item in objects:
            kernel.add(item, found.index)


def move(netlink: IPRoute, objects: Sequence[NetlinkObject], source: str, target: str) -> None:
    """Put objects, and what is on the source, onto the target; then leave nothing on the source. Raises OSError."""
    old, new = PhysicalNic.find(netlink, source), PhysicalNic.find(netlink, target)
    if new is None:
        raise OSError(f"there is no link {target}")
    if not new.up:
        links.set_up(netlink, new.index)
    with Rtnetlink() as kernel:
        there = kernel.read(old.index, source) if old else []
        everything = merged(objects, there)
        for item in everything:
            kernel.add(item, new.index)
        kernel.wait_until_served((item for item in everything if item.kind == ADDRESS), new.index)
        if old is not None:
            for item in reversed(there):
                kernel.delete(item, old.index)


def first_silent(gateways: Sequence[str], interface: str) -> str:
    """Return the first gateway that does not answer ARP or ND on an interface within a second; empty when all do."""
    for gateway in gateways:
        if not _answers(gateway, interface):
            return gateway
    return ""


def _answers(gateway: str, interface: str) -> bool:
    index = socket.if_nametoindex(interface)
    with Rtnetlink() as kernel:
        end = time.monotonic() + GATEWAY_SECONDS
        while time.monotonic() < end:
            kernel.ask(gateway, index)
            again = time.monotonic() + ASK_EVERY
            while time.monotonic() < min(again, end):
                if kernel.answered(gateway, index):
                    return True
                time.sleep(0.005)
    return False
