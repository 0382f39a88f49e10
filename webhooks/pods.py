"""Marking a pod: one annotation with all that its node needs. A pod that brings its own is not believed."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from virtnet.addressing.wants import Asked, Past, Refused, port_of, want, without_twins
from virtnet.api import Owner
from virtnet.api.kubevirt import owning_instance
from virtnet.api.multus import DEFAULT_NETWORK, NETWORKS, InvalidNetwork, chosen
from virtnet.api.names import ATTACHMENTS, is_interface
from virtnet.api.records import Attachment
from virtnet.api.workloads import owning_stateful_set
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache
from webhooks.claims import Claims
from webhooks.launchers import Launchers
from webhooks.networks import Member, Networks, attachment
from webhooks.routes import pod_routes

Body = Mapping[str, Any]
Attachments = dict[str, Attachment]
"""By the pod's interface."""

_ATTACHMENTS = TypeAdapter(Attachments)


class PodMarker:
    """Marks pods. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache, networks: Networks) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = networks
        self._launchers = Launchers(cluster, cache, networks)

    async def mark(self, pod: Body, old: Body | None, *, dry_run: bool) -> str | None:
        """The value of the attachments annotation; None: the pod is to have none. Raises Refused and ApiError.

        A NIC that the pod already has keeps what it has, whatever its VM's manifest says by now: it is in use.
        """
        if old is not None and (_networks(old) == _networks(pod) or pod["metadata"].get("deletionTimestamp")):
            return _annotation(old, ATTACHMENTS) or None
        members = await self._members(pod)
        before = attachments_of(old)
        kept = {
            interface: before[interface]
            for interface, member in members.items()
            if interface in before and before[interface].network_attachment_definition == member.selection.nad
        }
        fresh = {interface: member for interface, member in members.items() if interface not in kept}
        instance = owning_instance(pod)
        if not fresh:
            made = {}
        elif instance:
            made = await self._launchers.attachments(pod, instance, fresh, dry_run=dry_run)
        else:
            made = await self._ordinary(pod, fresh, every=members, dry_run=dry_run)
        found = {interface: (kept | made)[interface] for interface in members}
        return _ATTACHMENTS.dump_json(found, by_alias=True, exclude_defaults=True).decode() if found else None

    async def _members(self, pod: Body) -> dict[str, Member]:
        """The pod's networks that are virtnet's, by interface."""
        namespace = pod["metadata"]["namespace"]
        instance = owning_instance(pod)
        if instance:
            pod_network = await self._launchers.pod_network(namespace, instance)
        else:
            pod_network = await self._networks.pod_network(namespace)
        try:
            selections = chosen(pod, pod_network)
        except InvalidNetwork as error:
            raise Refused(str(error)) from error
        members: dict[str, Member] = {}
        for selection in selections:
            network = await self._networks.network(selection.nad, namespace)
            if network is None:
                continue
            if not is_interface(selection.interface):
                raise Refused(
                    f"annotation {NETWORKS}: {selection.interface} is no name for an interface; use at most "
                    "15 bytes, and no slash, colon or space"
                )
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
        asked = {interface: await self._asked(member, namespace) for interface, member in members.items()}
        wants = without_twins(
            want(
                Asked(interface, member.selection.nad, member.selection.mac, asked[interface]),
                namespace=namespace,
                owner=owner,
                subnet=member.subnet.ref,
                pools=member.pools,
                past=Past(),
                held=self._cache.held(f"{namespace}/{port_of(owner, interface)}", member.subnet.ref),
            )
            for interface, member in members.items()
        )
        nics = await Claims(self._cluster, self._cache, dry_run=dry_run).fulfil(wants, lambda one: pools[one.subnet])
        return {
            interface: attachment(
                f"{namespace}/{port_of(owner, interface)}",
                interface,
                nics[interface].model_copy(update={"routes": routes[interface]}),
                member,
                configure=True,
            )
            for interface, member in members.items()
        }

    async def _asked(self, member: Member, namespace: str) -> tuple[str, ...]:
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
        return tuple(address.split("/")[0] for address in (claim.get("status") or {}).get("ips") or ())


def attachments_of(pod: Body | None) -> Attachments:
    """What a stored pod was marked with; nothing where that cannot be read, because virtnet did not write it."""
    text = _annotation(pod, ATTACHMENTS) if pod is not None else ""
    try:
        return _ATTACHMENTS.validate_json(text) if text else {}
    except ValidationError:
        return {}


def _networks(pod: Body) -> tuple[str, str]:
    return _annotation(pod, NETWORKS), _annotation(pod, DEFAULT_NETWORK)


def _annotation(pod: Body, name: str) -> str:
    return (pod["metadata"].get("annotations") or {}).get(name) or ""
