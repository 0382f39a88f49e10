"""What the node has on an interface, read and moved as a whole. Blocks, in the namespace of the calling thread."""

import socket
import time
from collections.abc import Sequence

from pyroute2 import IPRoute

from virtnet.node import links
from virtnet.node.providers.entries import ADDRESS, NEIGHBOUR, Entry, merged
from virtnet.node.providers.nic import Nic
from virtnet.node.providers.rtnetlink import Rtnetlink

GATEWAY_SECONDS = 1.0
ASK_EVERY = 0.2


def read(name: str) -> list[Entry]:
    """Without the neighbours that the kernel has found by itself; nothing where there is no such interface."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return []
    with Rtnetlink() as kernel:
        return [entry for entry in kernel.read(index, name) if entry.kind != NEIGHBOUR or entry.static]


def put(netlink: IPRoute, entries: Sequence[Entry], name: str) -> None:
    """Onto an interface, which is brought up; nothing where there is none. Raises OSError."""
    found = Nic.find(netlink, name)
    if found is None:
        return
    if not found.up:
        links.set_up(netlink, found.index)
    with Rtnetlink() as kernel:
        for entry in entries:
            kernel.add(entry, found.index)


def move(netlink: IPRoute, entries: Sequence[Entry], source: str, target: str) -> None:
    """Put entries, and what is on the source, onto the target; then leave nothing on the source. Raises OSError."""
    old, new = Nic.find(netlink, source), Nic.find(netlink, target)
    if new is None:
        raise OSError(f"there is no link {target}")
    if not new.up:
        links.set_up(netlink, new.index)
    with Rtnetlink() as kernel:
        there = kernel.read(old.index, source) if old else []
        everything = merged(entries, there)
        for entry in everything:
            kernel.add(entry, new.index)
        kernel.wait_until_served((entry for entry in everything if entry.kind == ADDRESS), new.index)
        if old is not None:
            for entry in reversed(there):
                kernel.delete(entry, old.index)


def first_silent(gateways: Sequence[str], interface: str) -> str:
    """The first gateway that does not answer ARP or ND on an interface within a second; empty when all do."""
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
