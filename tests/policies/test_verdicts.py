"""What OVN lets pass of policies' rows is what Kubernetes says of their manifests, for every pair of pods."""

from collections.abc import Iterable

import pytest

from tests.policies.cases import FAMILIES, Case, of
from tests.policies.conftest import Checked, packets
from tests.policies.oracle import Manifest, Oracle
from tests.policies.world import NAMESPACE_LABELS, endpoints, graph_of, port_of, put, rows_of

pytestmark = pytest.mark.system


async def wrong_of(checked: Checked, cases: Iterable[Case], network: str = "") -> list[str]:
    among, graph = endpoints(network), graph_of(network)
    ports = [port_of(one) for one in among]
    wrong: list[str] = []
    for case in cases:
        for one in case.policies:
            put(graph, one)
        rows, oracle = rows_of(graph, ports, case.policies), Oracle(case.policies, NAMESPACE_LABELS)
        wrong += await checked.wrong(case.name, rows, oracle.passes, packets(case.policies, among))
        for one in case.policies:
            put(graph, one, gone=True)
    return wrong


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_passes_is_what_kubernetes_says(checked: Checked, family: str) -> None:
    assert await wrong_of(checked, FAMILIES[family]) == []


def for_blue(policy: Manifest) -> Manifest:
    """The same of a network's NICs."""
    annotations = {"k8s.v1.cni.cncf.io/policy-for": "other, x/blue"}
    return {**policy, "kind": "MultiNetworkPolicy", "metadata": {**policy["metadata"], "annotations": annotations}}


async def test_policies_for_networks_say_the_same_of_their_nics(checked: Checked) -> None:
    """A NetworkPolicy beside them says nothing of these, nor does one that names no network."""
    pod_network = of("Ingress", "pod-network", [])
    nowhere = {**of("Egress", "nowhere", []), "kind": "MultiNetworkPolicy"}
    cases = [
        Case(one.name, (*map(for_blue, one.policies), pod_network, nowhere))
        for family in ("directions", "together")
        for one in FAMILIES[family]
    ]
    assert await wrong_of(checked, cases, "x/blue") == []
