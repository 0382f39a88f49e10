"""Pinning a VirtualMachine: its NICs on virtnet networks get addresses and MACs, or the manifest is refused."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from virtnet.addressing.permissions import foreign
from virtnet.addressing.requests import Past
from virtnet.api import Owner
from virtnet.api.addresses import is_ipv4
from virtnet.api.copied_requests import own_requests
from virtnet.api.fields import WrongType
from virtnet.api.kubevirt import VmManifest, VmNic
from virtnet.api.kubevirt_dhcp import wanted_dhcp
from virtnet.api.lease import lease_name
from virtnet.api.meta import annotations_of, is_deleting
from virtnet.api.multus import NadNetwork
from virtnet.api.names import PINNED
from virtnet.api.nic_kinds import VHOSTUSER
from virtnet.api.records import PinnedNic, PinnedRecord
from virtnet.api.vm_requests import NOTHING, RequestAnnotations
from virtnet.kube.client import Cluster
from webhooks.cache import Cache
from webhooks.networks import Networks
from webhooks.tolerance import Tolerance
from webhooks.vm_nics import VmNics

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Pinning:
    """What is to be written into the manifest."""

    annotation: str | None
    """The new value of the pinned record; None: there is to be none."""
    macs: Mapping[int, str] = field(default_factory=dict)
    """Index of the interface -> MAC."""
    vhost_user: tuple[int, ...] = ()
    """Indices of the interfaces that are to be bound by the binding plugin for such NICs."""
    requests: RequestAnnotations = NOTHING
    """Annotations to be written, too; empty ones to be removed."""


class VmPinner:
    """Pins VMs. Holds nothing but its tools."""

    def __init__(self, cluster: Cluster, cache: Cache, networks: Networks) -> None:
        self._cluster = cluster
        self._cache = cache
        self._networks = networks

    async def pin(
        self, vm: Body, old: Body | None, *, dry_run: bool, warnings: list[str] | None = None
    ) -> Pinning | None:
        """What to write; None for nothing. Raises Refused, WrongType and ApiError. Claims are undone when it raises.

        An update is refused only for what it asks of virtnet itself. What is wrong with a NIC that it leaves alone is a
        warning, and the NIC keeps what it holds: VMs start and stop whatever has become of their networks.

        A VM that is being deleted gets no other record than it has, and is granted nothing: its Subnet may be gone.
        Whether it is, the stored object says: in a request anybody can write that.
        """
        if old is not None and is_deleting(old):
            return _as_stored(vm, old)
        warnings = warnings if warnings is not None else []
        stored = _stored(old)
        try:
            manifest = VmManifest.parse(vm)
        except WrongType as error:
            if old is None or _problem(old) != str(error):
                raise
            warnings.append(str(error))
            return _as_stored(vm, old)
        past = Past.of(manifest.key, manifest.record, stored.record if stored else None)
        owner = Owner(kind="VirtualMachine", name=manifest.name)
        requests = manifest.annotations
        if old is None and past.foreign:
            manifest = self._without_copies(manifest, past.foreign, warnings)
        pinned = await self.pinned(manifest, owner, past, stored=stored, dry_run=dry_run, warnings=warnings)
        if stored is not None and stored.runs:
            warnings += _moves(past, pinned)
        warnings += (*_left_out(vm, old, pinned), *self._told_nobody(vm, old, past, pinned))
        macs = {name: nic.mac for name, nic in pinned.items()} | self._macs_of_leaving(manifest, stored)
        indices = {name: n for n, name in enumerate(manifest.interfaces)}
        by_index = {indices[name]: mac for name, mac in macs.items() if name in indices}
        if pinned:
            requests = manifest.annotations.differing(requests)
            unbound = {nic.network for nic in manifest.declared if not nic.binding}
            vhost_user = tuple(
                indices[name] for name, nic in pinned.items() if nic.nic == VHOSTUSER and name in unbound
            )
            record = PinnedRecord(vm=manifest.key, nics=pinned).annotation()
            return Pinning(record, by_index, vhost_user, requests)
        stale = (past.stored or past.brought) and manifest.pinned is not None
        kept = None if stale else manifest.pinned
        return Pinning(kept, by_index) if stale or by_index else None

    def _macs_of_leaving(self, vm: VmManifest, stored: VmManifest | None) -> dict[str, str]:
        """The MACs of NICs that are to be unplugged by a manifest that never had them, by network name.

        Until such a NIC is gone the running guest has it with its MAC, and KubeVirt compares: where they differ, it
        asks for a restart.
        """
        before = {nic.network: nic.mac for nic in (*stored.declared, *stored.leaving)} if stored else {}
        found = {}
        for nic in vm.leaving:
            if not nic.mac and before.get(nic.network) and self._is_ours(nic, stored):
                found[nic.network] = before[nic.network]
        return found

    def _told_nobody(self, vm: Body, old: Body | None, past: Past, pinned: Mapping[str, PinnedNic]) -> Iterator[str]:
        """What virtnet's NICs newly ask of DHCP where nothing answers it."""
        before = wanted_dhcp(old).by_network if old is not None else {}
        for network, wanted in wanted_dhcp(vm).by_network.items():
            nic, was = pinned.get(network), past.nic(network)
            subnet = self._cache.subnet(nic.subnet) if nic is not None else None
            same = before.get(network) == wanted and was is not None and nic is not None and was.subnet == nic.subnet
            if nic is None or subnet is None or same or not wanted.own_options:
                continue
            if not subnet.spec.dhcp.enabled:
                yield f"NIC {network}: dhcpOptions are told nobody: {nic.subnet} has dhcp.enabled: false; remove them"
            elif not any(map(is_ipv4, nic.addresses)):
                yield (
                    f"NIC {network}: dhcpOptions are told nobody: it has no IPv4 address of {nic.subnet}, and they are "
                    "DHCPv4's; remove them"
                )

    def _is_ours(self, nic: VmNic, stored: VmManifest | None) -> bool:
        """Whether a NIC's MAC is virtnet's: its record says so until it is to be unplugged, and then its NAD."""
        if stored and stored.record and nic.network in stored.record.nics:
            return True
        return nic.nad in self._cache.nads.objects and isinstance(self._cache.nads[nic.nad], NadNetwork)

    def _without_copies(self, vm: VmManifest, source: PinnedRecord, warnings: list[str]) -> VmManifest:
        """What a copy of another VM asks for itself: that one's addresses stay with it for as long as it has them."""
        reachable = {one: nic for one, nic in source.nics.items() if not foreign(vm.namespace, nic.subnet)}
        found = own_requests(vm.annotations, {one: self._held(nic, source.vm) for one, nic in reachable.items()})
        warnings.extend(
            f"NIC {network}: the addresses that it asks for are those of VM {source.vm}, of which this VM is a copy; "
            "it gets its own, and the request is removed"
            for network in sorted(found.networks)
        )
        return replace(vm, annotations=found.annotations)

    def _held(self, nic: PinnedNic, vm: str) -> list[str]:
        """Those addresses of a NIC that a VM has."""
        leases = ((one, self._cache.leases.get(lease_name(one, nic.subnet))) for one in nic.addresses)
        return [address for address, lease in leases if lease is not None and lease.owner == f"VM {vm}"]

    async def pinned(
        self,
        vm: VmManifest,
        owner: Owner,
        past: Past,
        *,
        stored: VmManifest | None = None,
        dry_run: bool,
        warnings: list[str] | None = None,
    ) -> Mapping[str, PinnedNic]:
        """What each NIC on a virtnet network holds from now on, by network name. Raises Refused and ApiError."""
        tolerance = Tolerance(
            warnings if warnings is not None else [],
            unchanged=vm.unchanged_nics(stored),
            held=past.stored.nics if past.stored else {},
            dry_run=dry_run,
        )
        nics = VmNics(self._cluster, self._cache, self._networks, vm, owner, past, stored, tolerance, dry_run)
        return await nics.pinned()


def _moves(past: Past, pinned: Mapping[str, PinnedNic]) -> list[str]:
    """What people should know who move the NIC of a running guest to another Subnet."""
    return [
        f"NIC {network} leaves {before.subnet} for {nic.subnet} with the live migration that KubeVirt starts for it; "
        "its guest asks for its address there when its lease ends, or once its link has been down: set the interface's "
        "state to down, and to up again"
        for network, nic in pinned.items()
        if (before := past.nic(network)) is not None and before.subnet != nic.subnet
    ]


def _stored(vm: Body | None) -> VmManifest | None:
    """What a stored manifest says. One that cannot be read asks for nothing, and may be mended."""
    if vm is None:
        return None
    try:
        return VmManifest.parse(vm)
    except WrongType:
        return VmManifest.parse({"metadata": vm["metadata"]})


def _left_out(vm: Body, old: Body | None, ours: Container[str]) -> Iterator[str]:
    """What virtnet's NICs newly ask of DHCP in vain. KubeVirt's own DHCP is not between them and OVN's."""
    before = wanted_dhcp(old).left_out if old is not None else {}
    for network, problems in wanted_dhcp(vm).left_out.items():
        if network in ours and before.get(network) != problems:
            yield from (f"NIC {network}: dhcpOptions.{problem}" for problem in problems)


def _as_stored(vm: Body, old: Body) -> Pinning | None:
    """That a VM has no other record than it is stored with."""
    return Pinning(annotations_of(old).get(PINNED)) if PINNED in annotations_of(vm) else None


def _problem(stored: Body) -> str:
    """Why a stored manifest cannot be read; empty where it can."""
    try:
        VmManifest.parse(stored)
    except WrongType as error:
        return str(error)
    return ""
