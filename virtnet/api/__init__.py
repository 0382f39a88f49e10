"""The user's language: one pydantic model per kind of ``virtnet.dev/v1alpha1``, from which ``crds/`` is generated."""

from virtnet.api.guest import Dhcp, Dns, Route
from virtnet.api.lease import AddressLease, AddressLeaseSpec, AddressLeaseStatus, Holder
from virtnet.api.meta import GROUP, VERSION, Condition, Metadata, Resource, Spec, set_condition
from virtnet.api.nic_policy import (
    ConfiguredNic,
    NicPolicy,
    NicPolicyOnNode,
    NicPolicySpec,
    NicPolicyStatus,
    NicSelector,
    NicSettings,
    PlacedNicPolicy,
)
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
    VlanRange,
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
from virtnet.api.subnet import ClusterSubnet, Reservation, Subnet, SubnetSpec
from virtnet.api.subnet_status import Cooling, SubnetStatus
from virtnet.api.vpc import ClusterVpc, Vpc, VpcSpec, VpcStatus

__all__ = [
    "GROUP",
    "VERSION",
    "AddressLease",
    "AddressLeaseSpec",
    "AddressLeaseStatus",
    "ClusterSubnet",
    "ClusterVpc",
    "Condition",
    "ConfiguredNic",
    "Cooling",
    "CustomNic",
    "Dhcp",
    "Dns",
    "HandoffPath",
    "HandoffRecord",
    "HandoffSupport",
    "Holder",
    "Metadata",
    "NicPolicy",
    "NicPolicyOnNode",
    "NicPolicySpec",
    "NicPolicyStatus",
    "NicSelector",
    "NicSettings",
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
    "PlacedNicPolicy",
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
    "VlanRange",
    "Vpc",
    "VpcRef",
    "VpcSpec",
    "VpcStatus",
    "set_condition",
]
