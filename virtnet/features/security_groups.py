"""SecurityGroup and ClusterSecurityGroup: a Port_Group each, with its rules as ACLs, which a Port's own row joins.

The row joins by the transaction that makes it. So there is no moment in which a NIC is open, and a change of labels
concerns one port and no group's other members.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.api.grammar import NAMESPACED_NAME
from virtnet.api.security_group import (
    ClusterSecurityGroup,
    GroupPeer,
    GroupRule,
    SecurityGroup,
    mistake,
)
from virtnet.api.strings import invalid
from virtnet.engine.feature import Extension, Feature, Invalid
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import ConditionState, Outcome, Report
from virtnet.features.committed import readiness
from virtnet.features.group_membership import (
    CLUSTER_GROUPS,
    CLUSTER_KIND,
    GROUPS,
    KIND,
    AnyGroup,
    AnySubnet,
    is_tracked,
    membership_of,
    named_group,
)
from virtnet.features.policy_membership import has_policies, policies_of
from virtnet.features.sources import CLUSTER_SUBNETS, SUBNETS, VMS, subnet_key
from virtnet.features.workloads import Vm
from virtnet.topology.names import added, port_key, switch_key
from virtnet.topology.rows import Key, Parent, Row
from virtnet.topology.security_group import (
    PeerSet,
    ResolvedGroup,
    ResolvedRule,
    free_rows,
    group_rows,
    membership,
    shut_rows,
)

MISSING = "SecurityGroupMissing"
"""Condition of a Port or Subnet for which a group is named that is not there: nothing passes the NIC meanwhile."""

INCOMPLETE = "RuleIncomplete"
"""Condition of a group whose rules name what is not there, or cannot be followed."""


def compile_group(key: ObjectKey, reader: Reader) -> Outcome:
    """Its Port_Group, and the ACLs of its rules. One that cannot be followed lets nothing pass."""
    group = resolved_group(key, reader)
    return Outcome(group_rows(port_group(key), group) if group is not None else ())


def resolved_group(key: ObjectKey, reader: Reader) -> ResolvedGroup | None:
    """A group whose rules' peers are found; None where it is not there."""
    group = _group(key, reader)
    if group is None:
        return None
    if _unfit(group):
        return ResolvedGroup((), (), stateful=group.spec.stateful, cluster=not group.namespace)
    ingress, egress = (
        None if rules is None else [_resolved(rule, group, reader) for rule in rules]
        for rules in (group.spec.ingress, group.spec.egress)
    )
    return ResolvedGroup(
        ingress, egress, group.spec.stateful, group.spec.established_by_flags, cluster=not group.namespace
    )


def port_group(key: ObjectKey) -> Key:
    """A group's row."""
    return Key("Port_Group", str(key))


def _unfit(group: AnyGroup) -> str:
    """Why it cannot be followed; the API server or admission has let it in all the same."""
    return invalid(group.spec) or mistake(group.spec, may_deny=not group.namespace)


def _group(key: ObjectKey, reader: Reader) -> AnyGroup | None:
    return reader.get(GROUPS, key) if key.kind == KIND else reader.get(CLUSTER_GROUPS, key)


def _resolved(rule: GroupRule, group: AnyGroup, reader: Reader) -> ResolvedRule:
    peers = None
    if rule.peers:
        found = (_peer(peer, group.namespace, reader) for peer in rule.peers)
        peers = tuple(peer for peer in found if peer is not None)
    return ResolvedRule(rule.ports, peers, deny=rule.action == "Deny")


def _peer(peer: GroupPeer, namespace: str, reader: Reader) -> PeerSet | None:
    """None where it names what is not there."""
    if peer.cidr is not None:
        return PeerSet(cidrs=(peer.cidr,), excluded=peer.excluded)
    if peer.security_group is not None:
        group = named_group(namespace, peer.security_group, reader)
        return PeerSet(group=port_group(group.key)) if group is not None else None
    subnet = _peer_subnet(namespace, peer.subnet or "", reader)
    return PeerSet(cidrs=subnet.spec.cidrs) if subnet is not None and subnet.spec.cidrs else None


def _peer_subnet(namespace: str, name: str, reader: Reader) -> AnySubnet | None:
    own = reader.get(SUBNETS, ObjectKey(SUBNETS.kind, namespace, name)) if namespace else None
    return own or reader.get(CLUSTER_SUBNETS, ObjectKey(CLUSTER_SUBNETS.kind, "", name))


def _absent(group: AnyGroup, reader: Reader) -> Iterator[str]:
    """What rules name that is not there."""
    for where, rule in group.spec.rules:
        for peer in rule.peers:
            if _peer(peer, group.namespace, reader) is None:
                what = f"SecurityGroup {peer.security_group}" if peer.security_group else f"Subnet {peer.subnet}"
                yield f"{where}: {what} is not there, or has no addresses"


def report_group(key: ObjectKey, reader: Reader) -> Report | None:
    """Whether it is in OVN, and what of its rules is not followed."""
    group = reader.whole(GROUPS, key) if key.kind == KIND else reader.whole(CLUSTER_GROUPS, key)
    if group is None:
        return None
    problem = _unfit(group)
    problem = f"{problem}; until it is right, nothing passes its NICs" if problem else ""
    absent = problem or next(_absent(group, reader), "")
    incomplete = ConditionState(INCOMPLETE, bool(absent), "NotFound" if not problem else "Invalid", absent)
    return Report((readiness(group, None, reader), incomplete))


def check_group(new: AnyGroup, old: AnyGroup | None, reader: Reader) -> Sequence[str]:
    """Refuse what nobody can follow; warn of what is not there yet. Raises Invalid."""
    if problem := _unfit(new):
        raise Invalid(f"{type(new).__name__} {new.key}: spec.{problem}")
    if old is not None and old.spec == new.spec:
        return ()
    return [f"{type(new).__name__} {new.key}: {line}" for line in _absent(new, reader)][:5]


def group_in_use(group: AnyGroup, reader: Reader) -> str:
    """Who names it. Whom it selects does not hold it back."""
    subnets = [
        *reader.by(SUBNETS, "security_group", group.name),
        *reader.by(CLUSTER_SUBNETS, "security_group", group.name),
    ]
    meant = [one for one in subnets if _means(one.namespace, group, reader)]
    if meant:
        return f"{len(meant)} Subnets, one of them {meant[0].key}"
    vms = [vm for vm in reader.by(VMS, "security_group", group.name) if _means(vm.namespace, group, reader)]
    return f"{len(vms)} VMs, one of them {vms[0].key}" if vms else ""


def _means(namespace: str, group: AnyGroup, reader: Reader) -> bool:
    found = named_group(namespace, group.name, reader)
    return found is not None and found.key == ObjectKey.of(group)


SUBNETS.index("security_group", lambda subnet: subnet.spec.security_groups)
CLUSTER_SUBNETS.index("security_group", lambda subnet: subnet.spec.security_groups)
VMS.index("security_group", lambda vm: {name for names in vm.security_groups.values() for name in names})


def groups_of_port(port: Port, reader: Reader) -> Iterable[Parent]:
    """The Port_Groups that its row is in."""
    found = membership_of(port, reader)
    yield from (membership(port_group(one.key)) for one in found.groups)
    tracked = found.tracked or bool(policies_of(port, reader).policies)
    if not tracked and _tracks(subnet_key(port.spec.subnet), reader):
        yield membership(_free(switch_key(port.spec.subnet)))


def _free(switch: Key) -> Key:
    return added("Port_Group", switch, KIND, "free")


def rows_of_port(port: Port, reader: Reader) -> Sequence[Row]:
    if not membership_of(port, reader).missing:
        return ()
    NAMESPACED_NAME.check(port.key, "the name of a logical port")
    return shut_rows(port_key(port), switch_key(port.spec.subnet), port.key)


def rows_of_subnet(subnet: AnySubnet, reader: Reader) -> Sequence[Row]:
    return free_rows(_free(switch_key(subnet.ref))) if _tracks(ObjectKey.of(subnet), reader) else ()


def _tracks(subnet: ObjectKey, reader: Reader) -> bool:
    """Whether connections of any NIC of a Subnet may be tracked."""
    return reader.derive(is_tracked, subnet) or reader.derive(has_policies, subnet)


def _missing_of_port(port: Port, reader: Reader) -> Sequence[ConditionState]:
    return [_missing_state(membership_of(port, reader).missing)]


def _missing_of_subnet(subnet: AnySubnet, reader: Reader) -> Sequence[ConditionState]:
    kinds, named = _kinds_for(subnet), subnet.spec.security_groups
    return [_missing_state([one for one in named if named_group(subnet.namespace, one, reader, kinds) is None])]


_KINDS = (KIND, CLUSTER_KIND)


def _kinds_for(subnet: AnySubnet) -> Sequence[str]:
    """Of the groups that a Subnet may name."""
    return _KINDS if subnet.namespace else (CLUSTER_KIND,)


def _missing_state(names: Sequence[str]) -> ConditionState:
    said = f"SecurityGroup {', '.join(names)} is not there for it: nothing passes until it is, or is named no more"
    return ConditionState(MISSING, bool(names), "NotFound" if names else "Found", said if names else "")


def check_vm_groups(new: Vm, old: Vm | None, reader: Reader) -> Sequence[str]:
    """Of groups that a VM newly names: refuse one that goes, warn of one that is not there. Raises Invalid."""
    before = old.security_groups if old is not None else {}
    fresh = {
        network: [name for name in names if name not in before.get(network, ())]
        for network, names in new.security_groups.items()
    }
    return [
        line
        for network, names in fresh.items()
        for line in _newly_named(f"NIC {network}", new.namespace, names, _KINDS, reader)
    ]


def check_subnet_groups(new: AnySubnet, old: AnySubnet | None, reader: Reader) -> Sequence[str]:
    """The same of a Subnet."""
    before = old.spec.security_groups if old is not None else ()
    fresh = [name for name in new.spec.security_groups if name not in before]
    return list(_newly_named(str(new.ref), new.namespace, fresh, _kinds_for(new), reader))


def _newly_named(
    what: str, namespace: str, names: Iterable[str], kinds: Sequence[str], reader: Reader
) -> Iterator[str]:
    for name in names:
        group = named_group(namespace, name, reader, kinds)
        if group is None:
            yield f"{what}: SecurityGroup {name} is not there for it; nothing passes until it is"
        elif group.deleting:
            said = f"{what}: {group.key.kind} {group.key.key} is being deleted"
            raise Invalid(f"{said}; name another, or make it anew when it is gone", code=409)


_feature = partial(
    Feature,
    compile=compile_group,
    report=report_group,
    check=check_group,
    check_reads=(GROUPS, CLUSTER_GROUPS, SUBNETS, CLUSTER_SUBNETS),
    in_use=group_in_use,
)
CLUSTER_SECURITY_GROUP = _feature(model=ClusterSecurityGroup, collection=CLUSTER_GROUPS)
SECURITY_GROUP = _feature(
    model=SecurityGroup,
    collection=GROUPS,
    extensions=(
        Extension(Port, conditions=_missing_of_port, rows=rows_of_port, groups=groups_of_port),
        *(
            Extension(
                subnet,
                conditions=_missing_of_subnet,
                rows=rows_of_subnet,
                check=check_subnet_groups,
                check_reads=(GROUPS, CLUSTER_GROUPS),
            )
            for subnet in (Subnet, ClusterSubnet)
        ),
    ),
    check_vm=check_vm_groups,
)
