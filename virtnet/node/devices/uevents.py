"""What the kernel tells of devices (its uevents): a nudge for who looks at them."""

import asyncio
from collections.abc import Callable

import pyudev

from virtnet.node.netns import inside

SUBSYSTEMS = ("net", "pci", "vdpa")
_VIRTUAL = "/devices/virtual/"
"""Where veths, bridges and the like are."""


async def follow(here: str, nudge: Callable[[], None]) -> None:
    """Call whenever a device comes, goes or changes its driver, until cancelled. Raises OSError.

    The kernel's own events, for a daemon in a container may have no udevd: nothing waits for a device's final name,
    because a rename is an event, too.
    """
    monitor = await inside(here, lambda _: _subscribed())

    def drain() -> None:
        concerned = False
        try:
            while (device := monitor.poll(timeout=0)) is not None:
                concerned |= not device.device_path.startswith(_VIRTUAL)
        except OSError:  # there was more than the socket holds
            concerned = True
        if concerned:
            nudge()

    loop = asyncio.get_running_loop()
    loop.add_reader(monitor.fileno(), drain)
    try:
        await asyncio.Event().wait()
    finally:
        loop.remove_reader(monitor.fileno())


def _subscribed() -> pyudev.Monitor:
    """In the namespace of the calling thread, which alone is told of its interfaces. Raises OSError."""
    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
    for subsystem in SUBSYSTEMS:
        monitor.filter_by(subsystem)
    monitor.start()
    return monitor
