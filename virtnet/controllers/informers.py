"""The watches: each notes what changed in the store, and tells which reconcilers must look."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from virtnet.api import (
    GROUP,
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
from virtnet.api.names import ATTACHED_LABEL
from virtnet.controllers.store import Store, lease_owner, port_owner, stateful_set_id, subnet_id, vpc_of
from virtnet.controllers.views import IpamClaim, Pod, StatefulSet, Vm, VmMigration
from virtnet.controllers.worker import Worker
from virtnet.handoff.facts import Instance
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound, Rejected
from virtnet.kube.table import Table

log = structlog.get_logger()

ABSENT_KIND_PAUSE = 5.0
"""How often to look whether a missing CRD or role has come: KubeVirt may be installed after virtnet."""


@dataclass(frozen=True)
class Workers:
    """Who is nudged: owners by ``vm:ns/name`` or ``pod:ns/name``, the others by ``Kind/ns/name`` or ``Kind/name``."""

    owners: Worker
    rows: Worker
    reports: Worker
    nics: Callable[[], None]
    """Looks at all ProviderNetworks on all nodes."""


def vpc_id(vpc: Vpc | ClusterVpc) -> str:
    return f"{type(vpc).__name__}/{vpc.key}"


def port_keys(ports: Iterable[Port]) -> list[str]:
    return [f"Port/{port.key}" for port in ports]


def sources(store: Store) -> list[tuple[kinds.Kind, Table[Any], dict[str, str]]]:
    """What fills the store: collections, and which of their objects."""
    return [
        (kinds.VMS, store.vms, {}),
        (kinds.VMIS, store.instances, {}),
        (kinds.VMIMS, store.migrations, {}),
        (kinds.PODS, store.pods, {"labels": f"{ATTACHED_LABEL}=true"}),
        (kinds.IPAM_CLAIMS, store.ipam_claims, {}),
        (kinds.STATEFUL_SETS, store.stateful_sets, {}),
        (kinds.of(Vpc), store.vpcs, {}),
        (kinds.of(ClusterVpc), store.cluster_vpcs, {}),
        (kinds.of(Subnet), store.subnets, {}),
        (kinds.of(ClusterSubnet), store.cluster_subnets, {}),
        (kinds.of(ProviderNetwork), store.provider_networks, {}),
        (kinds.of(Port), store.ports, {}),
        (kinds.of(AddressLease), store.leases, {}),
        (kinds.of(NodeNetwork), store.nodes, {}),
    ]


class Informers:
    """All watches of the controller."""

    def __init__(self, cluster: Cluster, store: Store, workers: Workers) -> None:
        self._cluster = cluster
        self._store = store
        self._workers = workers
        self._chassis: Mapping[str, str] = {}
        changed: dict[kinds.Kind, Callable[[Any], None]] = {
            kinds.VMS: self._vm,
            kinds.VMIS: self._instance,
            kinds.VMIMS: self._migration,
            kinds.PODS: self._pod,
            kinds.IPAM_CLAIMS: self._ipam_claim,
            kinds.STATEFUL_SETS: self._stateful_set,
            kinds.of(Vpc): self._vpc,
            kinds.of(ClusterVpc): self._vpc,
            kinds.of(Subnet): self._subnet,
            kinds.of(ClusterSubnet): self._subnet,
            kinds.of(ProviderNetwork): self._provider_network,
            kinds.of(Port): self._port,
            kinds.of(AddressLease): self._lease,
            kinds.of(NodeNetwork): self._node,
        }
        self._watches = [(kind, table, selectors, changed[kind]) for kind, table, selectors in sources(store)]

    async def run(self, synced: Callable[[], Awaitable[None]]) -> None:
        """Watch for ever; ``synced`` is awaited once, when every table is whole. Nothing may be decided before."""
        ready = [asyncio.Event() for _ in self._watches]
        async with asyncio.TaskGroup() as group:
            for (kind, table, selectors, changed), event in zip(self._watches, ready, strict=True):
                group.create_task(self._watch(kind, table, changed, event, selectors), name=f"watch {kind}")
            await asyncio.gather(*(event.wait() for event in ready))
            await synced()

    async def _watch(
        self,
        kind: kinds.Kind,
        table: Table[Any],
        changed: Callable[[Any], None],
        ready: asyncio.Event,
        selectors: dict[str, str],
    ) -> None:
        while True:
            try:
                async for change, body in self._cluster.watch(kind, **selectors):
                    for old, new in table.note(change, body):
                        if old is not None and new is not None and table.decisive(old) == table.decisive(new):
                            self._workers.reports.nudge([_id(new)])
                            continue
                        for one in {id(o): o for o in (old, new) if o is not None}.values():
                            changed(one)
                    if table.synced:
                        ready.set()
            except Rejected as error:  # an API server that starts refuses all before it has loaded the roles
                log.warning("not allowed to watch", kind=str(kind), error=str(error))
                await asyncio.sleep(ABSENT_KIND_PAUSE)
            except NotFound:
                if kind.group == GROUP:
                    raise  # without our own kinds there is nothing to decide from, and everything would go
                log.info("kind not served", kind=str(kind))
                table.synced = True
                ready.set()
                await asyncio.sleep(ABSENT_KIND_PAUSE)

    def _vm(self, vm: Vm) -> None:
        self._workers.owners.nudge([f"vm:{vm.key}"])

    def _instance(self, found: tuple[str, Instance]) -> None:
        self._workers.owners.nudge([f"vm:{found[0]}"])
        self._workers.rows.nudge(port_keys(self._store.ports.of(f"vm:{found[0]}")))

    def _migration(self, migration: VmMigration) -> None:
        self._workers.rows.nudge(port_keys(self._store.ports.of(f"vm:{migration.vmi}")))

    def _pod(self, pod: Pod) -> None:
        self._workers.owners.nudge([pod.owner])
        self._workers.rows.nudge(port_keys(self._store.ports.of(pod.owner)))

    def _ipam_claim(self, claim: IpamClaim) -> None:
        """It may have been made after its pod, or say something else."""
        self._workers.owners.nudge(pod.owner for pod in self._store.pods.of(claim.key))

    def _stateful_set(self, found: StatefulSet) -> None:
        """Its pods that are gone may not be made again."""
        self._workers.owners.nudge(port_owner(port) for port in self._store.ports.of(stateful_set_id(found.key)))

    def _vpc(self, vpc: Vpc | ClusterVpc) -> None:
        id_ = vpc_id(vpc)
        keys = [id_, *(subnet_id(s.ref) for s in self._store.inside(id_))]
        self._workers.rows.nudge([*keys, *(key for id_ in keys for key in port_keys(self._store.ports.of(id_)))])
        self._workers.reports.nudge(keys)

    def _subnet(self, subnet: Subnet | ClusterSubnet) -> None:
        key = subnet_id(subnet.ref)
        self._workers.rows.nudge([key, *port_keys(self._store.ports.of(key))])
        # Another that this one overlapped may be served once this one is gone.
        beside = [subnet_id(s.ref) for s in self._store.inside(vpc_of(subnet))]
        self._workers.rows.nudge([*beside, *(port for id_ in beside for port in port_keys(self._store.ports.of(id_)))])
        self._workers.reports.nudge([key, vpc_of(subnet), *beside])

    def _provider_network(self, network: ProviderNetwork) -> None:
        """Underlays may have waited for it."""
        self._workers.nics()
        for subnet in self._store.cluster_subnets:
            if subnet.spec.provider_network == network.name:
                self._subnet(subnet)

    def _port(self, port: Port) -> None:
        self._workers.owners.nudge([port_owner(port)])
        self._workers.rows.nudge(port_keys([port]))
        if self._store.subnet(port.spec.subnet) is None:  # its switch stays for as long as it has ports
            self._workers.rows.nudge([subnet_id(port.spec.subnet)])

    def _lease(self, lease: AddressLease) -> None:
        self._workers.owners.nudge([lease_owner(lease)])
        for port in self._store.waiting.pop(lease.name, ()):
            known = self._store.ports.get(port)
            if known is not None:
                self._port(known)
        self._workers.reports.nudge([subnet_id(lease.spec.subnet)])

    def _node(self, node: NodeNetwork) -> None:
        self._workers.nics()
        known = self._store.fleet.chassis
        if known != self._chassis:
            self._chassis = known
            self._workers.rows.nudge(port_keys(self._store.ports))
        # What is asked of it, too: a leader that was deposed meanwhile may have asked for something after us.
        self._workers.rows.nudge(f"Port/{port}" for port in {**node.spec.handoffs, **node.status.handoffs})
        self._workers.reports.nudge(f"Port/{port}" for port in node.status.conflicts)


def _id(resource: Resource) -> str:
    return f"{type(resource).__name__}/{resource.key}"


def subnet_of(id_: str) -> SubnetRef:
    """The reference that ``subnet_id`` was made of."""
    kind, _, key = id_.partition("/")
    namespace, _, name = key.rpartition("/")
    return SubnetRef.model_validate({"kind": kind, "namespace": namespace, "name": name})
