"""NICs that both security groups and network policies say something of: each of the two has to let a packet pass."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.policies.cases import policy
from tests.policies.conftest import Checked, packets
from tests.policies.oracle import Oracle, Packet
from tests.policies.world import NAMESPACE_LABELS, endpoints, graph_of, port_of, put, rows_of
from virtnet.api.meta import Metadata
from virtnet.api.security_group import ClusterSecurityGroup, SecurityGroup, SecurityGroupSpec
from virtnet.engine.keys import ObjectKey
from virtnet.features.group_membership import CLUSTER_GROUPS, GROUPS, AnyGroup
from virtnet.features.security_groups import compile_group

pytestmark = pytest.mark.system

HTTP = {"protocol": "TCP", "port": 80}
FROM_Y = {"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}
TO_Y = {"to": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}
POLICIES = (
    policy(policyTypes=["Ingress", "Egress"], ingress=[FROM_Y], egress=[TO_Y]),
    policy("in", "y", ingress=[{"ports": [HTTP, {"protocol": "UDP"}]}]),
)
OF_A = {"selector": {"matchLabels": {"pod": "a"}}}
Verdict = Callable[[Packet], bool | None]
"""True: it passes whatever policies say; False: it does not; None: policies decide."""


def group(**spec: Any) -> SecurityGroup:
    """Of the pod a in namespace x."""
    metadata = Metadata(name="group", namespace="x")
    return SecurityGroup(metadata=metadata, spec=SecurityGroupSpec.model_validate({**OF_A, **spec}))


def cluster_group(**spec: Any) -> ClusterSecurityGroup:
    whole = {**OF_A, "allowedNamespaces": ["x"], **spec}
    return ClusterSecurityGroup(metadata=Metadata(name="group"), spec=SecurityGroupSpec.model_validate(whole))


def http(packet: Packet) -> bool:
    return (packet.protocol, packet.port) == ("TCP", 80)


def http_alone(packet: Packet) -> bool | None:
    return None if http(packet) else False


def nothing(_: Packet) -> bool | None:
    return False


def policies_decide(_: Packet) -> bool | None:
    return None


@pytest.mark.parametrize(
    ("groups", "incoming", "outgoing"),
    [
        pytest.param([group(ingress=[{"ports": [HTTP]}])], http_alone, policies_decide, id="one port in"),
        pytest.param([group(ingress=[{}])], policies_decide, policies_decide, id="all in"),
        pytest.param([group(ingress=[])], nothing, policies_decide, id="nothing in"),
        pytest.param([group(egress=[{"ports": [HTTP]}])], policies_decide, http_alone, id="one port out"),
        pytest.param([group(egress=[{}])], policies_decide, policies_decide, id="all out"),
        pytest.param([group(egress=[], ingress=[])], nothing, nothing, id="nothing"),
        pytest.param(
            [group(ingress=[{}]), cluster_group(ingress=[{"action": "Deny", "ports": [HTTP]}])],
            lambda packet: False if http(packet) else None,
            policies_decide,
            id="an administrator denies what comes",
        ),
        pytest.param(
            [cluster_group(ingress=[{"action": "Deny", "ports": [HTTP]}])],
            lambda packet: False if http(packet) else None,
            policies_decide,
            id="an administrator denies what comes, without any other group",
        ),
        pytest.param(
            [group(egress=[{"ports": [HTTP]}]), cluster_group(egress=[{"action": "Deny", "ports": [HTTP]}])],
            policies_decide,
            nothing,
            id="an administrator denies what a group allows alone",
        ),
        pytest.param(
            [cluster_group(egress=[{"action": "Deny", "ports": [HTTP]}, {"ports": [{"protocol": "UDP"}]}])],
            policies_decide,
            lambda packet: packet.protocol == "UDP",
            id="an administrator decides what goes",
        ),
        pytest.param(
            [cluster_group(ingress=[{"ports": [HTTP]}])], http, policies_decide, id="an administrator lets in"
        ),
    ],
)
async def test_each_of_both_has_to_let_it_pass(
    checked: Checked, groups: list[AnyGroup], incoming: Verdict, outgoing: Verdict
) -> None:
    def right(packet: Packet) -> bool:
        leaves, arrives = oracle.leaves(packet), oracle.arrives(packet)
        if packet.source.key == "x/a" and (said := outgoing(packet)) is not None:
            leaves = said
        if packet.target.key == "x/a" and (said := incoming(packet)) is not None:
            arrives = said
        return leaves and arrives

    among, graph, oracle = endpoints(), graph_of(), Oracle(POLICIES, NAMESPACE_LABELS)
    for manifest in POLICIES:
        put(graph, manifest)
    for one in groups:
        graph.put(GROUPS if one.namespace else CLUSTER_GROUPS, ObjectKey.of(one), one)
    further = [row for one in groups for row in graph.peek(partial(compile_group, ObjectKey.of(one))).rows or ()]
    rows = rows_of(graph, map(port_of, among), POLICIES, further)
    assert await checked.wrong("both", rows, right, packets(POLICIES, among)) == []
