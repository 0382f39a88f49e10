"""The Port_Groups of network policies: of the NICs that each is for, and of those that policies name as peers.

Each group selects NICs by labels, and is found by one label that it asks for: of thousands of policies a NIC meets
those that may mean it.
"""

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.api.meta import labels_of, object_key
from virtnet.api.named_ports import NamedPort
from virtnet.api.network_policy import (
    EgressRule,
    IngressRule,
    NetworkPolicySpec,
    PolicyPeer,
    PolicyRule,
    policy_networks,
    read_policy,
)
from virtnet.api.security_group import LabelSelector
from virtnet.engine.collection import Collection, Projection
from virtnet.engine.keys import ObjectKey
from virtnet.engine.selector import Selector
from virtnet.features.group_membership import selector_of
from virtnet.topology.rows import Key

KIND, MULTI_KIND, PEERS_KIND = "NetworkPolicy", "MultiNetworkPolicy", "PolicyPeers"

INSTANCE_NAME = "vm.kubevirt.io/name"
"""Label of a launcher pod beside its VMI's."""


@dataclass(frozen=True)
class NetworkPolicy:
    """A NetworkPolicy, or a MultiNetworkPolicy."""

    key: ObjectKey
    spec: NetworkPolicySpec
    networks: frozenset[str] | None
    """The NADs whose NICs it is for; None: NICs on the pod network."""
    problem: str = ""
    """What of it cannot be understood; nothing passes its NICs then."""

    @property
    def ingress(self) -> tuple[IngressRule, ...] | None:
        """None where it says nothing of what comes."""
        return self.spec.ingress if self.spec.isolates_ingress else None

    @property
    def egress(self) -> tuple[EgressRule, ...] | None:
        return self.spec.egress if self.spec.isolates_egress else None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "NetworkPolicy":
        return cls(ObjectKey.named(KIND, object_key(body)), *_read(body, None))

    @classmethod
    def of_multi(cls, body: Mapping[str, Any]) -> "NetworkPolicy":
        return cls(ObjectKey.named(MULTI_KIND, object_key(body)), *_read(body, policy_networks(body)))


def _read(
    body: Mapping[str, Any], networks: frozenset[str] | None
) -> tuple[NetworkPolicySpec, frozenset[str] | None, str]:
    spec, problem = read_policy(body)
    return spec, networks, problem


@dataclass(frozen=True)
class PolicyGroup:
    """NICs that a policy is for, or that policies name as peers. It has a Port_Group."""

    key: ObjectKey
    """The policy's; of peers one that says what they are, for policies that name the same share them."""
    namespace: str
    """In which; empty: those that ``namespaces`` selects."""
    namespaces: Selector
    pods: Selector
    networks: frozenset[str] | None
    ports: frozenset[NamedPort]
    """For each of these it has further groups, of those of its NICs on which it is one number."""
    ingress: bool = False
    """Whether the policy says anything of what comes to its NICs."""
    problem: str = ""
    """What of the policy cannot be understood."""

    @property
    def row(self) -> Key:
        return Key("Port_Group", str(self.key))


def subjects_of(policy: NetworkPolicy) -> PolicyGroup:
    """The NICs that a policy is for."""
    spec = policy.spec
    return PolicyGroup(
        policy.key,
        policy.key.namespace,
        Selector(),
        selector_of(spec.pod_selector),
        policy.networks,
        frozenset(port for rule in policy.ingress or () for port in named_ports(rule)),
        spec.isolates_ingress,
        policy.problem,
    )


def peers_of(policy: NetworkPolicy, peer: PolicyPeer, rule: PolicyRule) -> PolicyGroup:
    """The NICs that one peer of a rule is: by its selectors, or (a network's) all."""
    named = named_ports(rule) if isinstance(rule, EgressRule) else ()
    namespace = policy.key.namespace if peer.of_pods and peer.namespace_selector is None else ""
    networks = None if policy.networks is None else sorted(policy.networks)
    said = f"{namespace} {peer.model_dump_json(exclude={'ip_block'})} {networks} {sorted(named)}"
    return PolicyGroup(
        ObjectKey(PEERS_KIND, "", hashlib.sha256(said.encode()).hexdigest()[:16]),
        namespace,
        selector_of(peer.namespace_selector or LabelSelector()),
        selector_of(peer.pod_selector or LabelSelector()),
        policy.networks,
        frozenset(named),
    )


ANYBODY = PolicyPeer()
"""In place of peers where there are none, or of networks, whose named ports are those of NICs in them."""


def every_peer(policy: NetworkPolicy) -> Iterator[PolicyGroup]:
    """Those of all rules that have a group."""
    for rule in (*(policy.ingress or ()), *(policy.egress or ())):
        yield from (peers_of(policy, peer, rule) for peer in rule.peers if peer.of_pods)
        if isinstance(rule, EgressRule) and named_ports(rule):
            yield peers_of(policy, ANYBODY, rule)


def named_ports(rule: PolicyRule) -> tuple[NamedPort, ...]:
    return tuple(NamedPort(one.protocol, one.port) for one in rule.ports if isinstance(one.port, str))


Hook = tuple[Hashable, ...]
"""A label that a selector asks for: key and value, or (Exists) its key. Empty for a selector that asks for none."""


def hooks_of(selector: Selector) -> list[Hook]:
    """Labels of which an object that is selected has one; the first requirement will do."""
    for one in sorted(selector.requirements, key=lambda one: one.key):
        if one.operator == "In":
            return [(one.key, value) for value in one.values]
    present: list[Hook] = [(one.key,) for one in selector.requirements if one.operator == "Exists"]
    return present[:1] or [()]


def labelled(labels: Mapping[str, str]) -> Iterator[Hook]:
    for key, value in labels.items():
        yield (key, value)
        yield (key,)


def _by_pods(group: PolicyGroup) -> Iterable[Hashable]:
    return [(group.namespace, hook) for hook in hooks_of(group.pods) if hook or group.namespace]


def _by_namespaces(group: PolicyGroup) -> Iterable[Hashable]:
    is_free = not group.namespace and hooks_of(group.pods) == [()]
    return hooks_of(group.namespaces) if is_free else ()


def _by_name(group: PolicyGroup) -> Iterable[Hashable]:
    return {hook[0] for hook in hooks_of(group.pods) if hook} & {INSTANCE_NAME}


_INDEXES = {"pods": _by_pods, "namespaces": _by_namespaces, "name": _by_name}
SUBJECTS: Collection[PolicyGroup] = Collection(
    "PolicySubjects", indexes={**_INDEXES, "namespace": lambda one: [one.namespace]}
)
PEERS: Collection[PolicyGroup] = Collection(PEERS_KIND, indexes=_INDEXES)

_PROJECTIONS = (
    Projection(SUBJECTS, lambda key, policy: {key: subjects_of(policy)}),
    Projection(PEERS, lambda _, policy: {one.key: one for one in every_peer(policy)}, shared=True),
)
POLICIES: Collection[NetworkPolicy] = Collection(KIND, projections=_PROJECTIONS)
MULTI_POLICIES: Collection[NetworkPolicy] = Collection(MULTI_KIND, projections=_PROJECTIONS)


@dataclass(frozen=True)
class NamespaceLabels:
    """A Namespace."""

    labels: Mapping[str, str]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "NamespaceLabels":
        return cls(dict(labels_of(body)))


NAMESPACES: Collection[NamespaceLabels] = Collection("Namespace")
