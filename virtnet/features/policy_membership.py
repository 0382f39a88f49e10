"""Which Port_Groups of network policies a NIC is in: of those that are for it, and of those that name it as a peer."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from virtnet.api import Port
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.group_membership import labels_of_workload, workload_keys
from virtnet.features.network_parts import NETWORK_PARTS, NOTHING, NetworkPart
from virtnet.features.policy_groups import (
    INSTANCE_NAME,
    NAMESPACES,
    PEERS,
    PEERS_KIND,
    SUBJECTS,
    PolicyGroup,
    labelled,
)
from virtnet.features.sources import VM_KIND, port_owner
from virtnet.topology.network_policy import named_group
from virtnet.topology.rows import Key

LAUNCHER_LABELS = {"kubevirt.io": "virt-launcher"}
"""Labels of a launcher pod beside its VMI's; INSTANCE_NAME is another."""

Labels = frozenset[tuple[str, str]]


def groups_by_labels(of: tuple[str, Labels], reader: Reader) -> tuple[PolicyGroup, ...]:
    """The groups that ask for one of these labels of a workload; to be derived: many workloads have the same."""
    namespace, items = of
    found: list[PolicyGroup] = []
    for hook in labelled(dict(items)):
        own = (one for some in (SUBJECTS, PEERS) for one in reader.by(some, "pods", (namespace, hook)))
        others = reader.by(PEERS, "pods", ("", hook))
        found += (*own, *(one for one in others if _selects_namespace(one, namespace, reader)))
    return tuple(found)


def _names_are_asked_for(_: str, reader: Reader) -> bool:
    """Whether any group asks for a VM by its name; to be derived."""
    return any(reader.by(some, "name", INSTANCE_NAME) for some in (SUBJECTS, PEERS))


def groups_of_namespace(namespace: str, reader: Reader) -> tuple[PolicyGroup, ...]:
    """The groups that ask for no label, of those that may mean workloads of a namespace; to be derived."""
    own = (one for some in (SUBJECTS, PEERS) for one in reader.by(some, "pods", (namespace, ())))
    known = reader.get(NAMESPACES, NAMESPACES.key(namespace))
    hooks = [(), *labelled(known.labels)] if known else ()
    others = (one for hook in hooks for one in reader.by(PEERS, "namespaces", hook))
    return (*own, *(one for one in others if _selects_namespace(one, namespace, reader)))


def _selects_namespace(group: PolicyGroup, namespace: str, reader: Reader) -> bool:
    known = reader.get(NAMESPACES, NAMESPACES.key(namespace))
    return known is not None and group.namespaces.matches(known.labels)


def has_policies(subnet: ObjectKey, reader: Reader) -> bool:
    """Whether any NIC of a Subnet may be under a policy; to be derived."""
    if not subnet.namespace:
        return len(reader.every(SUBJECTS)) > 0
    return bool(reader.by(SUBJECTS, "namespace", subnet.namespace))


def _are_there(_: str, reader: Reader) -> bool:
    """Whether there are policies at all; to be derived: where there are none, no NIC has anything to ask."""
    return len(reader.every(SUBJECTS)) > 0


class PolicyMembership(NamedTuple):
    """What policies make of a NIC."""

    rows: frozenset[Key] = frozenset()
    """The Port_Groups that it is in."""
    policies: tuple[PolicyGroup, ...] = ()
    """Of the policies that are for it."""


def policies_of(port: Port, reader: Reader) -> PolicyMembership:
    """The policies that are for a NIC, and the groups that it is in by those and others."""
    if not reader.derive(_are_there, ""):
        return PolicyMembership()
    labels, own, network = _workload(port, reader)
    every = {**labels, **own}
    found = [
        one
        for one in dict.fromkeys(_candidates(port.namespace, labels, own, reader))
        if one.pods.matches(every) and _is_on(port, one.networks, network)
    ]
    rows = {one.row for one in found}
    for one in found:
        for named in one.ports:
            number = network.number(port.spec.network, named)
            if number is not None:
                rows.add(named_group(one.row, named, number))
    return PolicyMembership(frozenset(rows), tuple(one for one in found if one.key.kind != PEERS_KIND))


def _candidates(
    namespace: str, labels: Mapping[str, str], own: Mapping[str, str], reader: Reader
) -> Iterator[PolicyGroup]:
    """``own``: labels that no other workload has."""
    yield from reader.derive(groups_by_labels, (namespace, frozenset(labels.items())))
    names_are_asked_for = reader.derive(_names_are_asked_for, "")
    if own and names_are_asked_for:
        yield from groups_by_labels((namespace, frozenset(own.items())), reader)
    yield from reader.derive(groups_of_namespace, namespace)


def _is_on(port: Port, networks: frozenset[str] | None, part: NetworkPart) -> bool:
    if networks is None:
        return port.spec.network == part.primary
    return port.spec.network_attachment_definition in networks


def _workload(port: Port, reader: Reader) -> tuple[Mapping[str, str], Mapping[str, str], NetworkPart]:
    """The labels of its pod, or those that its VM's has or will have, those of the VM alone, and its networks."""
    labels, owner = labels_of_workload(port, reader), port_owner(port)
    found = (reader.get(NETWORK_PARTS, key) for key in workload_keys(port))
    network = next((part for part in found if part is not None), NOTHING)
    if owner.kind != VM_KIND:
        return labels, {}, network
    return {**labels, **LAUNCHER_LABELS}, {INSTANCE_NAME: owner.name}, network
