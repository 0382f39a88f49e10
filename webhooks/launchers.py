"""Marking the pod that runs a VM: its NICs are those that were pinned when the VM was admitted."""

from collections.abc import Mapping
from typing import Any

from virtnet.addressing.permissions import by_family, reservation_key
from virtnet.addressing.requests import Past, Refused, RequestedNic, nic_request, port_of
from virtnet.api import Owner, Port, PortSpec
from virtnet.api.kubevirt import MIGRATION_JOB_UID, VmManifest
from virtnet.api.kubevirt_dhcp import WantedDhcp, wanted_by_instance
from virtnet.api.meta import labels_of
from virtnet.api.names import PINNED, pod_interface
from virtnet.api.records import Attachment, PinnedNic
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache
from webhooks.claims import Claims
from webhooks.networks import Member, Networks, attachment
from webhooks.nic_kinds import served
from webhooks.vms import VmPinner

Body = Mapping[str, Any]
PORTS = kinds.of(Port)


class LauncherMarker:
    """Marks launcher pods. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache, networks: Networks) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = networks
        self._pinner = VmPinner(cluster, cache, networks)

    async def attachments(
        self, pod: Body, instance: str, members: Mapping[str, Member], *, dry_run: bool
    ) -> dict[str, Attachment]:
        """By the pod's interface. Raises Refused and ApiError."""
        namespace = pod["metadata"]["namespace"]
        owner, vm, pinned, dhcp = await self._pinned(namespace, instance, dry_run=dry_run)
        if vm.left_to_kubevirt:  # what it has made of that, its VMI says
            vm = VmManifest.of_instance(await self._cluster.get(kinds.VMIS, instance, namespace))
        own = vm.nics(await self._networks.pod_network(namespace))
        networks = {pod_interface(network): network for network in pinned} | {
            nic.interface: nic.network for nic in own if nic.network in pinned
        }
        translated = {nic.network for nic in own if nic.translated}
        migrates = MIGRATION_JOB_UID in labels_of(pod)
        found = {}
        for interface, member in members.items():
            network = networks.get(interface, "")
            port = port_of(owner, network)
            running = await self._running(namespace, port, member) if migrates and network else None
            nic = pinned.get(network)
            if running:
                nic = _held_by(running, claim=nic.claim if nic else "")
            if nic is not None and not running and len(nic.addresses) < len(member.pools):
                nic = await self._completed(owner, vm, network, nic, member, dry_run=dry_run)
            if nic is None or nic.subnet != member.subnet.ref:
                raise Refused(
                    f"{owner} in {namespace}: its NIC {network or interface} on {member.selection.nad} is not pinned "
                    f"in {member.subnet.ref}; remove the VM's annotation {PINNED}, and its admission pins it anew"
                )
            served(nic.nic, f"{owner} in {namespace}: NIC {network}")
            self._check(f"{namespace}/{port}", owner, network, nic, member)
            found[interface] = attachment(
                f"{namespace}/{port}",
                network,
                nic,
                member,
                configure=network in translated,
                mtu=running.mtu if running else 0,
                dhcp=dhcp.of(network) if dhcp else None,
            )
        return found

    async def _completed(
        self, owner: Owner, vm: VmManifest, network: str, nic: PinnedNic, member: Member, *, dry_run: bool
    ) -> PinnedNic:
        """With an address of each family that its Subnet has got since its VM was pinned. Raises Refused and ApiError.

        Its Port keeps it, and so it has it again at the next start.
        """
        if nic.subnet != member.subnet.ref:
            return nic
        request = nic_request(
            RequestedNic(network, member.selection.nad, nic.mac),
            namespace=vm.namespace,
            owner=owner,
            subnet=nic.subnet,
            pools=member.pools,
            past=Past(stored=vm.record),
            held=self._cache.held(f"{vm.namespace}/{port_of(owner, network)}", nic.subnet),
        )
        claims = Claims(self._cluster, self._cache, dry_run=dry_run)
        found = await claims.fulfil([request], lambda _: member.pools)
        return nic.model_copy(update={"addresses": found[network].addresses, "claim": found[network].claim})

    def _check(self, port: str, owner: Owner, network: str, nic: PinnedNic, member: Member) -> None:
        """Refuses what a record says though the NIC neither holds it nor would be granted it. Raises Refused."""
        namespace, held = port.partition("/")[0], self._cache.held(port, nic.subnet)
        try:
            by_family(nic.addresses, member.pools, reservation_key(namespace, owner.kind, owner.name), held)
        except ValueError as error:
            raise Refused(
                f"{nic.subnet}: {owner} in {namespace}: annotation {PINNED}, NIC {network}: {error}, or remove the "
                "annotation, and its admission pins it anew"
            ) from error

    async def pod_network(self, namespace: str, instance: str) -> str:
        """The NAD of the pod network that a VM was pinned to: its Namespace may have another one by now."""
        default = await self._networks.pod_network(namespace)
        if not default:
            return ""
        try:
            vm = VmManifest.parse(await self._cluster.get(kinds.VMS, instance, namespace))
        except NotFound:
            return default
        record = vm.record
        held = record.nics if record else {}
        ours = (held[nic.network] for nic in vm.nics(default) if nic.default and nic.network in held)
        return next((nic.network_attachment_definition for nic in ours), default)

    async def _pinned(
        self, namespace: str, instance: str, *, dry_run: bool
    ) -> tuple[Owner, VmManifest, Mapping[str, PinnedNic], WantedDhcp | None]:
        """Whose NICs they are, its manifest, what they hold, and what DHCP is to tell where no VM says that.

        Read from the API server and not from memory: the pod may come before the news of its VM.
        """
        try:
            vm = VmManifest.parse(await self._cluster.get(kinds.VMS, instance, namespace))
        except NotFound:
            return await self._free_standing(namespace, instance, dry_run=dry_run)
        record = vm.record
        if record is None or record.vm != vm.key:
            raise Refused(
                f"VM {namespace}/{instance} has no pinned addresses, it was written while virtnet was not asked; "
                "apply it again, so that its admission can pin them"
            )
        return Owner(kind="VirtualMachine", name=instance), vm, record.nics, None

    async def _free_standing(
        self, namespace: str, instance: str, *, dry_run: bool
    ) -> tuple[Owner, VmManifest, Mapping[str, PinnedNic], WantedDhcp]:
        """A VMI without a VM is pinned when its pod is made, and gives its addresses back when it is gone."""
        try:
            body = await self._cluster.get(kinds.VMIS, instance, namespace)
        except NotFound as error:
            raise Refused(f"VMI {namespace}/{instance}, whose pod this says it is, does not exist", code=409) from error
        vm, owner = VmManifest.of_instance(body), Owner(kind="VirtualMachineInstance", name=instance)
        pinned = await self._pinner.pinned(vm, owner, Past(), dry_run=dry_run)
        return owner, vm, pinned, wanted_by_instance(body)

    async def _running(self, namespace: str, port: str, member: Member) -> PortSpec | None:
        """What a NIC's running guest has, which a migration's target takes over.

        None where the migration is what brings the guest to another network.
        """
        try:
            spec = Port.parse(await self._cluster.get(PORTS, port, namespace)).spec
        except NotFound:
            return None
        same = spec.network_attachment_definition == member.selection.nad and spec.subnet == member.subnet.ref
        return spec if same else None


def _held_by(spec: PortSpec, claim: str) -> PinnedNic:
    """What a Port's NIC holds. ``claim``: the last one on that."""
    return PinnedNic(
        network_attachment_definition=spec.network_attachment_definition,
        subnet=spec.subnet,
        mac=spec.mac_address,
        addresses=spec.addresses,
        routes=spec.routes,
        default_route=spec.default_route,
        nic=spec.nic,
        claim=claim,
    )
