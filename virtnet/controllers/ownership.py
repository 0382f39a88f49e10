"""Which Ports an owner has, and what is to be done about their leases. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from virtnet.api import AddressLease, AddressLeaseSpec, Holder, Owner, Port, PortSpec
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.api.names import CLAIMED_AT, port_name
from virtnet.controllers.views import Pod, Vm

RESERVED_FOR = timedelta(seconds=60)
"""How long a lease may wait for its VM: admission ends long before, and the VM is seen within seconds."""


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
    now: datetime,
) -> LeasePlan:
    """The plan for one Port.

    ``held``: leases whose holder is this Port. ``others``: any leases by name. ``pinned``: lease names that the VM's
    manifest speaks for though its guest does not use them yet. ``spec`` is None once the Port is gone.
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
        claimed = _claimed(lease)
        if claimed is not None and now - claimed < RESERVED_FOR:
            waits.append(RESERVED_FOR - (now - claimed))
        else:
            free.append(lease)
    return LeasePlan(create, bind, tuple(free), conflicts, min(waits, default=None))


def _claimed(lease: AddressLease) -> datetime | None:
    """When admission claimed a lease whose VM has not been seen since; None where it has."""
    status, text = lease.status, lease.metadata.annotations.get(CLAIMED_AT)
    claimed = _time(text) or lease.metadata.creation_timestamp
    if claimed is None or (status.bound_at is not None and claimed <= status.bound_at):
        return None
    return claimed


def _time(text: str | None) -> datetime | None:
    """The time in an annotation; None for what is none, because anybody may have written it."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        return None


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
