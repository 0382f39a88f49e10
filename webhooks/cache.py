"""What admission is decided from, in memory, kept by watches: NADs, leases, and the graph that checks read."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any, TypeVar

import structlog

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.occupied import Occupied
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet
from virtnet.api import ClusterSubnet, Subnet, SubnetRef
from virtnet.api.addresses import is_mac
from virtnet.api.meta import annotations_of, object_key
from virtnet.api.multus import InvalidNetwork, NadNetwork, network_of_nad, qualified
from virtnet.api.names import POD_NETWORK
from virtnet.engine.collection import Collection
from virtnet.engine.graph import Graph
from virtnet.engine.keys import ObjectKey
from virtnet.features.layout import neighbours
from virtnet.features.obstacles import pools_or_why
from virtnet.features.sources import CLUSTER_SUBNETS, LEASES, SUBNETS, AnySubnet
from virtnet.kube import kinds
from virtnet.kube.cache import NEVER, ObjectCache
from virtnet.kube.client import Cluster
from virtnet.kube.informer import Informer
from virtnet.kube.watched import BY_WEBHOOK
from webhooks.pending_claims import PendingClaims
from webhooks.reservations import Reservations

T = TypeVar("T")

log = structlog.get_logger()


def nad_network(body: Mapping[str, Any]) -> NadNetwork | InvalidNetwork | None:
    """What a NAD says, None where it is not virtnet's, or what is wrong with it."""
    try:
        return network_of_nad(body)
    except InvalidNetwork as error:
        return error


def own_pod_network(namespace: Mapping[str, Any]) -> str:
    """The NAD of the pod network that a Namespace has for itself; empty for none."""
    name = annotations_of(namespace).get(POD_NETWORK)
    return qualified(name, namespace["metadata"]["name"]) if name else ""


class GraphCache(ObjectCache[T]):
    """Objects of one kind in memory, and in a graph, whoever notes them."""

    def __init__(self, graph: Graph, collection: Collection[T], parse: Callable[[Mapping[str, Any]], T]) -> None:
        super().__init__(parse)
        self._graph = graph
        self._collection = collection

    def put(self, body: Mapping[str, Any], moment: int = NEVER) -> tuple[T | None, T | None]:
        changes = super().put(body, moment)
        self._show(object_key(body))
        return changes

    def _forget(self, key: str) -> T | None:
        old = super()._forget(key)
        self._show(key)
        return old

    def _show(self, key: str) -> None:
        self._graph.put(self._collection, self._collection.key(key), self.get(key))
        self._graph.due()  # nobody waits to be told; what was derived of the object as it was is dropped


class LeaseCache(GraphCache[HeldAddress]):
    """Who holds which addresses, and where the next free one is."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph, LEASES, HeldAddress.of)
        self._occupied: defaultdict[tuple[SubnetRef, int], Occupied] = defaultdict(Occupied)
        self.reservations = Reservations()

    def occupied(self, subnet: SubnetRef, version: int) -> Occupied:
        """The IPv4 or IPv6 addresses of a Subnet of which there are leases."""
        return self._occupied.get((subnet, version), Occupied())

    def _show(self, key: str) -> None:
        known = self._graph.objects(self._collection).get(self._collection.key(key))
        super()._show(key)
        now = self.get(key)
        if known == now:  # listed once more
            return
        for one, take in ((known, False), (now, True)):
            if one is not None:
                self._note(one, take=take)

    def _note(self, lease: HeldAddress, *, take: bool) -> None:
        if not lease.bound:
            (self.reservations.add if take else self.reservations.discard)(lease)
        if is_mac(lease.address):
            return
        address = ip_address(lease.address)
        place = (lease.subnet, address.version)
        if take:
            self._occupied[place].add(int(address))
            return
        self._occupied[place].discard(int(address))
        if not self._occupied[place]:
            del self._occupied[place]


class Cache:
    """All that is watched, and when it is whole."""

    def __init__(self, cluster: Cluster) -> None:
        self.graph = Graph()
        self.by_collection: dict[Collection[Any], GraphCache[Any]] = {
            one.collection: GraphCache(self.graph, one.collection, one.parse) for one in BY_WEBHOOK
        }
        self.leases = LeaseCache(self.graph)
        self.by_collection[LEASES] = self.leases
        """What checks read, and who holds which addresses."""
        self.nads: ObjectCache[NadNetwork | InvalidNetwork | None] = ObjectCache(nad_network)
        self.namespaces = ObjectCache(own_pod_network)
        self.subnets: GraphCache[Subnet] = self.by_collection[SUBNETS]
        self.cluster_subnets: GraphCache[ClusterSubnet] = self.by_collection[CLUSTER_SUBNETS]
        self._informers: list[Informer[Any]] = [
            Informer(cluster, kinds.NADS, self.nads),
            Informer(cluster, kinds.NAMESPACES, self.namespaces),
            *(
                Informer(cluster, one.kind, self.by_collection[one.collection], required=one.required)
                for one in BY_WEBHOOK
            ),
        ]
        self.pending_claims = PendingClaims()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Watch for ever."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run(), name=f"watch {informer.kind}")
            await asyncio.gather(*(informer.synced.wait() for informer in self._informers))
            while not self.cluster_uid:  # noqa: ASYNC110 - once in a cluster's life, when its API server has just begun
                await asyncio.sleep(0.5)
            log.info("ready", subnets=len(self.subnets) + len(self.cluster_subnets), leases=len(self.leases))
            self.ready.set()

    @property
    def cluster_uid(self) -> str:
        """What tells this cluster from others: of the Namespace kube-system, which nobody has to make, or can lose."""
        return self.namespaces.uids.get("kube-system", "")

    def held(self, port: str, subnet: SubnetRef) -> list[str]:
        """The addresses of a Subnet that a Port has leases of."""
        leases = self.graph.objects(LEASES).by(LEASES.indexes["port"], port)
        return [lease.address for lease in leases if lease.subnet == subnet]

    def subnet(self, ref: SubnetRef) -> AnySubnet | None:
        return self.subnets.get(ref.key) if ref.kind == "Subnet" else self.cluster_subnets.get(ref.key)

    def routed_networks(self, subnet: AnySubnet) -> tuple[str, ...]:
        """The networks that its Vpc routes to from it, where its guests have to be told them."""
        if not subnet.spec.router_addresses:
            return ()
        return self.graph.peek(lambda reader: reader.derive(neighbours, ObjectKey.of(subnet))).networks

    def pools(self, subnet: AnySubnet) -> tuple[Pool, ...]:
        """The pools of a Subnet, made once for each of its versions. Raises InvalidSubnet."""
        found = self.graph.peek(lambda reader: reader.derive(pools_or_why, ObjectKey.of(subnet)))
        if isinstance(found, InvalidSubnet):
            raise found
        return found
