"""Which security groups a NIC is in: those that its workload or Subnet names, and those that select its workload."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.api.security_group import ClusterSecurityGroup, LabelSelector, SecurityGroup
from virtnet.engine.collection import Collection, Projection
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.selector import Requirement, Selector
from virtnet.features.sources import VM_KIND, port_owner, subnet_key, subnets_of
from virtnet.features.workload_parts import WORKLOADS

AnyGroup = SecurityGroup | ClusterSecurityGroup
AnySubnet = Subnet | ClusterSubnet

KIND, CLUSTER_KIND = SecurityGroup.__name__, ClusterSecurityGroup.__name__
INSTANCE_KIND = "VirtualMachineInstance"


@dataclass(frozen=True)
class GroupSelection:
    """The part of a group that says whom it is for: a change of its rules concerns no NIC."""

    key: ObjectKey
    selector: Selector | None
    networks: frozenset[str]
    allowed_namespaces: frozenset[str]
    tracks: bool
    """Whether its members' packets meet the connection tracker."""
    deleting: bool = False

    def allows(self, namespace: str) -> bool:
        if self.key.namespace:
            return self.key.namespace == namespace
        return not self.allowed_namespaces or namespace in self.allowed_namespaces

    def selects(self, network: str, labels: Mapping[str, str]) -> bool:
        of_network = not self.networks or network in self.networks
        return of_network and self.selector is not None and self.selector.matches(labels)


SELECTIONS: Collection[GroupSelection] = Collection(
    "GroupSelection", indexes={"namespace": lambda one: [one.key.namespace]}
)


def _selection(key: ObjectKey, group: AnyGroup) -> dict[ObjectKey, GroupSelection]:
    spec = group.spec
    found = GroupSelection(
        ObjectKey.of(group),
        selector_of(spec.selector) if spec.selector is not None else None,
        frozenset(spec.networks),
        frozenset(spec.allowed_namespaces),
        spec.stateful and spec.isolates,
        group.deleting,
    )
    return {key: found}


def selector_of(selector: LabelSelector) -> Selector:
    expressions = (Requirement(one.key, one.operator, frozenset(one.values)) for one in selector.match_expressions)
    return Selector(Selector.of(selector.match_labels).requirements | frozenset(expressions))


SELECTION = Projection(SELECTIONS, _selection)

GROUPS: Collection[SecurityGroup] = Collection(
    KIND, relevant=lambda group: (group.spec, group.deleting), projections=[SELECTION]
)
CLUSTER_GROUPS: Collection[ClusterSecurityGroup] = Collection(
    CLUSTER_KIND, relevant=lambda group: (group.spec, group.deleting), projections=[SELECTION]
)


class Membership(NamedTuple):
    """The groups of a NIC."""

    groups: tuple[GroupSelection, ...] = ()
    missing: tuple[str, ...] = ()
    """Names for which there is no group that it may be in."""

    @property
    def tracked(self) -> bool:
        return any(one.tracks for one in self.groups)


_EITHER = (KIND, CLUSTER_KIND)


def membership_of(port: Port, reader: Reader) -> Membership:
    """The groups of a NIC."""
    names, kinds = _named(port, reader)
    found, missing = [], []
    for name in names:
        group = named_group(port.namespace, name, reader, kinds)
        found.append(group) if group is not None else missing.append(name)
    if selecting := reader.derive(selecting_groups, port.namespace):
        labels = labels_of_workload(port, reader)
        found += [one for one in selecting if one.selects(port.spec.network, labels)]
    return Membership(tuple(dict.fromkeys(found)), tuple(missing))


def selecting_groups(namespace: str, reader: Reader) -> tuple[GroupSelection, ...]:
    """The groups that select NICs of a namespace; to be derived: most namespaces have none, and many NICs."""
    near = (one for where in (namespace, "") for one in reader.by(SELECTIONS, "namespace", where))
    return tuple(one for one in near if one.selector is not None and one.allows(namespace))


def named_group(namespace: str, name: str, reader: Reader, kinds: Iterable[str] = _EITHER) -> GroupSelection | None:
    """The group that somebody in a namespace means by a name: its own namespace's comes first."""
    keys = (ObjectKey(kind, namespace if kind == KIND else "", name) for kind in kinds if namespace or kind != KIND)
    found = (reader.get(SELECTIONS, key) for key in keys)
    return next((one for one in found if one is not None and (not namespace or one.allows(namespace))), None)


def _named(port: Port, reader: Reader) -> tuple[Sequence[str], Sequence[str]]:
    """The names, and of which kinds: by its workload, else by its Subnet."""
    workload = reader.get(WORKLOADS, port_owner(port))
    names = workload.security_groups.get(port.spec.network) if workload is not None else None
    if names is not None:
        return names, _EITHER
    subnet = reader.get(subnets_of(port.spec.subnet.kind), subnet_key(port.spec.subnet))
    if subnet is None:
        return (), ()
    return subnet.spec.security_groups, _EITHER if subnet.namespace else (CLUSTER_KIND,)


def workload_keys(port: Port) -> tuple[ObjectKey, ...]:
    """The instance of its VM that may run, and the VM; or its pod. What it is like says the first that is there."""
    owner = port_owner(port)
    return (owner._replace(kind=INSTANCE_KIND), owner) if owner.kind == VM_KIND else (owner,)


def labels_of_workload(port: Port, reader: Reader) -> Mapping[str, str]:
    """Those of the instance of its VM that runs, or of the template; or of its pod."""
    return next((one.labels for key in workload_keys(port) if (one := reader.get(WORKLOADS, key)) is not None), {})


def is_tracked(subnet: ObjectKey, reader: Reader) -> bool:
    """Whether any NIC of a Subnet may be under a stateful rule; to be derived."""
    if not subnet.namespace:
        return any(one.tracks for one in reader.every(SELECTIONS))
    near = (one for namespace in (subnet.namespace, "") for one in reader.by(SELECTIONS, "namespace", namespace))
    return any(one.tracks for one in near)
