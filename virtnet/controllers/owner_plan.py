"""What there is to do about one owner's Ports and leases. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.permissions import refusal
from virtnet.api import Port, PortSpec
from virtnet.controllers.ownership import (
    Claim,
    LeasePlan,
    OwnerPlan,
    answered_claims,
    desired_ports,
    granted,
    pinned_leases,
    plan_leases,
    plan_ports,
)
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.handoff_facts import leases_in_use
from virtnet.features.leases import holding_of, lease_names
from virtnet.features.macs import mac_refusal, user_of
from virtnet.features.obstacles import subnet_of
from virtnet.features.ovn_state import ROWS
from virtnet.features.sources import (
    INSTANCES,
    IPAM_CLAIMS,
    LEASES,
    MIGRATIONS,
    PODS,
    PORTS,
    STATEFUL_SETS,
    VM_KIND,
    VMS,
    subnet_key,
)
from virtnet.features.workloads import Pod, StatefulSet, Vm
from virtnet.handoff.guest import home_of


@dataclass(frozen=True)
class Present:
    """What there is of an owner."""

    vm: Vm | None
    pods: tuple[Pod, ...]


@dataclass(frozen=True)
class OwnerWork:
    """What there is to do about an owner."""

    present: Present
    ports: OwnerPlan
    leases: Mapping[str, LeasePlan]
    """By Port key."""
    uid: str
    """What leases are bound to."""
    refused: Mapping[str, str]
    """Port key -> why a Port is not as its owner's objects say."""

    @property
    def empty(self) -> bool:
        """Whether nothing is left of the owner."""
        return not (self.present.vm or self.present.pods or self.leases)


def present_of(owner: ObjectKey, reader: Reader) -> Present:
    """What there is of an owner now."""
    vm = reader.get(VMS, owner) if owner.kind == VM_KIND else None
    return Present(vm, tuple(reader.by(PODS, "owner", owner)))


def plan_owner(owner: ObjectKey, reader: Reader, age: Callable[[Claim], timedelta]) -> OwnerWork | None:
    """The work; None where a pod cannot be read, so that nothing may be touched. ``age``: of an open claim."""
    present = present_of(owner, reader)
    if not all(pod.readable for pod in present.pods):
        return None
    for claim in (pod.claim(attachment) for pod in present.pods for attachment in pod.attachments):
        if claim is not None:  # it may be made after its pod, and is told of the addresses then
            reader.get(IPAM_CLAIMS, claim)
    ports = reader.by(PORTS, "owner", owner)
    stateful_sets = {port.key: found for port in ports if (found := stateful_set_of(port, reader)) is not None}
    kept = [port for port in ports if port.key in stateful_sets]
    held = reader.by(LEASES, "owner", owner)
    of_vm = present.vm or any(kind == VM_KIND for kind in _owner_kinds(ports, held))
    pods = _home_last(owner, present.pods, reader)
    wanted = desired_ports(owner.key, present.vm, pods, kept, ports, free_standing=not of_vm)
    desired, refused = granted(wanted, ports, lambda port, spec: _refusal(port, spec, reader))
    pinned, claims = pinned_leases(present.vm), answered_claims(present.vm, present.pods)
    uids = [present.vm.uid] if present.vm else []
    uid = next(iter([*uids, *(one.uid for one in stateful_sets.values()), *(pod.uid for pod in present.pods)]), "")
    keys = {*desired, *pinned, *(port.key for port in ports), *(lease.port for lease in held)}
    plans = {}
    for key in sorted(keys):
        spec = desired.get(key)
        names = lease_names(spec) if spec else {}
        mine = reader.by(LEASES, "port", key)
        foreign = names.keys() - {lease.name for lease in mine}
        others = {name: lease for name in foreign if (lease := reader.get(LEASES, LEASES.key(name))) is not None}
        plan = plan_leases(
            key,
            spec,
            mine,
            others,
            pinned=pinned.get(key, frozenset()),
            owner_uid=uid,
            age=age,
            claims=frozenset(claims.get(key, ())),
            refused=spec is not None and key in refused and bool(_refusal(key, spec, reader)),
        )
        if plan.free:
            plan = plan.without(leases_in_use(key, reader.whole(ROWS, PORTS.key(key)) or (), plan.free))
        plans[key] = plan
    return OwnerWork(present, plan_ports(desired, ports), plans, uid, refused)


def _owner_kinds(ports: Iterable[Port], leases: Iterable[HeldAddress]) -> Iterator[str]:
    """Whose they say that they are: admission knows whether there is a VM, and a VM that goes may leave its pods."""
    yield from (port.spec.owner.kind for port in ports)
    yield from (lease.owner_kind for lease in leases)


def _refusal(port: str, spec: PortSpec, reader: Reader) -> str:
    """Why a Port may not be as its owner's objects say; empty where it may."""
    held, subnet = holding_of(port, spec, reader).held, subnet_of(subnet_key(spec.subnet), reader)
    if problem := refusal(port, spec, subnet, held):
        return problem
    user = user_of(spec.mac_address, subnet, reader) if subnet is not None and spec.mac_address not in held else ""
    return mac_refusal(spec.subnet, spec.mac_address, user) if user else ""


def stateful_set_of(port: Port, reader: Reader) -> StatefulSet | None:
    """The StatefulSet that makes a Port's pod again when it is gone, so that its addresses stay."""
    owner = port.spec.owner
    if not owner.stateful_set:
        return None
    found = reader.get(STATEFUL_SETS, ObjectKey(STATEFUL_SETS.kind, port.namespace, owner.stateful_set))
    return found if found is not None and found.covers(owner.name) else None


def _home_last(owner: ObjectKey, pods: tuple[Pod, ...], reader: Reader) -> list[Pod]:
    """The pods, the one that has the guest last."""
    if owner.kind != VM_KIND:
        return list(pods)
    instance = owner._replace(kind=INSTANCES.kind)
    migrations = [one.migration for one in reader.by(MIGRATIONS, "instance", instance)]
    home = home_of(reader.get(INSTANCES, instance), [pod.launcher for pod in pods], migrations)
    return sorted(pods, key=lambda pod: pod.launcher == home)
