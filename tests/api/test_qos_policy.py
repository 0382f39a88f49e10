"""What the API server refuses of QosPolicies and of Subnets that name one."""

from typing import Any

import pytest

from tests.api.test_validation import body
from virtnet.api import ClusterSubnet
from virtnet.api.qos_policy import ClusterQosPolicy, QosPolicy
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Rejected

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"egress": {"rateKbps": 0}}, "spec.egress.rateKbps in body should be greater than or equal to 64"),
        ({"ingress": {"dscp": 64}}, "spec.ingress.dscp in body should be less than or equal to 63"),
        (
            {"egress": {"rateKbps": 1000, "burstKbits": 10001}},
            "egress: burstKbits is for a rateKbps, and at most 10 seconds of it",
        ),
        ({"ingress": {"burstKbits": 100}}, "ingress: burstKbits is for a rateKbps, and at most 10 seconds of it"),
        ({"enforced": True}, "enforced and allowedNamespaces are for a ClusterQosPolicy"),
        ({"allowedNamespaces": ["demo"]}, "enforced and allowedNamespaces are for a ClusterQosPolicy"),
    ],
)
async def test_a_bad_policy_is_refused_with_one_error(
    cluster: Cluster, namespace: str, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(Rejected) as refused:
        await cluster.create(kinds.of(QosPolicy), body(QosPolicy, "gold", **spec), namespace)
    assert message in str(refused.value)


async def test_what_is_meant_is_taken(cluster: Cluster, namespace: str) -> None:
    limit = {"rateKbps": 1000, "burstKbits": 10000, "dscp": 0}
    made = await cluster.create(kinds.of(QosPolicy), body(QosPolicy, "gold", egress=limit, ingress={}), namespace)
    assert QosPolicy.parse(made).spec.egress.burst == 10000
    bare = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "QosPolicy", "metadata": {"name": "free"}}
    await cluster.create(kinds.of(QosPolicy), bare, namespace)
    name = f"all-{namespace}"
    kind = kinds.of(ClusterQosPolicy)
    await cluster.create(kind, body(ClusterQosPolicy, name, enforced=True, allowedNamespaces=[namespace]))
    await cluster.delete(kind, name)


async def test_a_cluster_subnet_names_no_tenants_policy(cluster: Cluster) -> None:
    lan = body(ClusterSubnet, "lan", cidrs=["10.0.0.0/24"], qosPolicy={"name": "gold"})
    with pytest.raises(Rejected, match="the qosPolicy of a ClusterSubnet is a ClusterQosPolicy"):
        await cluster.create(kinds.of(ClusterSubnet), lan)
