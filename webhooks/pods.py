"""Marking a pod: one annotation with all that its node needs. A pod that brings its own is not believed."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from virtnet.addressing.requests import Past, Refused, RequestedNic, nic_request, port_of, without_duplicates
from virtnet.api import Owner
from virtnet.api.addresses import MOST_ADDRESSES
from virtnet.api.ipam_claims import claimed_addresses
from virtnet.api.kubevirt import owning_instance
from virtnet.api.meta import annotations_of, is_deleting
from virtnet.api.multus import NETWORKS, POD_INTERFACE, InvalidNetwork, Selection, chosen, networks_of
from virtnet.api.names import ATTACHMENTS, MOST_NICS, is_interface, is_name
from virtnet.api.nic_kinds import VETH
from virtnet.api.records import Attachments, attachments_annotation, read_attachments
from virtnet.api.workloads import owning_stateful_set
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache
from webhooks.claims import Claims
from webhooks.launchers import LauncherMarker
from webhooks.networks import AdmittedNetwork, Member, Networks, attachment, require_addresses
from webhooks.nic_kinds import reaching, served, socket_directory_of, with_device
from webhooks.routes import pod_routes
from webhooks.tolerance import Tolerance

Body = Mapping[str, Any]


class PodMarker:
    """Marks pods. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache, networks: Networks) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = networks
        self._launchers = LauncherMarker(cluster, cache, networks)

    async def mark(
        self, pod: Body, old: Body | None, *, dry_run: bool, warnings: list[str] | None = None
    ) -> str | None:
        """The value of the attachments annotation; None: the pod is to have none. Raises Refused and ApiError.

        A NIC that the pod already has keeps what it has, whatever its VM's manifest says by now: it is in use.
        """
        if old is not None and (networks_of(old) == networks_of(pod) or is_deleting(old)):
            return annotations_of(old).get(ATTACHMENTS) or None
        selections = await self._selections(pod)
        if len(selections) > MOST_NICS:
            raise Refused(f"annotation {NETWORKS}: {len(selections)} networks; choose at most {MOST_NICS}")
        before = attachments_of(old)
        kept = {
            one.interface: before[one.interface]
            for one in selections
            if one.interface in before and before[one.interface].network_attachment_definition == one.nad
        }
        tolerance = Tolerance(
            warnings if warnings is not None else [], unchanged=frozenset(kept), held={}, dry_run=dry_run
        )
        members = await self._members(pod["metadata"]["namespace"], selections, tolerance)
        fresh = {interface: member for interface, member in members.items() if interface not in kept}
        instance = owning_instance(pod)
        if not fresh:
            made = {}
        elif instance:
            made = await self._launchers.attachments(pod, instance, fresh, dry_run=dry_run)
        else:
            made = await self._ordinary(pod, fresh, every=members, dry_run=dry_run)
        every = kept | made
        found = {one.interface: every[one.interface] for one in selections if one.interface in every}
        return attachments_annotation(found) if found else None

    async def _selections(self, pod: Body) -> tuple[Selection, ...]:
        """The networks that the pod has through Multus."""
        namespace = pod["metadata"]["namespace"]
        instance = owning_instance(pod)
        if instance and not is_name(instance):
            raise Refused(f"{instance} cannot be the name of a VMI; write its name into metadata.ownerReferences")
        if instance:
            pod_network = await self._launchers.pod_network(namespace, instance)
        else:
            pod_network = await self._networks.pod_network(namespace)
        try:
            return chosen(pod, pod_network)
        except InvalidNetwork as error:
            raise Refused(str(error)) from error

    async def _members(
        self, namespace: str, selections: tuple[Selection, ...], tolerance: Tolerance
    ) -> dict[str, Member]:
        """Those of a pod's networks that are virtnet's, by interface."""
        members: dict[str, Member] = {}
        for selection in selections:
            with tolerance.of(selection.interface):
                network = await self._networks.network(selection.nad, namespace)
                if network is None:
                    continue
                _check(selection, network)
                if selection.interface == POD_INTERFACE:
                    require_addresses(network)
                if selection.interface in members:
                    raise Refused(
                        f"annotation {NETWORKS}: two networks on interface {selection.interface}; name different ones"
                    )
                members[selection.interface] = self._networks.member(selection, network)
        return members

    async def _ordinary(
        self, pod: Body, members: Mapping[str, Member], *, every: Mapping[str, Member], dry_run: bool
    ) -> Attachments:
        """An ordinary pod: its NICs get addresses as a VM's do, and give them back when it is gone."""
        namespace = pod["metadata"]["namespace"]
        owner = Owner(kind="Pod", name=pod["metadata"]["name"], stateful_set=owning_stateful_set(pod))
        pools = {member.subnet.ref: member.pools for member in members.values()}
        routes = pod_routes(pod, every)
        nic_kinds = {interface: _kind_of(interface, member) for interface, member in members.items()}
        sockets = {
            interface: socket_directory_of(kind, pod, _source(interface, members[interface]))
            for interface, kind in nic_kinds.items()
        }
        addresses = {
            interface: await self._requested_addresses(member, namespace) for interface, member in members.items()
        }
        requests = without_duplicates(
            nic_request(
                RequestedNic(interface, member.selection.nad, member.selection.mac, addresses[interface]),
                namespace=namespace,
                owner=owner,
                subnet=member.subnet.ref,
                pools=member.pools,
                past=Past(),
                held=self._cache.held(f"{namespace}/{port_of(owner, interface)}", member.subnet.ref),
            )
            for interface, member in members.items()
        )
        nics = await Claims(self._cluster, self._cache, dry_run=dry_run).fulfil(requests, lambda one: pools[one.subnet])
        return {
            interface: attachment(
                f"{namespace}/{port_of(owner, interface)}",
                interface,
                nics[interface].model_copy(update={"routes": routes[interface], "nic": nic_kinds[interface]}),
                member,
                configure=True,
                socket_directory=sockets[interface],
            )
            for interface, member in members.items()
        }

    async def _requested_addresses(self, member: Member, namespace: str) -> tuple[str, ...]:
        """The addresses that a selection asks for: by itself, or by an IPAMClaim that has them already."""
        selection = member.selection
        if selection.addresses or not member.ipam_claim:
            return selection.bare_addresses
        try:
            claim = await self._cluster.get(kinds.IPAM_CLAIMS, member.ipam_claim, namespace)
        except NotFound as error:
            raise Refused(
                f"IPAMClaim {namespace}/{selection.ipam_claim}, which is to be used on {selection.nad}, does not exist",
                code=409,
            ) from error
        ips = claimed_addresses(claim)
        if len(ips) > MOST_ADDRESSES:
            raise Refused(
                f"IPAMClaim {namespace}/{selection.ipam_claim}: status.ips has {len(ips)} addresses; a NIC has one of "
                "each family"
            )
        return tuple(address.split("/")[0] for address in ips)


def _kind_of(interface: str, member: Member) -> str:
    """The kind of an ordinary pod's NIC, as its NAD says. Raises Refused."""
    nad, where = member.network.nad, _source(interface, member)
    kind = with_device(served(nad.nic or VETH, where), nad, where)
    return reaching(kind, member.subnet.spec, where)


def _source(interface: str, member: Member) -> str:
    return f"interface {interface}, by {member.selection.nad}"


def attachments_of(pod: Body | None) -> Attachments:
    """What a stored pod was marked with; nothing where that cannot be read, because virtnet did not write it."""
    try:
        return read_attachments(annotations_of(pod).get(ATTACHMENTS)) if pod is not None else {}
    except ValidationError:
        return {}


def _check(selection: Selection, network: AdmittedNetwork) -> None:
    """Refuses names in a selection of virtnet's that are none. Raises Refused."""
    if not is_interface(selection.interface):
        raise Refused(
            f"annotation {NETWORKS}: {selection.interface} is no name for an interface; use at most "
            "15 bytes, and no slash, colon, percent sign or space"
        )
    if network.nad.persistent and selection.ipam_claim and not is_name(selection.ipam_claim):
        raise Refused(f"annotation {NETWORKS}: {selection.ipam_claim} cannot be the name of an IPAMClaim")
