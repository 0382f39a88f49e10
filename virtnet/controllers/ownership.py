"""Which Ports an owner has, and what is to be done about their leases. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from virtnet.api import AddressLease, AddressLeaseSpec, Holder, Owner, Port, PortSpec
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.api.names import CLAIMED_AT, port_name
from virtnet.controllers.views import Pod, Vm

RESERVED_FOR = timedelta(seconds=60)
"""How long a lease may wait for its VM: admission ends long before, and the VM is seen within seconds.

Counted from when this controller first saw the claim, by its own clock: that of the webhook or of the API server may be
minutes behind, and a lease freed while its VM is being made goes to two.
"""

Claim = tuple[str, str]
"""One claim at admission: the lease's uid, and the annotation that tells claims of one lease apart."""


def desired_ports(key: str, vm: Vm | None, pods: Iterable[Pod], kept: Iterable[Port] = ()) -> dict[str, PortSpec]:
    """The Ports of an owner, by Port key.

    What a live pod was attached with holds until that pod has ended, whatever the VM's manifest says by now: the
    guest still uses it. Otherwise the manifest decides, and on routes always, because DHCP tells them again and again.
    Of two pods with one port (a migration to another network) the last one given counts: the one that has the guest.
    ``kept``: Ports of a pod that its StatefulSet makes again.
    """
    namespace, name = key.split("/")
    live = [pod for pod in pods if not pod.launcher.terminal]
    ports = {} if live else {port.key: port.spec for port in kept}
    for network, nic in (vm.record.nics if vm and vm.record else {}).items():
        ports[f"{namespace}/{port_name(name, network)}"] = PortSpec(
            owner=Owner(kind="VirtualMachine", name=name),
            network=network,
            network_attachment_definition=nic.network_attachment_definition,
            subnet=nic.subnet,
            mac_address=nic.mac,
            addresses=nic.addresses,
            routes=nic.routes,
            default_route=nic.default_route,
        )
    for pod in live:
        for attachment in pod.attachments:
            known = ports.get(attachment.port)
            if known is None or known.subnet != attachment.subnet:
                routes = attachment.own_routes if pod.vmi else (), bool(attachment.gateways) or not pod.vmi
            else:
                routes = known.routes, known.default_route
            ports[attachment.port] = PortSpec(
                owner=Owner(kind="VirtualMachine" if pod.vmi else "Pod", name=name, stateful_set=pod.stateful_set),
                network=attachment.network,
                network_attachment_definition=attachment.network_attachment_definition,
                subnet=attachment.subnet,
                mac_address=attachment.mac,
                addresses=attachment.bare_addresses,
                routes=routes[0],
                default_route=routes[1],
                nic=attachment.nic,
            )
    return ports


def leases_of(port: str, spec: PortSpec) -> dict[str, AddressLease]:
    """The leases that a Port must hold, by name."""
    namespace, name = port.split("/")
    holder = Holder(namespace=namespace, port=name, owner=spec.owner, network=spec.network)
    return {
        (lease := lease_name(address, spec.subnet)): AddressLease(
            metadata=Metadata(name=lease),
            spec=AddressLeaseSpec(address=address, subnet=spec.subnet, holder=holder),
        )
        for address in (spec.mac_address, *spec.addresses)
    }


@dataclass(frozen=True)
class LeasePlan:
    """What is to be done about the leases of one Port."""

    create: tuple[AddressLease, ...] = ()
    bind: tuple[AddressLease, ...] = ()
    free: tuple[AddressLease, ...] = ()
    conflicts: tuple[AddressLease, ...] = ()
    """Leases of others over addresses that this Port must hold."""
    again: timedelta | None = None


def plan_leases(
    port: str,
    spec: PortSpec | None,
    held: Iterable[AddressLease],
    others: Mapping[str, AddressLease],
    *,
    pinned: frozenset[str],
    owner_uid: str,
    age: Callable[[Claim], timedelta],
) -> LeasePlan:
    """The plan for one Port.

    ``held``: leases whose holder is this Port. ``others``: any leases by name. ``pinned``: lease names that the VM's
    manifest speaks for though its guest does not use them yet. ``spec`` is None once the Port is gone. ``age``: for how
    long an open claim has been known.
    """
    wanted = leases_of(port, spec) if spec else {}
    mine = {lease.name: lease for lease in held}
    create = tuple(lease for name, lease in wanted.items() if name not in mine and name not in others)
    conflicts = tuple(others[name] for name in wanted if name not in mine and name in others)
    bind = tuple(
        lease
        for name, lease in mine.items()
        if name in wanted and (lease.status.phase != "Bound" or lease.status.owner_uid != owner_uid)
    )
    free, waits = [], []
    for name, lease in mine.items():
        if name in wanted or name in pinned:
            continue
        claim = open_claim(lease)
        left = RESERVED_FOR - age(claim) if claim is not None else timedelta()
        if left > timedelta():
            waits.append(left)
        else:
            free.append(lease)
    return LeasePlan(create, bind, tuple(free), conflicts, min(waits, default=None))


def open_claim(lease: AddressLease) -> Claim | None:
    """The claim on a lease whose VM may still be under way; None where it has come.

    A lease that admission claimed again may be bound to the one that had the name before: only time tells. What was
    written then is compared, and never read as a time.
    """
    again = lease.metadata.annotations.get(CLAIMED_AT, "")
    return (lease.metadata.uid, again) if again or lease.status.phase != "Bound" else None


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


def pinned_leases(vm: Vm | None) -> dict[str, frozenset[str]]:
    """Port key -> names of the leases that the VM's manifest speaks for."""
    if vm is None or vm.record is None:
        return {}
    namespace, name = vm.key.split("/")
    return {
        f"{namespace}/{port_name(name, network)}": frozenset(
            lease_name(address, nic.subnet) for address in (nic.mac, *nic.addresses)
        )
        for network, nic in vm.record.nics.items()
    }
