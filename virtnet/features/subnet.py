"""Subnet and ClusterSubnet: a logical switch, its port of the Vpc's router, DHCP, and the way to a physical network."""

from collections.abc import Sequence
from functools import partial

from virtnet.api import ClusterSubnet, Route, Subnet, Vpc
from virtnet.api.addresses import is_mac
from virtnet.api.grammar import CHASSIS_NAME
from virtnet.api.meta import Metadata
from virtnet.engine.feature import Feature
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import ConditionState, Outcome, Report
from virtnet.features.capacity import counts, counts_of_macs, full_state
from virtnet.features.committed import readiness
from virtnet.features.layout import neighbours
from virtnet.features.mtu import mtu_states
from virtnet.features.nads import NIC_USERS
from virtnet.features.node_addresses import NODE_ADDRESSES
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.obstacles import is_own_default, obstacle, pools, subnet_of
from virtnet.features.router_addresses import former_addresses, router_addresses, until_next
from virtnet.features.sources import (
    CLUSTER_SUBNETS,
    CLUSTER_VPCS,
    LEASES,
    NODES,
    PORTS,
    PROVIDER_NETWORKS,
    SERVICE_CIDRS,
    SUBNETS,
    VPCS,
    AnySubnet,
    subnets_of,
    vpc_key,
)
from virtnet.features.subnet_check import check_subnet
from virtnet.topology.compile import left_out, subnet_rows

NODE_NETWORKS.index(
    "provider_network", lambda node: [name for name, one in node.status.provider_networks.items() if one.ready]
)

ROUTES_LEFT_OUT = "RoutesLeftOut"
"""Condition of a Subnet whose guests are not told all routes."""


def compile_subnet(key: ObjectKey, reader: Reader) -> Outcome:
    """A switch that guests use stays, whatever becomes of the objects; its condition says what is wrong."""
    subnet = subnet_of(key, reader)
    if subnet is None:
        return Outcome(None if reader.by(PORTS, "subnet", key) else ())
    if reader.derive(obstacle, key) is not None:
        return Outcome(None)
    found, chassis = reader.derive(pools, key), chassis_on(subnet.spec.provider_network, reader)
    return Outcome(subnet_rows(subnet, found, reader.derive(neighbours, key), chassis))


def chassis_on(provider_network: str, reader: Reader) -> list[str]:
    """The chassis that are on a physical network; none of an overlay."""
    nodes = reader.by(NODE_NETWORKS, "provider_network", provider_network) if provider_network else []
    return [node.status.chassis for node in nodes if node.status.chassis and CHASSIS_NAME.permits(node.status.chassis)]


def report_subnet(key: ObjectKey, reader: Reader) -> Report | None:
    subnet = reader.whole(subnets_of(key.kind), key)
    if subnet is None:
        return None
    found = reader.derive(pools, key)
    former = former_addresses(subnet, found, reader.now)
    leased = [lease.address for lease in reader.by(LEASES, "subnet", key)]
    return Report(
        (
            readiness(subnet, reader.derive(obstacle, key), reader),
            full_state(found, leased),
            *mtu_states(subnet, reader),
            routes_state(left_out(subnet, reader.derive(neighbours, key))),
        ),
        {
            "mtu": subnet.spec.guest_mtu,
            "gateways": tuple(str(pool.gateway) for pool in found),
            "router_addresses": router_addresses(subnet, found) or subnet.status.router_addresses,
            "former_addresses": former,
            **(counts(found, leased) if subnet.spec.assigns_addresses else counts_of_macs(leased)),
        },
        others=frozenset({"cooling"}),
        again=until_next(former, reader.now),
        needs=_needs(subnet, reader),
    )


def routes_state(left_out: Sequence[Route]) -> ConditionState:
    """Whether guests are told all routes that lead to the Vpc's other Subnets."""
    if not left_out:
        return ConditionState(ROUTES_LEFT_OUT, holds=False, reason="AllFit")
    message = (
        f"DHCP has no room for {len(left_out)} of the routes that guests need, one of them to "
        f"{left_out[0].destination}: they cannot reach those networks; put fewer Subnets into "
        "the Vpc, or such as lie side by side"
    )
    return ConditionState(ROUTES_LEFT_OUT, holds=True, reason="NoRoom", message=message, announced=True)


def _needs(subnet: AnySubnet, reader: Reader) -> tuple[Vpc, ...]:
    """The Vpc of its namespace, where it lies in that and it is missing."""
    if subnet.deleting or not is_own_default(subnet) or reader.get(VPCS, vpc_key(subnet)) is not None:
        return ()
    return (Vpc(metadata=Metadata(name=subnet.spec.vpc.name, namespace=subnet.namespace)),)


def subnet_in_use(subnet: AnySubnet, reader: Reader) -> str:
    """Who has addresses of it; those that were reserved for VMs that never came go by themselves."""
    leases = reader.by(LEASES, "subnet", ObjectKey.of(subnet))
    if leases:
        one = min(leases, key=lambda lease: is_mac(lease.address))
        return f"{len(leases)} leases, one of them {one.address} of {one.holder}"
    ports = reader.by(PORTS, "subnet", ObjectKey.of(subnet))
    return f"{len(ports)} Ports, one of them {ports[0].key}" if ports else ""


_feature = partial(
    Feature,
    compile=compile_subnet,
    report=report_subnet,
    check=check_subnet,
    check_reads=(
        NODE_ADDRESSES,
        SUBNETS,
        CLUSTER_SUBNETS,
        VPCS,
        CLUSTER_VPCS,
        PROVIDER_NETWORKS,
        LEASES,
        NIC_USERS,
        NODES,
        SERVICE_CIDRS,
    ),
    in_use=subnet_in_use,
)
SUBNET = _feature(model=Subnet, collection=SUBNETS)
CLUSTER_SUBNET = _feature(model=ClusterSubnet, collection=CLUSTER_SUBNETS)
