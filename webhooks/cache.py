"""What admission is decided from, in memory: NADs, Subnets and leases, kept by watches."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Self

import structlog

from virtnet.api import AddressLease, ClusterSubnet, ClusterVpc, Subnet, SubnetRef, Vpc
from virtnet.api.multus import InvalidNetwork, NadNetwork, network_of_nad, qualified
from virtnet.api.names import POD_NETWORK
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound, Rejected
from virtnet.kube.table import Table
from webhooks.underway import Underway

log = structlog.get_logger()

ABSENT_KIND_PAUSE = 5.0


def nad_network(body: Mapping[str, Any]) -> NadNetwork | InvalidNetwork | None:
    """What a NAD says, None where it is not virtnet's, or what is wrong with it."""
    try:
        return network_of_nad(body)
    except InvalidNetwork as error:
        return error


@dataclass(frozen=True, slots=True)
class Lease:
    """What is kept of an AddressLease: a tenth of the whole, and there are two for every NIC."""

    name: str
    uid: str
    address: str
    subnet: str
    """The Subnet, as its reference prints."""
    port: str
    """Key of the Port that holds it."""
    holder: str
    """Whoever that is, for people."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        lease = AddressLease.parse(body)
        spec = lease.spec
        return cls(
            lease.name,
            lease.metadata.uid,
            spec.address,
            intern(str(spec.subnet)),
            intern(spec.holder.key),
            str(spec.holder),
        )


def own_pod_network(namespace: Mapping[str, Any]) -> str:
    """The NAD of the pod network that a Namespace has for itself; empty for none."""
    name = (namespace["metadata"].get("annotations") or {}).get(POD_NETWORK)
    return qualified(name, namespace["metadata"]["name"]) if name else ""


class Cache:
    """All tables, and when they are whole."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.nads: Table[NadNetwork | InvalidNetwork | None] = Table(nad_network)
        self.namespaces = Table(own_pod_network)
        self.subnets = Table(Subnet.parse)
        self.cluster_subnets = Table(ClusterSubnet.parse)
        self.leases = Table(Lease.of, lambda lease: [lease.port, lease.subnet])
        self.vpcs = Table(Vpc.parse)
        self.cluster_vpcs = Table(ClusterVpc.parse)
        self._watches: list[tuple[kinds.Kind, Table[Any]]] = [
            (kinds.NADS, self.nads),
            (kinds.NAMESPACES, self.namespaces),
            (kinds.of(Subnet), self.subnets),
            (kinds.of(ClusterSubnet), self.cluster_subnets),
            (kinds.of(AddressLease), self.leases),
            (kinds.of(Vpc), self.vpcs),
            (kinds.of(ClusterVpc), self.cluster_vpcs),
        ]
        self.underway = Underway()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            for kind, table in self._watches:
                group.create_task(self._watch(kind, table), name=f"watch {kind}")

    async def _watch(self, kind: kinds.Kind, table: Table[Any]) -> None:
        while True:
            try:
                async for change, body in self._cluster.watch(kind):
                    table.note(change, body)
                    self._settle()
            except Rejected as error:  # an API server that starts refuses all before it has loaded the roles
                log.warning("not allowed to watch", kind=str(kind), error=str(error))
                await asyncio.sleep(ABSENT_KIND_PAUSE)
            except NotFound:
                log.warning("kind not served", kind=str(kind))
                table.synced = True
                self._settle()
                await asyncio.sleep(ABSENT_KIND_PAUSE)

    def _settle(self) -> None:
        if not self.ready.is_set() and all(table.synced for _, table in self._watches):
            log.info("ready", subnets=len(self.subnets) + len(self.cluster_subnets), leases=len(self.leases))
            self.ready.set()

    def held(self, port: str, subnet: SubnetRef) -> list[str]:
        """The addresses of a Subnet that a Port has leases of."""
        return [lease.address for lease in self.leases.of(port) if lease.subnet == str(subnet)]

    def subnet(self, ref: SubnetRef) -> Subnet | ClusterSubnet | None:
        return self.subnets.get(ref.key) if ref.kind == "Subnet" else self.cluster_subnets.get(ref.key)

    def networks_beside(self, subnet: Subnet | ClusterSubnet) -> list[str]:
        """The networks that its Vpc routes to from it, where its guests have to be told them."""
        if not subnet.spec.router_addresses:
            return []
        every = [other for other in (*self.subnets, *self.cluster_subnets) if vpc_of(other) == vpc_of(subnet)]
        routed = [other for other in every if other.ref != subnet.ref and other.spec.routed]
        return [cidr for other in routed for cidr in other.spec.cidrs]


def vpc_of(subnet: Subnet | ClusterSubnet) -> tuple[str, str]:
    reference = subnet.spec.vpc
    return reference.kind, reference.key(subnet.namespace)
