"""The kinds that are watched, and the collections of features that they fill."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.addressing.held import HeldAddress
from virtnet.api import AddressLease, NodeNetwork, Port
from virtnet.api.names import ATTACHED_LABEL
from virtnet.engine.collection import Collection
from virtnet.features import FEATURES
from virtnet.features.nads import NADS, NIC_USERS, Nad, NicUser
from virtnet.features.node_addresses import NODE_ADDRESSES, NodeAddresses
from virtnet.features.nodes import NodeLabels
from virtnet.features.policy_groups import MULTI_POLICIES, NAMESPACES, POLICIES, NamespaceLabels, NetworkPolicy
from virtnet.features.sources import (
    INSTANCES,
    IPAM_CLAIMS,
    LEASES,
    MIGRATIONS,
    NODES,
    PODS,
    SERVICE_CIDRS,
    STATEFUL_SETS,
    VMS,
)
from virtnet.features.workloads import (
    IpamClaim,
    Pod,
    ServiceCidr,
    StatefulSet,
    Vm,
    VmMigration,
    instance_of,
)
from virtnet.kube import kinds


@dataclass(frozen=True)
class WatchedKind:
    """A kind that is watched, and the collection that it fills."""

    kind: kinds.Kind
    collection: Collection[Any]
    parse: Callable[[Mapping[str, Any]], Any]
    labels: str = ""
    """The label selector of those that are watched; empty for all."""
    required: bool = False
    """Whether it is ours: nothing is decided before it is served."""


FOREIGN = (
    WatchedKind(kinds.VMS, VMS, Vm.of),
    WatchedKind(kinds.VMIS, INSTANCES, instance_of),
    WatchedKind(kinds.VMIMS, MIGRATIONS, VmMigration.of),
    WatchedKind(kinds.PODS, PODS, Pod.of, f"{ATTACHED_LABEL}=true"),
    WatchedKind(kinds.IPAM_CLAIMS, IPAM_CLAIMS, IpamClaim.of),
    WatchedKind(kinds.STATEFUL_SETS, STATEFUL_SETS, StatefulSet.of),
    WatchedKind(kinds.NODES, NODES, NodeLabels.of),
    WatchedKind(kinds.NADS, NADS, Nad.of),
    WatchedKind(kinds.NAMESPACES, NAMESPACES, NamespaceLabels.of),
    WatchedKind(kinds.NETWORK_POLICIES, POLICIES, NetworkPolicy.of),
    WatchedKind(kinds.MULTI_NETWORK_POLICIES, MULTI_POLICIES, NetworkPolicy.of_multi),
)
OWN = tuple(WatchedKind(kinds.of(one.model), one.collection, one.model.parse, required=True) for one in FEATURES)

_LEASES = WatchedKind(kinds.of(AddressLease), LEASES, HeldAddress.of, required=True)

BY_CONTROLLER = (*FOREIGN, *OWN, _LEASES)

_CHECKED = {
    *(one.collection for one in FEATURES if one.check),
    *(collection for one in FEATURES for collection in one.check_reads),
}
_USERS = WatchedKind(kinds.of(Port), NIC_USERS, NicUser.of, required=True)
_NODE_ADDRESSES = WatchedKind(kinds.of(NodeNetwork), NODE_ADDRESSES, NodeAddresses.of, required=True)
_SERVICES = WatchedKind(kinds.SERVICE_CIDRS, SERVICE_CIDRS, ServiceCidr.of)
BY_WEBHOOK = (*(one for one in (*BY_CONTROLLER, _SERVICES) if one.collection in _CHECKED), _USERS, _NODE_ADDRESSES)
"""What checks read, and who has NICs by which NAD, and which MACs nodes have."""
