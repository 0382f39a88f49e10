"""What follows NicPolicies on a node, put together."""

import os
from collections.abc import Callable
from urllib.parse import urlsplit

from virtnet.api.node_devices import SwitchDpdk
from virtnet.node.allocations import Allocations
from virtnet.node.devices.reading import SYSFS
from virtnet.node.devices.watch import Devices
from virtnet.node.journal import Journal
from virtnet.node.nic_policies.connectivity import Connectivity
from virtnet.node.nic_policies.kernel import NicKernel
from virtnet.node.nic_policies.reconciler import NicPolicyReconciler, Surroundings
from virtnet.node.nic_policies.records import NicRecords
from virtnet.node.nic_policies.switch_settings import SwitchSettings
from virtnet.node.tunnel import TunnelAddress
from virtnet.ovn.provider_bridges import ProviderBridges
from virtnet.ovn.switch_config import SwitchConfig


def reconciler(
    here: str,
    records: NicRecords,
    devices: Devices,
    journal: Journal,
    allocations: Allocations,
    *,
    bridges: ProviderBridges,
    tunnel: TunnelAddress,
    dpdk: Callable[[], SwitchDpdk],
    server: str,
) -> NicPolicyReconciler:
    """It looks whenever the node's devices have changed. ``server``: the API server's URL."""
    connectivity = Connectivity(
        here,
        lambda nic: bridges.port_of(nic) if bridges.database.up else None,
        lambda: tunnel.node_addresses,
        urlsplit(server).hostname or "",
    )
    switch = SwitchSettings(SwitchConfig(bridges.database), dpdk, os.cpu_count() or 1)
    around = Surroundings(NicKernel(here, SYSFS), journal, allocations, connectivity, switch.follow)
    found = NicPolicyReconciler(around, records, lambda: devices.found)
    devices.on_reading(found.look.set)
    return found
