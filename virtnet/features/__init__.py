"""Every kind of ours, and everything that is decided about it. Pure."""

from virtnet.api import AddressLease, Resource
from virtnet.engine.feature import Feature, ForeignFeature, extended
from virtnet.features.network_policies import MULTI_NETWORK_POLICY, NETWORK_POLICY, POLICY_PEERS
from virtnet.features.nic_policy import NIC_POLICY
from virtnet.features.node_network import NODE_NETWORK
from virtnet.features.port import PORT
from virtnet.features.port_mirrors import CLUSTER_PORT_MIRROR
from virtnet.features.provider_network import PROVIDER_NETWORK
from virtnet.features.qos import CLUSTER_QOS_POLICY, QOS_POLICY
from virtnet.features.security_groups import CLUSTER_SECURITY_GROUP, SECURITY_GROUP
from virtnet.features.subnet import CLUSTER_SUBNET, SUBNET
from virtnet.features.vpc import CLUSTER_VPC, VPC

FOREIGN_FEATURES: tuple[ForeignFeature, ...] = (POLICY_PEERS, NETWORK_POLICY, MULTI_NETWORK_POLICY)
"""Kinds of others that OVN has rows of. Ports are in their groups, so that they come before ours."""

FEATURES: tuple[Feature, ...] = extended(
    VPC,
    CLUSTER_VPC,
    PROVIDER_NETWORK,
    NIC_POLICY,
    CLUSTER_SECURITY_GROUP,
    SECURITY_GROUP,
    CLUSTER_PORT_MIRROR,
    SUBNET,
    CLUSTER_SUBNET,
    NODE_NETWORK,
    PORT,
    QOS_POLICY,
    CLUSTER_QOS_POLICY,
    foreign=FOREIGN_FEATURES,
)
"""The one list. What others stand on comes first: rows that cannot be written at once are written in this order."""

MODELS: tuple[type[Resource], ...] = (*(feature.model for feature in FEATURES), AddressLease)
"""Every kind that the API server must know of."""
