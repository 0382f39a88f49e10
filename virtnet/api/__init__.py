"""The user's language: one pydantic model per kind of ``virtnet.dev/v1alpha1``, from which ``crds/`` is generated."""

from virtnet.api.guest import Dhcp, Dns, Route
from virtnet.api.lease import AddressLease, AddressLeaseSpec, AddressLeaseStatus, Holder
from virtnet.api.meta import GROUP, VERSION, Condition, Metadata, Resource, Spec, set_condition
from virtnet.api.node_network import (
    HandoffPath,
    HandoffSupport,
    NodeConflict,
    NodeHandoff,
    NodeHandoffStatus,
    NodeNetwork,
    NodeNetworkSpec,
    NodeNetworkStatus,
    NodeNic,
    NodeProviderNetwork,
)
from virtnet.api.port import HandoffRecord, Owner, Port, PortSpec, PortStatus
from virtnet.api.provider_network import (
    CustomNic,
    NodeFailure,
    ProviderNetwork,
    ProviderNetworkSpec,
    ProviderNetworkStatus,
)
from virtnet.api.references import SubnetRef, VpcRef
from virtnet.api.subnet import ClusterSubnet, Cooling, Reservation, Subnet, SubnetSpec, SubnetStatus
from virtnet.api.vpc import ClusterVpc, Vpc, VpcSpec, VpcStatus

KINDS: tuple[type[Resource], ...] = (
    ProviderNetwork,
    Vpc,
    ClusterVpc,
    Subnet,
    ClusterSubnet,
    Port,
    AddressLease,
    NodeNetwork,
)

__all__ = [
    "GROUP",
    "KINDS",
    "VERSION",
    "AddressLease",
    "AddressLeaseSpec",
    "AddressLeaseStatus",
    "ClusterSubnet",
    "ClusterVpc",
    "Condition",
    "Cooling",
    "CustomNic",
    "Dhcp",
    "Dns",
    "HandoffPath",
    "HandoffRecord",
    "HandoffSupport",
    "Holder",
    "Metadata",
    "NodeConflict",
    "NodeFailure",
    "NodeHandoff",
    "NodeHandoffStatus",
    "NodeNetwork",
    "NodeNetworkSpec",
    "NodeNetworkStatus",
    "NodeNic",
    "NodeProviderNetwork",
    "Owner",
    "Port",
    "PortSpec",
    "PortStatus",
    "ProviderNetwork",
    "ProviderNetworkSpec",
    "ProviderNetworkStatus",
    "Reservation",
    "Resource",
    "Route",
    "Spec",
    "Subnet",
    "SubnetRef",
    "SubnetSpec",
    "SubnetStatus",
    "Vpc",
    "VpcRef",
    "VpcSpec",
    "VpcStatus",
    "set_condition",
]
