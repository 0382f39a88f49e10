"""What is asked of physical functions, and of the interfaces that their virtual ones have on the node."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from pyroute2 import IPRoute

from virtnet.node.devices.ports import ports
from virtnet.node.devices.reading import hw_tc_offload
from virtnet.node.devices.tree import Tree
from virtnet.node.netns import inside
from virtnet.node.virtual_functions import interface
from virtnet.node.virtual_functions.eswitch import Eswitch, eswitch_of
from virtnet.node.virtual_functions.interface import VfLink
from virtnet.node.virtual_functions.knobs import Knob, Knobs
from virtnet.node.virtual_functions.netlink import VfSocket
from virtnet.node.virtual_functions.sysfs import LocatedVf, locate

READ_BACK_SECONDS = 2.0
"""In which a knob that was set has to read so: some drivers do it later."""
RETURN_SECONDS = 10.0
"""In which an interface has to be back on the node once its namespace is gone: the kernel does that later."""
PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class VfNow:
    """A virtual function as the kernel has it now."""

    up: bool
    """Whether the interface of its physical function is."""
    knobs: Knobs | None
    """None where the driver of its physical function does not tell them."""
    link: VfLink | None
    """Its own interface; None where that is not on the node."""
    eswitch_mode: str = ""
    """As in the Eswitch."""
    representor: VfLink | None = None
    """The interface that stands for it; None where none does."""
    hw_tc_offload: str = ""
    """As in the FoundRepresentor."""


@dataclass(frozen=True)
class PhysicalFunctions:
    """Those of the node."""

    here: str
    """The node's network namespace, as a path."""
    tree: Tree
    eswitch_of: Callable[[Tree, LocatedVf], Eswitch] = eswitch_of

    def locate(self, address: str) -> LocatedVf | None:
        return locate(self.tree, ports, address)

    def eswitch(self, vf: LocatedVf) -> Eswitch:
        """Asked in the node's namespace. Raises OSError."""
        return self.eswitch_of(self.tree, vf)

    async def look(self, vf: LocatedVf) -> VfNow:
        """Raises OSError."""

        def work(netlink: IPRoute) -> VfNow:
            above = interface.named(netlink, vf.uplink)
            if above is None:
                raise OSError(errno.ENODEV, f"{vf.uplink} is gone")
            with VfSocket() as kernel:
                knobs = kernel.read(above.index, vf.number)
            eswitch = self.eswitch(vf)
            representor = interface.named(netlink, eswitch.representor) if eswitch.representor else None
            offload = hw_tc_offload(eswitch.representor) if representor else ""
            return VfNow(above.up, knobs, link_of(netlink, vf), eswitch.mode, representor, offload)

        return await inside(self.here, work)

    async def set(self, vf: LocatedVf, knob: Knob, wanted: Knobs) -> None:
        """Return when it reads so. Raises OSError."""

        def work(_: IPRoute) -> None:
            index = socket.if_nametoindex(vf.uplink)
            with VfSocket() as kernel:
                if _reads(kernel, index, vf, knob, wanted):
                    return
                kernel.set(index, vf.number, knob, wanted)
                ends = time.monotonic() + READ_BACK_SECONDS
                while not _reads(kernel, index, vf, knob, wanted):
                    if time.monotonic() > ends:
                        raise OSError(errno.EIO, "it was taken, and reads otherwise")
                    time.sleep(PAUSE_SECONDS)

        await inside(self.here, work)

    async def back(self, address: str, driver: str) -> LocatedVf | None:
        """A virtual function once its interface is on the node; None where it, or that driver of it, is gone.

        Raises OSError where it does not come.
        """
        ends = time.monotonic() + RETURN_SECONDS
        while True:
            vf = self.locate(address)
            if vf is None or vf.driver != driver:
                return None
            if vf.interfaces:
                return vf
            if time.monotonic() > ends:
                raise OSError(errno.ENODEV, f"{vf} has no interface on the node; has a pod moved it on?")
            await asyncio.sleep(PAUSE_SECONDS)


def link_of(netlink: IPRoute, vf: LocatedVf) -> VfLink | None:
    """Its interface, if it is in this namespace, which is the node's."""
    found = (interface.named(netlink, name) for name in vf.interfaces)
    return next((link for link in found if link is not None and link.device == vf.address), None)


def _reads(kernel: VfSocket, index: int, vf: LocatedVf, knob: Knob, wanted: Knobs) -> bool:
    now = kernel.read(index, vf.number)
    return now is not None and now.has(knob, wanted)
