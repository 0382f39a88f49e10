"""Which Ports an owner has, and what is to be done about their leases. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.permissions import unattachable
from virtnet.api import AddressLease, Owner, Port, PortSpec
from virtnet.api.addresses import family
from virtnet.api.guest import GuestDhcp
from virtnet.api.lease import lease_name
from virtnet.api.names import port_name
from virtnet.api.port import OwnerKind
from virtnet.api.records import PinnedNic
from virtnet.features.leases import lease_names, lease_of
from virtnet.features.workloads import Pod, Vm

RESERVED_FOR = timedelta(seconds=60)
"""How long a lease may wait for its VM: admission ends long before, and the VM is seen within seconds.

Counted from when this controller first saw the claim, by its own clock: that of the webhook or of the API server may be
minutes behind, and a lease freed while its VM is being made goes to two.
"""

Claim = tuple[str, str]
"""One claim at admission: the lease's uid, and what tells claims of one lease apart."""


def desired_ports(
    key: str,
    vm: Vm | None,
    pods: Iterable[Pod],
    kept: Iterable[Port] = (),
    present: Iterable[Port] = (),
    *,
    free_standing: bool = False,
) -> dict[str, PortSpec]:
    """The Ports of an owner, by Port key.

    What a live pod was attached with holds until that pod has ended, whatever the VM's manifest says by now: the
    guest still uses it. Otherwise the manifest decides, and always on what DHCP tells, again and again.
    Of two pods with one port (a migration to another network) the last one given counts: the one that has the guest.
    ``present``: those that are there, of which an address stays whose family the manifest does not have yet.
    ``kept``: Ports of a pod that its StatefulSet makes again. No pod speaks for Ports of another namespace.
    ``free_standing``: whether a VMI that pods run has no VM.
    """
    namespace, name = key.split("/")
    machine: OwnerKind = "VirtualMachineInstance" if free_standing else "VirtualMachine"
    live = [pod for pod in pods if not pod.launcher.terminal]
    ports = {} if live else {port.key: port.spec for port in kept}
    known_specs = {port.key: port.spec for port in present}
    for network, nic in (vm.record.nics if vm and vm.record else {}).items():
        port = f"{namespace}/{port_name(name, network)}"
        ports[port] = PortSpec(
            owner=Owner(kind="VirtualMachine", name=name),
            network=network,
            network_attachment_definition=nic.network_attachment_definition,
            subnet=nic.subnet,
            mac_address=nic.mac,
            addresses=(*nic.addresses, *_further(nic, known_specs.get(port))),
            routes=nic.routes,
            default_route=nic.default_route,
            nic=nic.nic,
            dhcp=vm.dhcp.of(network) if vm else GuestDhcp(),
        )
    for pod in live:
        for attachment in pod.attachments:
            if unattachable(namespace, attachment):
                continue
            known = ports.get(attachment.port)
            if known is None or known.subnet != attachment.subnet:
                routes = attachment.own_routes if pod.vmi else (), bool(attachment.gateways) or not pod.vmi
            else:
                routes = known.routes, known.default_route
            ports[attachment.port] = PortSpec(
                owner=Owner(kind=machine if pod.vmi else "Pod", name=name, stateful_set=pod.stateful_set),
                network=attachment.network,
                network_attachment_definition=attachment.network_attachment_definition,
                subnet=attachment.subnet,
                mac_address=attachment.mac,
                addresses=attachment.bare_addresses,
                routes=routes[0],
                default_route=routes[1],
                nic=attachment.nic,
                dhcp=vm.dhcp.of(attachment.network) if vm else attachment.dhcp,
                mtu=attachment.mtu,
            )
    return ports


def _further(nic: PinnedNic, spec: PortSpec | None) -> tuple[str, ...]:
    """The addresses of a NIC's Port that are of a family which its record lacks: its Subnet has got it since."""
    if spec is None or (spec.subnet, spec.mac_address) != (nic.subnet, nic.mac):
        return ()
    families = {family(address) for address in nic.addresses}
    return tuple(address for address in spec.addresses if family(address) not in families)


def granted(
    desired: Mapping[str, PortSpec], present: Iterable[Port], refuse: Callable[[str, PortSpec], str]
) -> tuple[dict[str, PortSpec], dict[str, str]]:
    """The Ports that an owner is to have, and by Port key why others are not as its objects say.

    Whoever owns these objects can write them. So what they say is a request like that at admission: what is refused
    changes nothing, and a Port that is there stays as it was.
    """
    known = {port.key: port.spec for port in present}
    found, refused = {}, {}
    for key, spec in desired.items():
        if problem := refuse(key, spec):
            refused[key] = problem
        if not problem or key in known:
            found[key] = known[key] if problem else spec
    return found, refused


@dataclass(frozen=True)
class LeasePlan:
    """What is to be done about the leases of one Port."""

    create: tuple[AddressLease, ...] = ()
    bind: tuple[HeldAddress, ...] = ()
    free: tuple[HeldAddress, ...] = ()
    conflicts: tuple[HeldAddress, ...] = ()
    """Leases of others over addresses that this Port must hold."""
    again: timedelta | None = None
    claims: frozenset[str] = frozenset()
    """The claims that have been answered: those whose VM or pod is there."""

    def without(self, used: frozenset[str]) -> "LeasePlan":
        """The plan that frees none of the leases of these names yet."""
        return replace(self, free=tuple(lease for lease in self.free if lease.name not in used))


def plan_leases(
    port: str,
    spec: PortSpec | None,
    held: Iterable[HeldAddress],
    others: Mapping[str, HeldAddress],
    *,
    pinned: frozenset[str],
    owner_uid: str,
    age: Callable[[Claim], timedelta],
    claims: frozenset[str] = frozenset(),
    refused: bool = False,
) -> LeasePlan:
    """The plan for one Port.

    ``refused``: whether the Port may claim nothing that it has no lease of.
    ``held``: leases whose holder is this Port. ``others``: those of others, by name. ``pinned``: names of leases that
    the VM's manifest speaks for though its guest does not use them yet. ``spec`` is None once the Port is gone.
    ``age``: for how long an open claim has been known. ``claims``: those whose VM or pod is there.
    """
    wanted = lease_names(spec) if spec else {}
    mine = {lease.name: lease for lease in held}
    create = tuple(
        lease_of(port, spec, address)
        for name, address in wanted.items()
        if spec is not None and not refused and name not in mine and name not in others
    )
    conflicts = tuple(others[name] for name in wanted if name not in mine and name in others)
    bind = tuple(
        lease
        for name, lease in mine.items()
        if name in wanted and (not lease.bound or lease.owner_uid != owner_uid or lease.open_claim in claims)
    )
    free, delays = [], []
    for name, lease in mine.items():
        if name in wanted or name in pinned:
            continue
        claim = None if lease.open_claim in claims else open_claim(lease)
        left = RESERVED_FOR - age(claim) if claim is not None else timedelta()
        if left > timedelta():
            delays.append(left)
        else:
            free.append(lease)
    return LeasePlan(create, bind, tuple(free), conflicts, min(delays, default=None), claims)


def open_claim(lease: HeldAddress) -> Claim | None:
    """The claim on a lease whose VM may still be under way; None where it has come.

    A lease that admission claimed again may be bound to the one that had the name before: who comes with the same claim
    tells, and else only time.
    """
    return (lease.uid, lease.open_claim) if lease.open_claim or not lease.bound else None


@dataclass(frozen=True)
class OwnerPlan:
    """Changes to the Port objects of one owner."""

    create: Mapping[str, PortSpec] = field(default_factory=dict)
    update: Mapping[str, PortSpec] = field(default_factory=dict)
    delete: tuple[Port, ...] = ()


def plan_ports(desired: Mapping[str, PortSpec], present: Iterable[Port]) -> OwnerPlan:
    by_key = {port.key: port for port in present}
    return OwnerPlan(
        create={key: spec for key, spec in desired.items() if key not in by_key},
        update={key: spec for key, spec in desired.items() if key in by_key and by_key[key].spec != spec},
        delete=tuple(port for key, port in by_key.items() if key not in desired),
    )


def answered_claims(vm: Vm | None, pods: Iterable[Pod]) -> Mapping[str, set[str]]:
    """Port key -> the claims on what it held before whose VM, or pod, is there."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    of_pods = ((one.port, one.claim) for pod in pods for one in pod.attachments)
    for port, claim in (*((port, nic.claim) for port, nic in _pinned_nics(vm)), *of_pods):
        if claim:
            found[port].add(claim)
    return found


def pinned_leases(vm: Vm | None) -> dict[str, frozenset[str]]:
    """Port key -> names of the leases that the VM's manifest speaks for."""
    return {
        port: frozenset(lease_name(address, nic.subnet) for address in (nic.mac, *nic.addresses))
        for port, nic in _pinned_nics(vm)
    }


def _pinned_nics(vm: Vm | None) -> Iterator[tuple[str, PinnedNic]]:
    """By the keys of their Ports."""
    if vm is None or vm.record is None:
        return
    namespace, name = vm.key.split("/")
    for network, nic in vm.record.nics.items():
        yield f"{namespace}/{port_name(name, network)}", nic
