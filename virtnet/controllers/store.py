"""What the API server says, in memory: the one place that the reconcilers read from.

Filled by watches, and at once by what the controller itself has written, so that it never acts on less than it knows.
A watch starts with a whole list (Cluster.watch yields SYNC), which also tells what has vanished while nobody looked.
kopf's own watches tell additions only after a lost connection, which would keep a deleted VM's addresses for ever.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from virtnet.api import (
    AddressLease,
    ClusterSubnet,
    ClusterVpc,
    NodeNetwork,
    Port,
    Resource,
    Subnet,
    SubnetRef,
    Vpc,
)
from virtnet.controllers.views import Pod, Vm, VmMigration, instance_of, object_key
from virtnet.handoff.facts import Instance

T = TypeVar("T")
Indexer = Callable[[str, Any], Iterable[str]]


@dataclass
class Table(Generic[T]):
    """Objects of one kind by key, and by one other thing."""

    parse: Callable[[Mapping[str, Any]], T]
    groups: Callable[[T], Iterable[str]] = lambda _: ()
    """What an object is also found under."""
    objects: dict[str, T] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    grouped: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    buried: dict[str, str] = field(default_factory=dict)
    """Key -> uid of what we have deleted ourselves: the watch may still bring older news of it."""
    synced: bool = False

    def __getitem__(self, key: str) -> T:
        return self.objects[key]

    def get(self, key: str) -> T | None:
        return self.objects.get(key)

    def __iter__(self) -> Iterator[T]:
        return iter(self.objects.values())

    def __len__(self) -> int:
        return len(self.objects)

    def of(self, group: str) -> list[T]:
        """The objects of a group, in the order of their keys."""
        return [self.objects[key] for key in sorted(self.grouped.get(group, ()))]

    def put(self, body: Mapping[str, Any]) -> tuple[T | None, T | None]:
        """Note an object; returns what was known and what is now. Older news than the known changes nothing."""
        key = object_key(body)
        version = int(body["metadata"].get("resourceVersion") or 0)
        old = self.objects.get(key)
        if self.buried.get(key) == body["metadata"]["uid"] or (old is not None and version < self.versions[key]):
            return old, old
        new = self.parse(body)
        self._ungroup(key, old)
        self.objects[key], self.versions[key] = new, version
        for group in self.groups(new):
            self.grouped[group].add(key)
        return old, new

    def remove(self, key: str) -> T | None:
        """Forget an object that the API server says is gone."""
        self.buried.pop(key, None)
        return self._forget(key)

    def bury(self, key: str, uid: str) -> None:
        """Forget an object that we have deleted ourselves."""
        self.buried[key] = uid
        self._forget(key)

    def sync(self, listing: Mapping[str, Any]) -> list[tuple[T | None, T | None]]:
        """Note a whole list; returns every change that it amounts to. What is newer than the list stays."""
        changes = [self.put(body) for body in listing["items"]]
        there = {object_key(body) for body in listing["items"]}
        moment = int(listing["metadata"]["resourceVersion"])
        gone = [key for key, version in self.versions.items() if key not in there and version <= moment]
        changes += [(self.remove(key), None) for key in gone]
        self.buried = {key: uid for key, uid in self.buried.items() if key in there}
        self.synced = True
        return [(old, new) for old, new in changes if old != new]

    def _forget(self, key: str) -> T | None:
        old = self.objects.pop(key, None)
        self.versions.pop(key, None)
        self._ungroup(key, old)
        return old

    def _ungroup(self, key: str, old: T | None) -> None:
        for group in self.groups(old) if old is not None else ():
            self.grouped[group].discard(key)
            if not self.grouped[group]:
                del self.grouped[group]


def port_owner(port: Port) -> str:
    """What the reconciler of owners calls a Port's owner: ``vm:ns/name`` or ``pod:ns/name``."""
    return owner_id(port.spec.owner.kind, f"{port.namespace}/{port.spec.owner.name}")


def owner_id(kind: str, key: str) -> str:
    return f"{'pod' if kind == 'Pod' else 'vm'}:{key}"


def lease_owner(lease: AddressLease) -> str:
    holder = lease.spec.holder
    return owner_id(holder.owner.kind, f"{holder.namespace}/{holder.owner.name}")


def subnet_id(ref: SubnetRef) -> str:
    """``Kind/key``, which is also what its rows in OVN are known by."""
    return f"{ref.kind}/{ref.key}"


class Store:
    """All tables."""

    def __init__(self) -> None:
        self.vms = Table(Vm.of)
        self.instances: Table[tuple[str, Instance]] = Table(lambda body: (object_key(body), instance_of(body)))
        self.migrations = Table(VmMigration.of, lambda m: [m.vmi])
        self.pods = Table(Pod.of, lambda pod: [pod.owner])
        self.vpcs = Table(Vpc.parse)
        self.cluster_vpcs = Table(ClusterVpc.parse)
        self.subnets = Table(Subnet.parse)
        self.cluster_subnets = Table(ClusterSubnet.parse)
        self.ports = Table(Port.parse, lambda port: [port_owner(port), subnet_id(port.spec.subnet)])
        self.leases = Table(
            AddressLease.parse,
            lambda lease: [lease.spec.holder.key, subnet_id(lease.spec.subnet), lease_owner(lease)],
        )
        self.nodes = Table(NodeNetwork.parse)
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

    def table(self, model: type[Resource]) -> Table[Any]:
        """The table of one of virtnet's own kinds."""
        return self._tables[model]

    def chassis(self) -> dict[str, str]:
        """Node name -> chassis name, of the nodes that have said theirs."""
        return {node.name: node.status.chassis for node in self.nodes if node.status.chassis}

    def instance(self, key: str) -> Instance | None:
        found = self.instances.get(key)
        return found[1] if found else None
