"""QosPolicy and ClusterQosPolicy: OVN's QoS rows of every Port that one is for.

They are part of a Port's own rows: by its name they follow it over a handoff, and a change of a policy concerns exactly
the Ports that have read it. Each row is a meter of its own on each node (ovn-nb(5), QoS), which UDP does not escape.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.api.grammar import NAMESPACED_NAME
from virtnet.api.qos_policy import ClusterQosPolicy, QosLimit, QosPolicy, QosPolicyRef
from virtnet.engine.collection import Collection
from virtnet.engine.feature import Extension, Feature, Invalid
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import ConditionState, Report, ready
from virtnet.features.sources import CLUSTER_SUBNETS, SUBNETS, VMS, AnySubnet, port_owner, subnet_key, subnets_of
from virtnet.features.workloads import Vm
from virtnet.topology.names import added, port_key, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Parent, Row

AnyPolicy = QosPolicy | ClusterQosPolicy

MISSING = "QosPolicyMissing"
"""Condition of a Port or Subnet for which a policy is named that it does not get."""

_PRIORITY = 1000

POLICIES: Collection[QosPolicy] = Collection("QosPolicy", relevant=lambda policy: (policy.spec, policy.deleting))
CLUSTER_POLICIES: Collection[ClusterQosPolicy] = Collection(
    "ClusterQosPolicy",
    relevant=lambda policy: (policy.spec, policy.deleting),
    indexes={"enforced": lambda policy: [policy.spec.enforced]},
)


def _named_by_subnet(subnet: AnySubnet) -> list[ObjectKey]:
    ref = subnet.spec.qos_policy
    return [_key(ref, subnet.namespace)] if ref else []


def _named_by_vm(vm: Vm) -> set[ObjectKey]:
    return {key for name in vm.qos.values() for key in _candidates(vm.namespace, name)}


SUBNETS.index("qos_policy", _named_by_subnet)
CLUSTER_SUBNETS.index("qos_policy", _named_by_subnet)
VMS.index("qos_policy", _named_by_vm)


class Limits(NamedTuple):
    """Of one NIC."""

    egress: QosLimit
    ingress: QosLimit


class PolicyChoice(NamedTuple):
    """What is named for a NIC or Subnet."""

    policy: AnyPolicy | None
    problem: str = ""
    """Why it does not get what is named; empty where it does, or nothing is."""


def chosen_for_subnet(subnet: AnySubnet, reader: Reader) -> PolicyChoice:
    """The policy that a Subnet names."""
    ref = subnet.spec.qos_policy
    if ref is None:
        return PolicyChoice(None)
    return _permitted(subnet.namespace, [_key(ref, subnet.namespace)], f"{ref.kind} {ref.name}", reader)


def chosen_for_port(port: Port, reader: Reader) -> PolicyChoice:
    """The policy that a NIC's VM names for it, else its Subnet's; that, too, while the VM names one in vain."""
    subnet = reader.get(subnets_of(port.spec.subnet.kind), subnet_key(port.spec.subnet))
    other = chosen_for_subnet(subnet, reader).policy if subnet is not None else None
    vm = reader.get(VMS, port_owner(port))
    name = vm.qos.get(port.spec.network) if vm is not None else None
    if name is None:
        return PolicyChoice(other)
    found = chosen_by_name(port.namespace, name, reader)
    return found if found.policy is not None else PolicyChoice(other, found.problem)


def chosen_by_name(namespace: str, name: str, reader: Reader) -> PolicyChoice:
    """The policy that a VM of a namespace means by a name."""
    return _permitted(namespace, _candidates(namespace, name), f"QosPolicy {name}", reader)


def limits_of(port: Port, reader: Reader) -> Limits:
    """What bounds a NIC: what is chosen for it, within what is enforced in its namespace."""
    chosen = chosen_for_port(port, reader).policy
    caps = reader.derive(enforced_limits, port.namespace)
    mine = Limits(chosen.spec.egress, chosen.spec.ingress) if chosen is not None else Limits(QosLimit(), QosLimit())
    return Limits(*(_lowest(*pair) for pair in zip(mine, caps, strict=True)))


def enforced_limits(namespace: str, reader: Reader) -> Limits:
    """What is enforced on every NIC of a namespace; to be derived."""
    policies = reader.by(CLUSTER_POLICIES, "enforced", value=True)
    specs = [policy.spec for policy in policies if policy.spec.allows(namespace)]
    return Limits(_lowest(*(spec.egress for spec in specs)), _lowest(*(spec.ingress for spec in specs)))


def _lowest(*limits: QosLimit) -> QosLimit:
    """The lowest rate, the lowest burst, and the last DSCP, each of those that have one."""
    return QosLimit(
        rate_kbps=min((one.rate_kbps for one in limits if one.rate_kbps is not None), default=None),
        burst_kbits=min((one.burst for one in limits if one.burst is not None), default=None),
        dscp=next((one.dscp for one in reversed(limits) if one.dscp is not None), None),
    )


def _key(ref: QosPolicyRef, namespace: str) -> ObjectKey:
    return ObjectKey.named(ref.kind, ref.key(namespace))


def _candidates(namespace: str, name: str) -> list[ObjectKey]:
    """The policies that a VM may mean by a name: its namespace's own comes first."""
    return [ObjectKey(POLICIES.kind, namespace, name), ObjectKey(CLUSTER_POLICIES.kind, "", name)]


def _policy(key: ObjectKey, reader: Reader) -> AnyPolicy | None:
    return reader.get(POLICIES, key) if key.kind == POLICIES.kind else reader.get(CLUSTER_POLICIES, key)


def _permitted(namespace: str, candidates: Sequence[ObjectKey], what: str, reader: Reader) -> PolicyChoice:
    """The first candidate that exists, if it allows the namespace. A ClusterSubnet's is the administrator's choice."""
    policy = next((found for key in candidates if (found := _policy(key, reader)) is not None), None)
    if policy is None:
        return PolicyChoice(None, f"{what} does not exist; create it, or name another")
    if namespace and not policy.spec.allows(namespace):
        return PolicyChoice(
            None,
            f"ClusterQosPolicy {policy.name} does not allow namespace {namespace}; ask its owner, or name another",
        )
    return PolicyChoice(policy)


def qos_rows(port: Port, limits: Limits) -> Iterator[Row]:
    """A row for each direction that is limited or marked. Raises Ungrammatical for a Port with no Port's name."""
    for name, direction, field, limit in (
        ("egress", "from-lport", "inport", limits.egress),
        ("ingress", "to-lport", "outport", limits.ingress),
    ):
        bandwidth = {"rate": limit.rate_kbps, "burst": limit.burst} if limit.rate_kbps and limit.burst else {}
        action = {"dscp": limit.dscp} if limit.dscp is not None else {}
        if not bandwidth and not action:
            continue
        NAMESPACED_NAME.check(port.key, "the name of a logical port")
        key = added("QoS", port_key(port), POLICIES.kind, name)
        yield Row(
            key,
            {
                "direction": direction,
                "priority": _PRIORITY,
                "match": f'({field} == "{port.key}")',
                "action": action,
                "bandwidth": bandwidth,
                "external_ids": own(key),
            },
            Parent(switch_key(port.spec.subnet), "qos_rules"),
        )


def check_subnet_policy(new: AnySubnet, old: AnySubnet | None, reader: Reader) -> Sequence[str]:
    """Of a policy that a Subnet newly names: refuse one that goes, warn of one that it does not get."""
    if old is not None and old.spec.qos_policy == new.spec.qos_policy:
        return ()
    return list(_newly_named(str(new.ref), chosen_for_subnet(new, reader)))


def check_vm_policies(new: Vm, old: Vm | None, reader: Reader) -> Sequence[str]:
    """The same of a VM."""
    before = old.qos if old is not None else {}
    fresh = {network: name for network, name in new.qos.items() if before.get(network) != name}
    choices = {network: chosen_by_name(new.namespace, name, reader) for network, name in fresh.items()}
    return [line for network, choice in choices.items() for line in _newly_named(f"NIC {network}", choice)]


def _newly_named(what: str, choice: PolicyChoice) -> Iterator[str]:
    """The warning, where there is one. Raises Invalid."""
    if choice.policy is not None and choice.policy.deleting:
        policy = f"{type(choice.policy).__name__} {choice.policy.key}"
        raise Invalid(f"{what}: {policy} is being deleted; name another, or make it anew when it is gone", code=409)
    if choice.problem:
        yield f"{what}: {choice.problem}"


def missing_state(choice: PolicyChoice) -> ConditionState:
    """The condition of who names a policy."""
    return ConditionState(MISSING, bool(choice.problem), "NotFound" if choice.problem else "Found", choice.problem)


def report_policy(key: ObjectKey, reader: Reader) -> Report | None:
    """Its own status; what becomes of it in OVN is a matter of each Port that it is for."""
    return Report((ready("Accepted"),)) if _policy(key, reader) is not None else None


def policy_in_use(policy: AnyPolicy, reader: Reader) -> str:
    """Who names it; who is bounded by an enforced one does not hold it back."""
    key = ObjectKey.of(policy)
    subnets = [*reader.by(SUBNETS, "qos_policy", key), *reader.by(CLUSTER_SUBNETS, "qos_policy", key)]
    if subnets:
        return f"{len(subnets)} Subnets, one of them {subnets[0].key}"
    vms = [vm for vm in reader.by(VMS, "qos_policy", key) if _means(vm, policy, reader)]
    return f"{len(vms)} VMs, one of them {vms[0].key}" if vms else ""


def _means(vm: Vm, policy: AnyPolicy, reader: Reader) -> bool:
    """Whether a VM that names such a policy means this one, and not its namespace's own."""
    first = next((key for key in _candidates(vm.namespace, policy.name) if _policy(key, reader) is not None), None)
    return first == ObjectKey.of(policy)


_feature = partial(Feature, report=report_policy, in_use=policy_in_use)
CLUSTER_QOS_POLICY = _feature(model=ClusterQosPolicy, collection=CLUSTER_POLICIES)
QOS_POLICY = _feature(
    model=QosPolicy,
    collection=POLICIES,
    extensions=(
        Extension(
            Port,
            conditions=lambda port, reader: [missing_state(chosen_for_port(port, reader))],
            rows=lambda port, reader: list(qos_rows(port, limits_of(port, reader))),
        ),
        *(
            Extension(
                subnet,
                conditions=lambda one, reader: [missing_state(chosen_for_subnet(one, reader))],
                check=check_subnet_policy,
                check_reads=(POLICIES, CLUSTER_POLICIES),
            )
            for subnet in (Subnet, ClusterSubnet)
        ),
    ),
    check_vm=check_vm_policies,
    check_reads=(POLICIES, CLUSTER_POLICIES),
)
