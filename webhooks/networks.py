"""From a NetworkAttachmentDefinition to the Subnet that may be used through it, and to a pod's NIC in that."""

from dataclasses import dataclass

from virtnet.addressing.permissions import forbidden
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, home
from virtnet.addressing.requests import Missing, Refused
from virtnet.api import ClusterSubnet, Route, Subnet, SubnetRef, SubnetSpec
from virtnet.api.guest import GuestDhcp
from virtnet.api.multus import InvalidNetwork, NadNetwork, Selection
from virtnet.api.names import is_name
from virtnet.api.nic_kinds import SRIOV
from virtnet.api.records import Attachment, PinnedNic, Underlay
from virtnet.api.routes import effective_routes
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache, nad_network, own_pod_network


@dataclass(frozen=True)
class AdmittedNetwork:
    """What a NAD leads to."""

    nad: NadNetwork
    subnet: Subnet | ClusterSubnet
    pools: tuple[Pool, ...]


@dataclass(frozen=True)
class Member:
    """One of a pod's networks that is virtnet's."""

    selection: Selection
    network: AdmittedNetwork
    routes: tuple[Route, ...] = ()
    """What its Subnet tells guests."""

    @property
    def subnet(self) -> Subnet | ClusterSubnet:
        return self.network.subnet

    @property
    def pools(self) -> tuple[Pool, ...]:
        return self.network.pools

    @property
    def ipam_claim(self) -> str:
        """The IPAMClaim that its pod refers to, where its NAD asks for any."""
        return self.selection.ipam_claim if self.network.nad.persistent else ""


class Networks:
    """What NADs lead to."""

    def __init__(self, cluster: Cluster, cache: Cache, pod_network: str = "") -> None:
        """``pod_network``: the NAD of the pod network in namespaces that have none of their own.

        Empty where the pod network is another plugin's.
        """
        self._pod_network = pod_network
        self._cluster = cluster
        self._cache = cache

    async def pod_network(self, namespace: str) -> str:
        """The NAD of the pod network in a namespace; empty where that is another plugin's. Raises ApiError."""
        if not self._pod_network:
            return ""
        own = self._cache.namespaces.get(namespace)
        if own is None:  # made a moment ago
            own = own_pod_network(await self._cluster.get(kinds.NAMESPACES, namespace))
        return own or self._pod_network

    async def network(self, nad: str, namespace: str) -> AdmittedNetwork | None:
        """The network of a NAD; None where it is another plugin's. Raises Refused, Missing and ApiError."""
        says = await self._nad(nad)
        if says is None:
            return None
        ref = says.subnet
        found = await self.subnet(ref)
        if found is None:
            raise Missing(f"NetworkAttachmentDefinition {nad} names {ref}, which does not exist; create it first")
        if problem := forbidden(namespace, found):
            raise Refused(problem, code=403)
        return AdmittedNetwork(says, found, self.pools(found))

    def pools(self, subnet: Subnet | ClusterSubnet) -> tuple[Pool, ...]:
        """The Subnet's pools. Raises Refused."""
        try:
            return self._cache.pools(subnet)
        except InvalidSubnet as error:
            raise Refused(f"{subnet.ref} cannot be used: {error}") from error

    async def subnet(self, ref: SubnetRef) -> Subnet | ClusterSubnet | None:
        """The Subnet; None where there is none. Raises ApiError."""
        return self._cache.subnet(ref) or await self._fresh(ref)

    async def _nad(self, nad: str) -> NadNetwork | None:
        """From memory, or straight from the API server: a NAD made a moment ago is not in memory yet."""
        if nad in self._cache.nads.objects:
            found = self._cache.nads[nad]
        else:
            namespace, _, name = nad.partition("/")
            if not is_name(namespace) or not is_name(name):
                raise Refused(f"{nad} is no name of a NetworkAttachmentDefinition; write name, or namespace/name")
            try:
                found = nad_network(await self._cluster.get(kinds.NADS, name, namespace))
            except NotFound as error:
                raise Missing(f"NetworkAttachmentDefinition {nad} does not exist; create it first") from error
        if isinstance(found, InvalidNetwork):
            raise Refused(str(found))
        return found

    async def _fresh(self, ref: SubnetRef) -> Subnet | ClusterSubnet | None:
        """Straight from the API server, too."""
        model: type[Subnet | ClusterSubnet] = Subnet if ref.kind == "Subnet" else ClusterSubnet
        try:
            body = await self._cluster.get(kinds.of(model), ref.name, ref.namespace)
        except NotFound:
            return None
        (self._cache.subnets if ref.kind == "Subnet" else self._cache.cluster_subnets).put(body)
        return self._cache.subnet(ref)

    def member(self, selection: Selection, network: AdmittedNetwork) -> Member:
        """One of a pod's networks, with the routes that its Subnet tells guests."""
        subnet = network.subnet
        return Member(selection, network, subnet.spec.guest_routes(self._cache.routed_networks(subnet)))


def require_addresses(network: AdmittedNetwork) -> None:
    """Of a pod network: no container runtime takes a pod without an address. Raises Refused."""
    if not network.pools:
        raise Refused(
            f"{network.subnet.ref} has no cidrs and gives no addresses, and a pod network needs one; name a Subnet "
            "with cidrs there"
        )


def underlay_of(spec: SubnetSpec) -> Underlay | None:
    if not spec.underlay:
        return None
    return Underlay(provider_network=spec.provider_network, vlan=spec.vlan, conflict_detection=spec.conflict_detection)


def attachment(
    port: str,
    network: str,
    nic: PinnedNic,
    member: Member,
    *,
    configure: bool,
    socket_directory: str = "",
    mtu: int = 0,
    dhcp: GuestDhcp | None = None,
) -> Attachment:
    """What a pod's node is told of one NIC. ``port``: ``namespace/name``.

    ``mtu``: what its running guest was given; 0: what its Subnet says now. ``dhcp``: what its guest is told where its
    VM does not say it. A pod's default route is another
    network's, unless the pod asks for it; for a VM's NIC that was decided with its VM.
    """
    spec, pools = member.subnet.spec, member.pools
    default_route = member.selection.default_route if configure else nic.default_route
    own, every = (
        effective_routes(nic.routes, routes, addresses=nic.addresses, default_route=default_route)
        for routes in ((), member.routes)
    )
    return Attachment(
        port=port,
        network=network,
        network_attachment_definition=nic.network_attachment_definition,
        subnet=nic.subnet,
        mac=nic.mac,
        addresses=tuple(f"{address}/{home(address, pools)[0].network.prefixlen}" for address in nic.addresses),
        gateways=tuple(str(pool.gateway) for pool in pools) if default_route else (),
        routes=every,
        own_routes=own,
        mtu=mtu or spec.guest_mtu,
        underlay=underlay_of(spec),
        virtual_function=spec.virtual_functions if nic.nic == SRIOV else None,
        nic=nic.nic,
        ipam_claim=member.ipam_claim if nic.addresses else "",
        configure=configure,
        socket_directory=socket_directory,
        claim=nic.claim,
        dhcp=dhcp or GuestDhcp(),
    )
