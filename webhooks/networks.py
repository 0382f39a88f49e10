"""From a NetworkAttachmentDefinition to the Subnet that may be used through it, and to a pod's NIC in that."""

from dataclasses import dataclass

from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, home, pools_of
from virtnet.addressing.wants import Refused
from virtnet.api import ClusterSubnet, Route, Subnet, SubnetRef, SubnetSpec
from virtnet.api.multus import InvalidNetwork, Selection
from virtnet.api.records import Attachment, PinnedNic, Underlay
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache, nad_subnet


@dataclass(frozen=True)
class Member:
    """One of a pod's networks that is virtnet's."""

    selection: Selection
    subnet: Subnet | ClusterSubnet
    pools: tuple[Pool, ...]
    routes: tuple[Route, ...] = ()


class Networks:
    """What NADs lead to."""

    def __init__(self, cluster: Cluster, cache: Cache, pod_network: str = "") -> None:
        """``pod_network``: the NAD (``namespace/name``) of the cluster's pod network, where that is virtnet's."""
        self.pod_network = pod_network
        self._cluster = cluster
        self._cache = cache

    async def subnet(self, nad: str, namespace: str) -> Subnet | ClusterSubnet | None:
        """The Subnet of a NAD; None where it is another plugin's. Raises Refused, and ApiError."""
        ref = await self._reference(nad)
        if ref is None:
            return None
        found = self._cache.subnet(ref) or await self._fresh(ref)
        if found is None:
            raise Refused(f"NetworkAttachmentDefinition {nad} names {ref}, which does not exist; create it first")
        allowed = found.spec.allowed_namespaces
        if (ref.namespace and ref.namespace != namespace) or (allowed and namespace not in allowed):
            raise Refused(f"{ref} may not be used from namespace {namespace}; ask its owner to allow it", code=403)
        return found

    async def _reference(self, nad: str) -> SubnetRef | None:
        """From memory, or straight from the API server: a NAD made a moment ago is not in memory yet."""
        if nad in self._cache.nads.objects:
            ref = self._cache.nads[nad]
        else:
            namespace, _, name = nad.partition("/")
            if not namespace or not name or "/" in name:
                raise Refused(f"{nad} is no name of a NetworkAttachmentDefinition; write name, or namespace/name")
            try:
                ref = nad_subnet(await self._cluster.get(kinds.NADS, name, namespace))
            except NotFound as error:
                raise Refused(f"NetworkAttachmentDefinition {nad} does not exist; create it first") from error
        if isinstance(ref, InvalidNetwork):
            raise Refused(str(ref))
        return ref

    async def _fresh(self, ref: SubnetRef) -> Subnet | ClusterSubnet | None:
        """Straight from the API server, too."""
        model: type[Subnet | ClusterSubnet] = Subnet if ref.kind == "Subnet" else ClusterSubnet
        try:
            body = await self._cluster.get(kinds.of(model), ref.name, ref.namespace)
        except NotFound:
            return None
        (self._cache.subnets if ref.kind == "Subnet" else self._cache.cluster_subnets).put(body)
        return self._cache.subnet(ref)

    def member(self, selection: Selection, subnet: Subnet | ClusterSubnet) -> Member:
        """One of a pod's networks, with the routes that its Subnet tells guests. Raises Refused."""
        routes = subnet.spec.guest_routes(self._cache.networks_beside(subnet))
        return Member(selection, subnet, usable_pools(subnet), routes)


def underlay_of(spec: SubnetSpec) -> Underlay | None:
    if not spec.underlay:
        return None
    return Underlay(provider_network=spec.provider_network, vlan=spec.vlan, conflict_detection=spec.conflict_detection)


def usable_pools(subnet: Subnet | ClusterSubnet) -> tuple[Pool, ...]:
    """The Subnet's pools. Raises Refused."""
    try:
        return pools_of(subnet)
    except InvalidSubnet as error:
        raise Refused(f"{subnet.ref} cannot be used: {error}") from error


def attachment(port: str, network: str, nic: PinnedNic, member: Member, *, configure: bool) -> Attachment:
    """What a pod's node is told of one NIC. ``port``: ``namespace/name``.

    The default route is another network's, unless the pod asks for it.
    """
    spec, pools = member.subnet.spec, member.pools
    return Attachment(
        port=port,
        network=network,
        network_attachment_definition=nic.network_attachment_definition,
        subnet=nic.subnet,
        mac=nic.mac,
        addresses=tuple(f"{address}/{home(address, pools)[0].network.prefixlen}" for address in nic.addresses),
        gateways=tuple(str(pool.gateway) for pool in pools) if member.selection.default_route else (),
        routes=member.routes,
        mtu=spec.guest_mtu,
        underlay=underlay_of(spec),
        ipam_claim=member.selection.ipam_claim,
        configure=configure,
    )
