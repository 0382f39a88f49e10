"""NICs that carry our marks but are in no journal, because it was lost or could not be read.

One whose sandbox lives stays: it may be a running VM's. Its DEL or a GC finds it by its marks.
"""

from dataclasses import dataclass

from virtnet.node.netns import exists
from virtnet.node.nics import Drivers
from virtnet.node.request import AttachmentId
from virtnet.node.switch import NETNS, NETWORK, SwitchPorts


@dataclass(frozen=True)
class Orphans:
    """Ports of the switch, and what the drivers have marked."""

    ports: SwitchPorts
    drivers: Drivers

    def of_network(self, name: str) -> set[AttachmentId]:
        """NICs with a port in the switch, by the name in their network configuration."""
        return {id_ for id_, interface in self.ports.marked() if interface.external_ids.get(NETWORK) == name}

    async def dead(self) -> set[AttachmentId]:
        """NICs whose sandbox is gone, as far as their drivers or their ports' marks can tell."""
        alive = {id_: exists(interface.external_ids.get(NETNS, "")) for id_, interface in self.ports.marked()}
        for driver in self.drivers:
            for id_, certain in (await driver.marked()).items():
                alive[id_] = certain or alive.get(id_, False)
        return {id_ for id_, lives in alive.items() if not lives}

    async def remove(self, id_: AttachmentId) -> None:
        """Remove what is there of a NIC. Raises CniError."""
        await self.ports.remove(id_)
        for driver in self.drivers:
            await driver.remove(id_)
