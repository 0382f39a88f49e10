"""What carries our marks but is in no journal: of NICs whose journal was lost or could not be read.

One whose sandbox lives stays: it may be a running VM's. Its DEL or a GC finds it by its marks.
"""

from dataclasses import dataclass

import structlog
from pyroute2 import IPRoute

from virtnet.node import links
from virtnet.node.netns import inside
from virtnet.node.request import AttachmentId
from virtnet.node.switch import NETWORK, SwitchPort

log = structlog.get_logger()


@dataclass(frozen=True)
class Leftovers:
    """Ports of the switch and links of the host."""

    port: SwitchPort
    here: str
    """The daemon's own namespace, as a path."""

    def of_network(self, name: str) -> set[AttachmentId]:
        """NICs with a port in the switch, by the name in their network configuration."""
        return {id_ for id_, interface in self.port.marked() if interface.external_ids.get(NETWORK) == name}

    async def dead(self) -> set[AttachmentId]:
        """NICs whose sandbox is gone: a link that still leads into one proves that it is there."""
        marked = {id_: link.leads_elsewhere for id_, link in await inside(self.here, _marked_links)}
        ports = {id_ for id_, _ in self.port.marked()}
        return {id_ for id_ in marked.keys() | ports if not marked.get(id_, False)}

    async def remove(self, id_: AttachmentId) -> None:
        """Remove what is there of a NIC. Raises CniError."""
        await self.port.undo(id_)

        def delete(netlink: IPRoute) -> None:
            link = links.find(netlink, id_.host_name)
            if link is not None and link.alias == id_.mark:
                links.delete(netlink, link.index)

        await inside(self.here, delete)


def _marked_links(netlink: IPRoute) -> list[tuple[AttachmentId, links.Link]]:
    found = ((AttachmentId.marked(link.alias), link) for link in links.all_links(netlink))
    return [(id_, link) for id_, link in found if id_ is not None and link.name == id_.host_name]
