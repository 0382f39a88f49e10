"""NicPolicy: which nodes take it, and how their NICs are doing."""

from collections.abc import Iterator, Mapping

from virtnet.api import NicPolicy, NicPolicyOnNode, NicSettings, PlacedNicPolicy
from virtnet.api.nic_policy import MOST_POLICIES, NicFailure
from virtnet.api.strings import invalid
from virtnet.engine.collection import Collection
from virtnet.engine.feature import Feature
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Announcement, ConditionState, Report, not_ready, ready
from virtnet.engine.selector import Selector
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.sources import NODES

KEPT_FAILURES = 64
WAITING = "Waiting"

NIC_POLICIES: Collection[NicPolicy] = Collection(
    "NicPolicy", relevant=lambda policy: (policy.spec, policy.metadata.generation, policy.deleting)
)
NODE_NETWORKS.index("nic_policy", lambda node: node.status.nic_policies)


def placed_policies(node: ObjectKey, reader: Reader) -> tuple[PlacedNicPolicy, ...]:
    """What one Node is told of, the eldest first; to be derived."""
    found = reader.get(NODES, node)
    if found is None:
        return ()
    policies = [
        policy
        for policy in reader.every(NIC_POLICIES)
        if not policy.deleting
        and Selector.of(policy.spec.node_selector).matches(found.labels)
        and not invalid(policy.spec)
    ]
    elder_first = sorted(policies, key=lambda one: (str(one.metadata.creation_timestamp or "~"), one.name))
    return tuple(_placed(policy) for policy in elder_first[:MOST_POLICIES])


def _placed(policy: NicPolicy) -> PlacedNicPolicy:
    settings = {name: getattr(policy.spec, name) for name in NicSettings.model_fields}
    return PlacedNicPolicy(name=policy.name, generation=policy.metadata.generation, **settings)


def report_nic_policy(key: ObjectKey, reader: Reader) -> Report | None:
    policy = reader.whole(NIC_POLICIES, key)
    if policy is None:
        return None
    if wrong := invalid(policy.spec):
        return Report((not_ready("Invalid", wrong),))
    told = _told(policy, reader)
    nodes = {
        node.name: told.get(node.name)
        for node in reader.matching(NODES, None, Selector.of(policy.spec.node_selector))
        if any(one.name == policy.name for one in reader.derive(placed_policies, NODES.key(node.name)))
    }
    return summary(policy, nodes | told)


def _told(policy: NicPolicy, reader: Reader) -> dict[str, NicPolicyOnNode]:
    """What nodes have said of a policy, those that are to undo it among them."""
    nodes = reader.by(NODE_NETWORKS, "nic_policy", policy.name)
    return {node.name: node.status.nic_policies[policy.name] for node in nodes}


def summary(policy: NicPolicy, nodes: Mapping[str, NicPolicyOnNode | None]) -> Report:
    """How a policy is doing, by what nodes have answered; None where one has not."""
    failures = [failure for name, told in sorted(nodes.items()) for failure in _failures(policy, name, told)]
    nics = [nic for told in nodes.values() if told is not None for nic in told.nics]
    kept = failures[:KEPT_FAILURES]
    before = {(one.node, one.nic, one.reason) for one in policy.status.failures}
    news = [one for one in kept if one.reason != WAITING and (one.node, one.nic, one.reason) not in before]
    return Report(
        (_state(nodes, len(nics), failures, selects=policy.spec.nics is not None),),
        {
            "nodes": len(nodes),
            "nics": len(nics),
            "ready": sum(nic.ready for nic in nics),
            "failures": tuple(kept),
        },
        announcements=tuple(Announcement(one.reason, f"{one.node}: {one.message}", warning=True) for one in news),
    )


def _state(
    nodes: Mapping[str, NicPolicyOnNode | None], nics: int, failures: list[NicFailure], *, selects: bool
) -> ConditionState:
    """``selects``: whether it is about NICs at all."""
    if failures:
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        return not_ready(failures[0].reason, f"{failures[0].node}: {failures[0].message}{more}")
    if not nodes:
        return not_ready("NoNodes", "no node has the labels of nodeSelector")
    if selects and not nics:
        return not_ready("NoNics", "no NIC of its nodes is selected; virtnet node devices prints what a node has")
    return ready("Configured")


def _failures(policy: NicPolicy, node: str, told: NicPolicyOnNode | None) -> Iterator[NicFailure]:
    if told is None or (told.generation and told.generation != policy.metadata.generation):
        message = f"virtnet-node on {node} has not answered yet; does its pod run there?"
        yield NicFailure(node=node, reason=WAITING, message=message)
        return
    if told.reason:
        yield NicFailure(node=node, reason=told.reason, message=told.message)
    for nic in told.nics:
        if not nic.ready:
            yield NicFailure(node=node, nic=nic.interface or nic.address, reason=nic.reason, message=nic.message)


def nic_policy_in_use(policy: NicPolicy, reader: Reader) -> str:
    """The nodes that have not undone it; one that is no longer in the cluster does not count."""
    there = {name: told for name, told in _told(policy, reader).items() if reader.get(NODES, NODES.key(name))}
    if not there:
        return ""
    said = [f"{name} ({nic.message})" for name, told in there.items() for nic in told.nics if nic.message]
    return f"{len(there)} Nodes, one of them {next(iter([*said, *there]))}"


NIC_POLICY = Feature(model=NicPolicy, collection=NIC_POLICIES, report=report_nic_policy, in_use=nic_policy_in_use)
