"""The representor of a virtual function: made such as the switch is to have it, and put back as it was found."""

import time
from dataclasses import dataclass

from pyroute2 import IPRoute

from virtnet.node import ethtool, links
from virtnet.node.devices.reading import HW_TC_OFFLOAD
from virtnet.node.journal import Entry
from virtnet.node.netns import inside
from virtnet.node.nics.vf_steps import same
from virtnet.node.request import CniError
from virtnet.node.virtual_functions import interface
from virtnet.node.virtual_functions.found import FoundRepresentor
from virtnet.node.virtual_functions.physical import PhysicalFunctions
from virtnet.node.virtual_functions.sysfs import LocatedVf

LET_GO_SECONDS = 2.0
"""In which a switch has let go of an interface that was taken out of it."""
PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class RepresentorStep:
    """MTU, offload, and a link on which the node itself says nothing."""

    node: PhysicalFunctions
    found: FoundRepresentor

    async def do(self, entry: Entry) -> None:
        needed = self.found.model_copy(
            update={
                "mtu": entry.attachment.mtu,
                "up": True,
                "address_generation": links.NO_LINK_LOCAL,
                "hw_tc_offload": self.found.hw_tc_offload and "on",
            }
        )
        try:
            there = await inside(self.node.here, lambda netlink: _set(netlink, needed))
        except OSError as error:
            raise CniError(
                CniError.NETWORK,
                f"representor {needed.name} of {entry.device} cannot be set up with MTU {needed.mtu}: {error.strerror}",
                "an MTU must not be larger than that of its physical function",
            ) from error
        if not there:
            problem = f"representor {needed.name} of {entry.device} vanished while it was attached"
            raise CniError(CniError.TRY_AGAIN, problem)

    async def undo(self, entry: Entry) -> None:
        vf = same(self.node, entry)
        if vf is None:
            return  # its representor is gone with it
        try:
            await inside(self.node.here, lambda netlink: self._put_back(netlink, vf))
        except OSError as error:
            problem = f"representor {self.found.name} of {entry.device} is not put back: {error.strerror}"
            raise CniError(CniError.TRY_AGAIN, problem) from error

    def _put_back(self, netlink: IPRoute, vf: LocatedVf) -> None:
        """Once the switch has let go of it: until then its driver may refuse to have its offload off."""
        if self.node.eswitch(vf).representor != self.found.name:
            return  # that is another's by now, or nobody's
        ends = time.monotonic() + LET_GO_SECONDS
        while (link := interface.named(netlink, self.found.name)) and link.master and time.monotonic() < ends:
            time.sleep(PAUSE_SECONDS)
        _set(netlink, self.found)


def _set(netlink: IPRoute, needed: FoundRepresentor) -> bool:
    """Whether it is there."""
    link = interface.named(netlink, needed.name)
    if link is None:
        return False
    if link.up:
        links.set_down(netlink, link.index)  # which takes its own addresses away
    links.set_mtu(netlink, link.index, needed.mtu)
    links.set_address_generation(netlink, link.index, needed.address_generation)
    if needed.hw_tc_offload:
        ethtool.set_feature(needed.name, HW_TC_OFFLOAD, active=needed.hw_tc_offload == "on")
    if needed.up:
        links.set_up(netlink, link.index)
    return True
