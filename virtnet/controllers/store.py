"""What the API server says, in memory: the one place that the reconcilers read from.

Filled by watches, and at once by what the controller itself has written, so that it never acts on less than it knows.
A watch starts with a whole list (Cluster.watch yields SYNC), which also tells what has vanished while nobody looked.
kopf's own watches tell additions only after a lost connection, which would keep a deleted VM's addresses for ever.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from virtnet.api import (
    AddressLease,
    ClusterSubnet,
    ClusterVpc,
    NodeNetwork,
    Port,
    ProviderNetwork,
    Resource,
    Subnet,
    SubnetRef,
    Vpc,
)
from virtnet.controllers.fleet import Fleet
from virtnet.controllers.views import IpamClaim, Pod, StatefulSet, Vm, VmMigration, instance_of
from virtnet.handoff.facts import Instance, Told
from virtnet.kube.table import Table, object_key


def port_owner(port: Port) -> str:
    """What the reconciler of owners calls a Port's owner: ``vm:ns/name`` or ``pod:ns/name``."""
    return owner_id(port.spec.owner.kind, f"{port.namespace}/{port.spec.owner.name}")


def owner_id(kind: str, key: str) -> str:
    return f"{'pod' if kind == 'Pod' else 'vm'}:{key}"


def stateful_set_id(key: str) -> str:
    """What the Ports of a StatefulSet's pods are grouped by."""
    return f"StatefulSet/{key}"


def _stateful_set(port: Port) -> list[str]:
    name = port.spec.owner.stateful_set
    return [stateful_set_id(f"{port.namespace}/{name}")] if name else []


def lease_owner(lease: AddressLease) -> str:
    holder = lease.spec.holder
    return owner_id(holder.owner.kind, f"{holder.namespace}/{holder.owner.name}")


def vpc_of(subnet: Subnet | ClusterSubnet) -> str:
    """``Kind/key`` of the Vpc that a Subnet lies in."""
    ref = subnet.spec.vpc
    return f"{ref.kind}/{ref.key(subnet.namespace)}"


def segment(subnet: Subnet | ClusterSubnet) -> str:
    """The piece of a physical network that an underlay is, for people; empty for an overlay."""
    spec = subnet.spec
    vlan = f"VLAN {spec.vlan}" if spec.vlan else "the untagged part"
    return f"{vlan} of ProviderNetwork {spec.provider_network}" if spec.underlay else ""


def served(subnet: Subnet | ClusterSubnet) -> bool:
    """Whether it has been put into OVN, as far as its status knows."""
    return any(c.type == "Ready" and c.status == "True" for c in subnet.status.conditions)


def _decisive(subnet: Subnet | ClusterSubnet) -> object:
    return subnet.spec, served(subnet)


def _age(subnet: Subnet | ClusterSubnet) -> tuple[bool, object, str]:
    """Orders Subnets: those that are served already, then by when they were made; the uid decides within a second."""
    made = subnet.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC)
    return (not served(subnet), made, subnet.metadata.uid)


def subnet_id(ref: SubnetRef) -> str:
    """``Kind/key``, which is also what its rows in OVN are known by."""
    return f"{ref.kind}/{ref.key}"


class Store:
    """All tables."""

    def __init__(self) -> None:
        self.vms = Table(Vm.of)
        self.instances: Table[tuple[str, Instance]] = Table(lambda body: (object_key(body), instance_of(body)))
        self.migrations = Table(VmMigration.of, lambda m: [m.vmi])
        self.pods = Table(Pod.of, lambda pod: [pod.owner, *filter(None, map(pod.claim, pod.attachments))])
        self.ipam_claims = Table(IpamClaim.of)
        self.vpcs = Table(Vpc.parse)
        self.cluster_vpcs = Table(ClusterVpc.parse)
        self.subnets = Table(Subnet.parse, lambda subnet: [vpc_of(subnet)], _decisive)
        self.cluster_subnets = Table(ClusterSubnet.parse, lambda subnet: [vpc_of(subnet)], _decisive)
        self.ports = Table(
            Port.parse,
            lambda port: [port_owner(port), subnet_id(port.spec.subnet), *_stateful_set(port)],
            lambda port: (port.spec, port.metadata.labels, port.metadata.annotations),
        )
        self.leases = Table(
            AddressLease.parse,
            lambda lease: [lease.spec.holder.key, subnet_id(lease.spec.subnet), lease_owner(lease)],
        )
        self.stateful_sets = Table(StatefulSet.of)
        self.nodes = Table(NodeNetwork.parse, lambda node: node.status.conflicts)
        self.provider_networks = Table(ProviderNetwork.parse)
        self._fleet = 0, Fleet.of(())
        """The nodes as they were after so many changes."""
        self.obstacles: tuple[int, dict[str, tuple[str, str]]] = 0, {}
        """What keeps Subnets out of OVN, as far as it has been asked for, and the layout that it was so in."""
        self.waiting: dict[str, set[str]] = {}
        """Name of a lease that another holds -> Ports that must have it: they look again when it changes."""
        self._tables: dict[type[Resource], Table[Any]] = {
            Vpc: self.vpcs,
            ClusterVpc: self.cluster_vpcs,
            Subnet: self.subnets,
            ClusterSubnet: self.cluster_subnets,
            Port: self.ports,
            AddressLease: self.leases,
            NodeNetwork: self.nodes,
        }

    def subnet(self, ref: SubnetRef) -> Subnet | ClusterSubnet | None:
        return self.subnets.get(ref.key) if ref.kind == "Subnet" else self.cluster_subnets.get(ref.key)

    def vpc(self, id_: str) -> Vpc | ClusterVpc | None:
        """By ``Kind/key``."""
        kind, _, key = id_.partition("/")
        return self.vpcs.get(key) if kind == "Vpc" else self.cluster_vpcs.get(key)

    @property
    def layout(self) -> int:
        """Moves with whatever decides which Subnets can be put into OVN."""
        places = (self.vpcs, self.cluster_vpcs, self.subnets, self.cluster_subnets, self.provider_networks)
        return sum(table.decided for table in places)

    def inside(self, vpc: str) -> list[Subnet | ClusterSubnet]:
        """The Subnets of a Vpc, by its ``Kind/key``."""
        return [*self.subnets.of(vpc), *self.cluster_subnets.of(vpc)]

    def beside(self, subnet: Subnet | ClusterSubnet) -> list[Subnet | ClusterSubnet]:
        """The other Subnets of its Vpc."""
        return [other for other in self.inside(vpc_of(subnet)) if other.ref != subnet.ref]

    def twin(self, subnet: Subnet | ClusterSubnet) -> ClusterSubnet | None:
        """An elder underlay on the very same piece of a physical network that this one overlaps, in whichever Vpc.

        Several ranges on one piece are fine: what their switches do not know they send out, where the others hear it.
        """
        if not subnet.spec.underlay:
            return None
        same = [s for s in self.cluster_subnets if s.ref != subnet.ref and segment(s) == segment(subnet)]
        elder = [s for s in same if _age(s) < _age(subnet)]
        return next((s for s in elder if subnet.spec.overlaps(s.spec)), None)

    def rival(self, subnet: Subnet | ClusterSubnet) -> Subnet | ClusterSubnet | None:
        """An elder Subnet of the same Vpc that this one overlaps; admission lets both in when they come at once."""
        older = [other for other in self.beside(subnet) if _age(other) < _age(subnet)]
        return next((s for s in older if subnet.spec.overlaps(s.spec)), None)

    def table(self, model: type[Resource]) -> Table[Any]:
        """The table of one of virtnet's own kinds."""
        return self._tables[model]

    @property
    def fleet(self) -> Fleet:
        """What the nodes say together."""
        changes, known = self._fleet
        if changes != self.nodes.changes:
            changes, known = self._fleet = self.nodes.changes, Fleet.of(self.nodes)
        return known

    def told(self, port: str) -> Mapping[str, Told]:
        """What the two nodes of each of a port's handoffs have told of it, by the migration's UID."""
        return self.fleet.told.get(port, {})

    def in_the_way(self, port: str) -> str:
        """Which machine outside has an address that a node cannot attach a Port with, for people; empty for none."""
        found = ((node.name, node.status.conflicts[port]) for node in self.nodes.of(port))
        return next((f"{node} cannot attach it: {conflict}" for node, conflict in found), "")

    def keeper(self, port: Port) -> StatefulSet | None:
        """The StatefulSet that makes a Port's pod again when it is gone, so that its addresses stay."""
        owner = port.spec.owner
        found = self.stateful_sets.get(f"{port.namespace}/{owner.stateful_set}") if owner.stateful_set else None
        return found if found is not None and found.covers(owner.name) else None

    def instance(self, key: str) -> Instance | None:
        found = self.instances.get(key)
        return found[1] if found else None
