"""Marking the pod that runs a VM: its NICs are those that were pinned when the VM was admitted."""

from collections.abc import Mapping
from typing import Any

from virtnet.addressing.wants import Past, Refused, port_of
from virtnet.api import Owner, Port
from virtnet.api.kubevirt import MIGRATION_JOB_UID, as_vm, left_to_kubevirt, nics
from virtnet.api.names import PINNED, pod_interface
from virtnet.api.records import Attachment, PinnedNic
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from webhooks.cache import Cache
from webhooks.networks import Member, Networks, attachment
from webhooks.vms import VmPinner, record_of

Body = Mapping[str, Any]
PORTS = kinds.of(Port)


class Launchers:
    """Marks launcher pods. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache, networks: Networks) -> None:
        self._cluster = cluster
        self._networks = networks
        self._pinner = VmPinner(cluster, cache, networks)

    async def attachments(
        self, pod: Body, instance: str, members: Mapping[str, Member], *, dry_run: bool
    ) -> dict[str, Attachment]:
        """By the pod's interface. Raises Refused and ApiError."""
        namespace = pod["metadata"]["namespace"]
        owner, vm, pinned = await self._pinned(namespace, instance, dry_run=dry_run)
        if left_to_kubevirt(vm):  # what it has made of that, its VMI says
            vm = as_vm(await self._cluster.get(kinds.VMIS, instance, namespace))
        own = nics(vm, await self._networks.pod_network(namespace))
        networks = {pod_interface(network): network for network in pinned} | {
            nic.interface: nic.network for nic in own if nic.network in pinned
        }
        translated = {nic.network for nic in own if nic.translated}
        migrates = MIGRATION_JOB_UID in (pod["metadata"].get("labels") or {})
        found = {}
        for interface, member in members.items():
            network = networks.get(interface, "")
            port = port_of(owner, network)
            nic = await self._running(namespace, port, member) if migrates and network else None
            nic = nic or pinned.get(network)
            if nic is None or nic.subnet != member.subnet.ref:
                raise Refused(
                    f"{owner} in {namespace}: its NIC {network or interface} on {member.selection.nad} is not pinned "
                    f"in {member.subnet.ref}; remove the VM's annotation {PINNED}, and its admission pins it anew"
                )
            found[interface] = attachment(f"{namespace}/{port}", network, nic, member, configure=network in translated)
        return found

    async def pod_network(self, namespace: str, instance: str) -> str:
        """The NAD of the pod network that a VM was pinned to: its Namespace may have another one by now."""
        default = await self._networks.pod_network(namespace)
        if not default:
            return ""
        try:
            vm = await self._cluster.get(kinds.VMS, instance, namespace)
        except NotFound:
            return default
        record = record_of(vm)
        held = record.nics if record else {}
        ours = (held[nic.network] for nic in nics(vm, default) if nic.default and nic.network in held)
        return next((nic.network_attachment_definition for nic in ours), default)

    async def _pinned(
        self, namespace: str, instance: str, *, dry_run: bool
    ) -> tuple[Owner, Body, Mapping[str, PinnedNic]]:
        """Whose NICs they are, its manifest, and what they hold.

        Read from the API server and not from memory: the pod may come before the news of its VM.
        """
        try:
            vm = await self._cluster.get(kinds.VMS, instance, namespace)
        except NotFound:
            return await self._free_standing(namespace, instance, dry_run=dry_run)
        record = record_of(vm)
        if record is None or record.vm != f"{namespace}/{instance}":
            raise Refused(
                f"VM {namespace}/{instance} has no pinned addresses, it was written while virtnet was not asked; "
                "apply it again, so that its admission can pin them"
            )
        return Owner(kind="VirtualMachine", name=instance), vm, record.nics

    async def _free_standing(
        self, namespace: str, instance: str, *, dry_run: bool
    ) -> tuple[Owner, Body, Mapping[str, PinnedNic]]:
        """A VMI without a VM is pinned when its pod is made, and gives its addresses back when it is gone."""
        try:
            vm = as_vm(await self._cluster.get(kinds.VMIS, instance, namespace))
        except NotFound as error:
            raise Refused(f"VMI {namespace}/{instance}, whose pod this says it is, does not exist", code=409) from error
        owner = Owner(kind="VirtualMachineInstance", name=instance)
        return owner, vm, await self._pinner.pinned(vm, owner, Past(), dry_run=dry_run)

    async def _running(self, namespace: str, port: str, member: Member) -> PinnedNic | None:
        """What a NIC's running guest has, which a migration's target takes over.

        None where the migration is what brings the guest to another network.
        """
        try:
            spec = Port.parse(await self._cluster.get(PORTS, port, namespace)).spec
        except NotFound:
            return None
        if spec.network_attachment_definition != member.selection.nad or spec.subnet != member.subnet.ref:
            return None
        return PinnedNic(
            network_attachment_definition=spec.network_attachment_definition,
            subnet=spec.subnet,
            mac=spec.mac_address,
            addresses=spec.addresses,
            routes=spec.routes,
            default_route=spec.default_route,
        )
