"""Open vSwitch gives its flows to NICs, and uses DPDK, as policies say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from virtnet.api import NicSettings, PlacedNicPolicy
from virtnet.api.nic_policy import DpdkSettings
from virtnet.api.node_devices import SwitchDpdk
from virtnet.node.dpdk import KERNEL_DATAPATH
from virtnet.node.nic_policies import obstacles
from virtnet.node.nic_policies.obstacles import NicObstacle
from virtnet.ovn.errors import OvnError
from virtnet.ovn.switch_config import SwitchConfig

log = structlog.get_logger()


@dataclass(frozen=True)
class SwitchSettings:
    """The node's Open vSwitch. Of several policies that say the same setting, it is the eldest's."""

    config: SwitchConfig
    dpdk: Callable[[], SwitchDpdk]
    """What the switch says of DPDK; raises OSError."""
    cpus: int
    """How many the node has."""

    async def follow(self, policies: Sequence[PlacedNicPolicy]) -> dict[str, NicObstacle]:
        """Do what policies say, the eldest first, or what was before. Returns what is in the way, by policy."""
        said = {policy.name: settings_of(policy) for policy in policies}
        eldest: dict[str, PlacedNicPolicy] = {}
        for policy in policies:
            for key in said[policy.name]:
                eldest.setdefault(key, policy)
        wanted = {key: said[policy.name][key] for key, policy in eldest.items() if not policy.externally_managed}
        try:
            await self.config.have(wanted, eldest.keys() - wanted.keys())
        except OvnError as error:
            log.warning("settings of Open vSwitch: to be retried", error=str(error))
            return {name: obstacles.switch_away() for name, settings in said.items() if settings}
        found = {policy.name: self._obstacle(policy, said, eldest) for policy in policies}
        return {name: obstacle for name, obstacle in found.items() if obstacle is not None}

    def _obstacle(
        self,
        policy: PlacedNicPolicy,
        said: Mapping[str, Mapping[str, str]],
        eldest: Mapping[str, PlacedNicPolicy],
    ) -> NicObstacle | None:
        for key, value in said[policy.name].items():
            elder = eldest[key].name
            if said[elder][key] != value:
                return obstacles.setting_overlap(key, elder)
            if policy.externally_managed and not self.config.has(key, value):
                return obstacles.setting_differs(key, self.config.value(key), value)
        return self._without_dpdk(policy.dpdk) if policy.dpdk is not None else None

    def _without_dpdk(self, dpdk: DpdkSettings) -> NicObstacle | None:
        """Why its settings are not enough: what a switch needs beside them, or takes only when it starts."""
        beyond = [cpu for cpu in dpdk.pmd_cpus if cpu >= self.cpus]
        if beyond:
            return obstacles.no_such_cpu(beyond[0], self.cpus)
        try:
            found = self.dpdk()
        except OSError as error:
            return obstacles.dpdk_unseen(error)
        if found.healthy or found.reason == KERNEL_DATAPATH:
            return None
        return NicObstacle(found.reason, found.message)


def settings_of(policy: NicSettings) -> dict[str, str]:
    """What a policy says of other_config of Open_vSwitch."""
    offload = {} if policy.hw_offload is None else {"hw-offload": "true" if policy.hw_offload else "false"}
    return offload if policy.dpdk is None else {**offload, **_of_dpdk(policy.dpdk)}


def _of_dpdk(dpdk: DpdkSettings) -> dict[str, str]:
    found = {"dpdk-init": "try"}  # with "true" a switch that cannot, for want of huge pages say, does not start at all
    if dpdk.pmd_cpus:
        found["pmd-cpu-mask"] = f"{sum(1 << cpu for cpu in set(dpdk.pmd_cpus)):#x}"
    if dpdk.socket_memory:
        found["dpdk-socket-mem"] = ",".join(map(str, dpdk.socket_memory))
    if dpdk.pmd_sleep_max is not None:
        # Open vSwitch 3.1 knows the second name only, and later ones the first.
        found |= dict.fromkeys(("pmd-sleep-max", "pmd-maxsleep"), str(dpdk.pmd_sleep_max))
    return found
