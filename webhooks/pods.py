"""Marking a pod: one annotation with all that its node needs. A pod that brings its own is not believed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from virtnet.addressing.pool import Pool
from virtnet.addressing.wants import Asked, Refused, want, without_twins
from virtnet.api import ClusterSubnet, Owner, Port, Subnet
from virtnet.api.kubevirt import MIGRATION_JOB_UID
from virtnet.api.multus import NETWORKS, InvalidNetwork, Selection, selections
from virtnet.api.names import ATTACHMENTS, pod_interface, port_name
from virtnet.api.records import Attachment, PinnedNic, PinnedRecord
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache
from webhooks.claims import Claims
from webhooks.vms import Networks, pool_of, record_of

Body = Mapping[str, Any]
PORTS = kinds.of(Port)
_ATTACHMENTS = TypeAdapter(dict[str, Attachment])


@dataclass(frozen=True)
class Member:
    """One of the pod's networks that is virtnet's."""

    selection: Selection
    subnet: Subnet | ClusterSubnet
    pool: Pool


class PodMarker:
    """Marks pods. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = Networks(cluster, cache)

    async def mark(self, pod: Body, old: Body | None, *, dry_run: bool) -> str | None:
        """The value of the attachments annotation; None: the pod is to have none. Raises Refused and ApiError."""
        if old is not None and _annotation(old, NETWORKS) == _annotation(pod, NETWORKS):
            return _annotation(old, ATTACHMENTS) or None
        members = await self._members(pod)
        if not members:
            return None
        instance = _instance(pod)
        if instance:
            attachments = await self._launcher(pod, instance, members)
        else:
            attachments = await self._ordinary(pod, members, dry_run=dry_run)
        return _ATTACHMENTS.dump_json(attachments, by_alias=True, exclude_defaults=True).decode()

    async def _members(self, pod: Body) -> list[Member]:
        namespace = pod["metadata"]["namespace"]
        try:
            chosen = selections(_annotation(pod, NETWORKS), namespace)
        except InvalidNetwork as error:
            raise Refused(str(error)) from error
        found = [(selection, await self._networks.subnet(selection.nad, namespace)) for selection in chosen]
        return [Member(selection, subnet, pool_of(subnet)) for selection, subnet in found if subnet is not None]

    async def _launcher(self, pod: Body, instance: str, members: list[Member]) -> dict[str, Attachment]:
        """A VM's pod: what its manifest has pinned, or, while it migrates, what its running guest has."""
        namespace = pod["metadata"]["namespace"]
        record = await self._pinned(namespace, instance)
        networks = {pod_interface(network): network for network in record.nics}
        migrates = MIGRATION_JOB_UID in (pod["metadata"].get("labels") or {})
        attachments = {}
        for member in members:
            interface = member.selection.interface
            if interface not in networks:
                raise Refused(
                    f"VM {namespace}/{instance}: its NIC behind pod interface {interface} on {member.selection.nad} "
                    "is not pinned; apply the VM again, so that its admission can pin it"
                )
            network = networks[interface]
            nic = record.nics[network]
            if migrates:
                nic = await self._running(namespace, instance, network) or nic
            attachments[interface] = _attachment(namespace, instance, network, nic, member, configure=False)
        return attachments

    async def _pinned(self, namespace: str, instance: str) -> PinnedRecord:
        key = f"{namespace}/{instance}"
        try:
            vm = await self._cluster.get(kinds.VMS, instance, namespace)
        except NotFound as error:
            raise Refused(f"VMI {key} on a virtnet network has no VM; make it a VirtualMachine") from error
        record = record_of(vm)
        if record is None or record.vm != key:
            raise Refused(f"VM {key} has no pinned addresses; apply it again, so that its admission can pin them")
        return record

    async def _running(self, namespace: str, instance: str, network: str) -> PinnedNic | None:
        try:
            body = await self._cluster.get(PORTS, port_name(instance, network), namespace)
        except NotFound:
            return None
        spec = Port.parse(body).spec
        return PinnedNic(
            network_attachment_definition=spec.network_attachment_definition,
            subnet=spec.subnet,
            mac=spec.mac_address,
            addresses=spec.addresses,
        )

    async def _ordinary(self, pod: Body, members: list[Member], *, dry_run: bool) -> dict[str, Attachment]:
        """An ordinary pod: its NICs get addresses as a VM's do, and give them back when it is gone."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"].get("name")
        if not name:
            raise Refused("a pod on a virtnet network needs metadata.name: its addresses are held under its name")
        pools = {member.subnet.ref: member.pool for member in members}
        wants = without_twins(
            want(
                Asked(member.selection.interface, member.selection.nad, member.selection.mac, _bare(member.selection)),
                namespace=namespace,
                owner=Owner(kind="Pod", name=name),
                subnet=member.subnet.ref,
                pool=member.pool,
                record=None,
                held=self._cache.leases.of(f"{namespace}/{port_name(name, member.selection.interface)}"),
            )
            for member in members
        )
        claims = Claims(self._cluster, self._cache, dry_run=dry_run, adopt=True)
        pinned = await claims.fulfil(wants, lambda one: pools[one.subnet])
        return {
            network: _attachment(namespace, name, network, pinned[network], member, configure=True)
            for member in members
            for network in (member.selection.interface,)
        }


def _attachment(
    namespace: str, owner: str, network: str, nic: PinnedNic, member: Member, *, configure: bool
) -> Attachment:
    spec = member.subnet.spec
    return Attachment(
        port=f"{namespace}/{port_name(owner, network)}",
        network=network,
        network_attachment_definition=nic.network_attachment_definition,
        subnet=nic.subnet,
        mac=nic.mac,
        addresses=tuple(f"{address}/{member.pool.network.prefixlen}" for address in nic.addresses),
        gateway=str(member.pool.gateway) if member.selection.default_route else "",
        routes=spec.routes,
        mtu=spec.mtu,
        configure=configure,
    )


def _bare(selection: Selection) -> tuple[str, ...]:
    """The requested addresses without the prefix length that Multus' form has."""
    return tuple(address.split("/")[0] for address in selection.addresses)


def _annotation(pod: Body, name: str) -> str:
    return (pod["metadata"].get("annotations") or {}).get(name) or ""


def _instance(pod: Body) -> str:
    """The name of the VMI that the pod runs; empty for an ordinary pod."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((o["name"] for o in owners if o.get("controller") and o["kind"] == "VirtualMachineInstance"), "")
