"""The collections that features read: our kinds, those of others, what OVN says, and what features tell each other."""

from collections.abc import Iterable

from virtnet.addressing.held import HeldAddress
from virtnet.api import (
    ClusterSubnet,
    ClusterVpc,
    Port,
    ProviderNetwork,
    Subnet,
    SubnetRef,
    Vpc,
)
from virtnet.engine.collection import Collection, Projection
from virtnet.engine.keys import ObjectKey
from virtnet.features.network_parts import INSTANCE_NETWORK_PART, NETWORK_PART
from virtnet.features.nodes import NodeLabels
from virtnet.features.places import PLACES, Place
from virtnet.features.workload_parts import INSTANCE, WORKLOAD
from virtnet.features.workloads import (
    IpamClaim,
    Pod,
    ServiceCidr,
    StatefulSet,
    Vm,
    VmInstance,
    VmMigration,
)

AnySubnet = Subnet | ClusterSubnet
AnyVpc = Vpc | ClusterVpc

VM_KIND, POD_KIND = "VirtualMachine", "Pod"


def owner_key(kind: str, namespace: str, name: str) -> ObjectKey:
    """Whose Ports and leases they are; a free-standing VMI counts as the VM that it might have."""
    return ObjectKey(VM_KIND if kind == "VirtualMachineInstance" else kind, namespace, name)


def port_owner(port: Port) -> ObjectKey:
    return owner_key(port.spec.owner.kind, port.namespace, port.spec.owner.name)


def lease_owner(lease: HeldAddress) -> ObjectKey:
    return owner_key(lease.owner_kind, lease.namespace, lease.owner_name)


def subnet_key(ref: SubnetRef) -> ObjectKey:
    return ObjectKey(ref.kind, ref.namespace, ref.name)


def vpc_key(subnet: AnySubnet) -> ObjectKey:
    """The Vpc that a Subnet lies in."""
    return ObjectKey.named(subnet.spec.vpc.kind, subnet.spec.vpc.key(subnet.namespace))


def segment(subnet: AnySubnet) -> tuple[str, int] | None:
    """The piece of a physical network that an underlay is: its ProviderNetwork and VLAN; None for an overlay."""
    return (subnet.spec.provider_network, subnet.spec.vlan) if subnet.spec.underlay else None


def is_ready(resource: AnySubnet) -> bool:
    """Whether it has been put into OVN, as far as its status knows."""
    return any(one.type == "Ready" and one.status == "True" for one in resource.status.conditions)


VMS: Collection[Vm] = Collection(VM_KIND, projections=[WORKLOAD, NETWORK_PART])
INSTANCES: Collection[VmInstance] = Collection(
    "VirtualMachineInstance",
    relevant=lambda instance: instance.facts,
    projections=[INSTANCE, INSTANCE_NETWORK_PART],
    urgent=True,
)
MIGRATIONS: Collection[VmMigration] = Collection(
    "VirtualMachineInstanceMigration", indexes={"instance": lambda one: [one.vmi]}, urgent=True
)
PODS: Collection[Pod] = Collection(
    POD_KIND,
    indexes={
        "owner": lambda pod: [pod.owner],
        "claim": lambda pod: filter(None, map(pod.claim, pod.attachments)),
        "node": lambda pod: filter(None, [pod.launcher.node]),
    },
    projections=[WORKLOAD, NETWORK_PART],
    urgent=True,
)
IPAM_CLAIMS: Collection[IpamClaim] = Collection("IPAMClaim")
STATEFUL_SETS: Collection[StatefulSet] = Collection("StatefulSet")
NODES: Collection[NodeLabels] = Collection("Node", labels=lambda node: node.labels)
SERVICE_CIDRS: Collection[ServiceCidr] = Collection("ServiceCIDR")

VPCS: Collection[Vpc] = Collection("Vpc", relevant=lambda vpc: (vpc.spec, vpc.deleting))
CLUSTER_VPCS: Collection[ClusterVpc] = Collection("ClusterVpc", relevant=lambda vpc: (vpc.spec, vpc.deleting))


def _subnet_part(subnet: AnySubnet) -> object:
    return subnet.spec, subnet.status.former_addresses, subnet.deleting


def _place(key: ObjectKey, subnet: AnySubnet) -> dict[ObjectKey, Place]:
    return {
        key: Place(
            key,
            vpc_key(subnet),
            segment(subnet),
            subnet.spec.cidrs,
            subnet.spec.networks,
            subnet.spec.routed,
            subnet.spec.guest_mtu,
            subnet.metadata.creation_timestamp,
            subnet.metadata.uid,
        )
    }


PLACE = Projection(PLACES, _place)

SUBNETS: Collection[Subnet] = Collection("Subnet", relevant=_subnet_part, projections=[PLACE])
CLUSTER_SUBNETS: Collection[ClusterSubnet] = Collection(
    "ClusterSubnet",
    relevant=_subnet_part,
    projections=[PLACE],
    indexes={
        "segment": lambda subnet: filter(None, [segment(subnet)]),
        "provider_network": lambda subnet: filter(None, [subnet.spec.provider_network]),
    },
)


def subnets_of(kind: str) -> Collection[AnySubnet]:
    """The collection of a kind of Subnet."""
    return CLUSTER_SUBNETS if kind == CLUSTER_SUBNETS.kind else SUBNETS


def vpcs_of(kind: str) -> Collection[AnyVpc]:
    """The collection of a kind of Vpc."""
    return CLUSTER_VPCS if kind == CLUSTER_VPCS.kind else VPCS


PROVIDER_NETWORKS: Collection[ProviderNetwork] = Collection(
    "ProviderNetwork", relevant=lambda network: (network.spec, network.deleting)
)


def _stateful_set(port: Port) -> Iterable[ObjectKey]:
    name = port.spec.owner.stateful_set
    return [ObjectKey("StatefulSet", port.namespace, name)] if name else []


def _port_part(port: Port) -> object:
    ended = tuple(one.migration for one in port.status.handoffs if one.finished_at)
    return port.spec, port.metadata.labels, port.metadata.annotations, ended


PORTS: Collection[Port] = Collection(
    "Port",
    relevant=_port_part,
    indexes={
        "owner": lambda port: [port_owner(port)],
        "subnet": lambda port: [subnet_key(port.spec.subnet)],
        "stateful_set": _stateful_set,
    },
    labels=lambda port: port.metadata.labels,
)
LEASES: Collection[HeldAddress] = Collection(
    "AddressLease",
    indexes={
        "port": lambda lease: [lease.port],
        "subnet": lambda lease: [subnet_key(lease.subnet)],
        "owner": lambda lease: [lease_owner(lease)],
    },
)
