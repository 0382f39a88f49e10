"""Open vSwitch gives its flows to NICs, or does not, as policies say."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from virtnet.api import PlacedNicPolicy
from virtnet.node.nic_policies import obstacles
from virtnet.node.nic_policies.obstacles import NicObstacle
from virtnet.ovn.errors import OvnError
from virtnet.ovn.hw_offload import HwOffload

log = structlog.get_logger()


@dataclass(frozen=True)
class SwitchOffload:
    """The node's Open vSwitch. Of several policies, it is the eldest's."""

    setting: HwOffload

    async def follow(self, policies: Sequence[PlacedNicPolicy]) -> dict[str, NicObstacle]:
        """Do what policies say, the eldest first, or what was before. Returns what is in the way, by policy."""
        saying = [policy for policy in policies if policy.hw_offload is not None]
        first = saying[0] if saying else None
        try:
            if first is None or not first.externally_managed:
                await self.setting.have(on=first.hw_offload if first else None)
            else:
                await self.setting.leave()
        except OvnError as error:
            log.warning("hw-offload of Open vSwitch: to be retried", error=str(error))
            return {policy.name: obstacles.switch_away() for policy in saying}
        if first is None:
            return {}
        others = [policy for policy in saying if policy.hw_offload != first.hw_offload]
        found = {policy.name: obstacles.offload_overlap(first.name) for policy in others}
        if first.externally_managed and self.setting.on != first.hw_offload:
            found[first.name] = obstacles.offload_differs(on=self.setting.on)
        return found
