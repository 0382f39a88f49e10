"""Admission and conditions are of one mind about Subnets, and admission is decided on what would be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.api import ClusterSubnet, ClusterVpc, ProviderNetwork, Subnet, Vpc
from virtnet.engine.candidate import Candidate
from virtnet.engine.feature import Feature, Invalid
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features import FEATURES
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.obstacles import obstacle
from virtnet.features.places import PLACES
from virtnet.features.sources import SUBNETS, AnySubnet, subnets_of
from virtnet.features.subnet_check import check_subnet

KINDS = {feature.kind: feature for feature in FEATURES}
CIDRS = ("10.0.0.0/24", "10.0.0.128/25", "10.0.1.0/24", "10.0.0.0/16", "fd00::/64")


def candidate(graph: Graph, value: AnySubnet) -> Candidate:
    feature: Feature = KINDS[type(value).__name__]
    held = {feature.collection, *feature.check_reads}
    return Candidate(graph, feature.collection, ObjectKey.of(value), value, held)


def subnet(name: str, cidr: str, vpc: str, **spec: Any) -> Subnet:
    metadata = {"name": name, "namespace": "demo", "uid": name}
    whole = {"vpc": {"kind": "Vpc", "name": vpc}, "cidrs": [cidr], **spec}
    return Subnet.parse({"metadata": metadata, "spec": whole})


def underlay(name: str, cidr: str, vpc: str, vlan: int) -> ClusterSubnet:
    spec = {"vpc": {"kind": "ClusterVpc", "name": vpc}, "cidrs": [cidr], "providerNetwork": "lan", "vlan": vlan}
    return ClusterSubnet.parse({"metadata": {"name": name, "uid": name}, "spec": spec})


NAMES, VPC_NAMES = st.sampled_from("abcd"), st.sampled_from("xy")
WRITTEN = st.lists(
    st.one_of(
        st.builds(subnet, NAMES, st.sampled_from(CIDRS), VPC_NAMES),
        st.builds(subnet, NAMES, st.just("10.0.0.0/24"), VPC_NAMES, excludes=st.just(["10.9.0.1"])),
        st.builds(underlay, NAMES, st.sampled_from(CIDRS), VPC_NAMES, st.sampled_from((0, 5))),
    ),
    max_size=8,
)


def world() -> Graph:
    graph = Graph()
    for name in "xy":
        for vpc in (
            Vpc.parse({"metadata": {"name": name, "namespace": "demo"}}),
            ClusterVpc.parse({"metadata": {"name": name}}),
        ):
            graph.put(KINDS[type(vpc).__name__].collection, ObjectKey.of(vpc), vpc)
    lan = ProviderNetwork.parse({"metadata": {"name": "lan"}, "spec": {"defaultNic": "eth1"}})
    graph.put(KINDS["ProviderNetwork"].collection, ObjectKey.of(lan), lan)
    return graph


@given(written=WRITTEN)
def test_what_is_admitted_has_no_obstacle_and_what_has_one_is_refused_in_its_words(written: list[AnySubnet]) -> None:
    """Written one after another; who is refused leaves no trace."""
    graph = world()
    for value in written:
        key = ObjectKey.of(value)
        if graph.objects(subnets_of(key.kind)).get(key) is not None:
            continue
        seen = candidate(graph, value)
        found = seen.derive(obstacle, key)
        if found is not None:
            with pytest.raises(Invalid) as refusal:
                check_subnet(value, None, seen)
            assert (str(refusal.value), refusal.value.code) == (f"{value.ref}: {found.message}", found.code)
            continue
        assert check_subnet(value, None, seen) == ()
        made = value.metadata.model_copy(update={"creation_timestamp": datetime(2026, 1, 1, tzinfo=UTC)})
        graph.put(subnets_of(key.kind), key, value.model_copy(update={"metadata": made}))
        for collection in (subnets_of("Subnet"), subnets_of("ClusterSubnet")):
            for one in list(graph.objects(collection).keys()):
                assert graph.derived(obstacle, one) is None


def test_what_may_come_later_is_a_warning() -> None:
    value = subnet("blue", "10.0.0.0/24", "later")
    seen = candidate(Graph(), value)
    message = "Vpc demo/later does not exist; create it, or make the Subnet anew in another Vpc"
    assert check_subnet(value, None, seen) == (f"Subnet demo/blue: {message}",)
    read_by_key = {str(key) for _, key in seen.read_by_key}
    assert "Vpc/demo/later" in read_by_key
    assert "Subnet/demo/blue" not in read_by_key
    assert check_subnet(value, subnet("blue", "10.0.0.0/24", "later", mtu=1400), seen) == ()


def test_a_candidate_is_seen_by_every_question_and_only_there() -> None:
    graph, new = Graph(), subnet("blue", "10.0.0.0/24", "y")
    old, key = subnet("blue", "10.0.0.0/24", "x"), ObjectKey.of(new)
    graph.put(SUBNETS, key, old)
    seen = candidate(graph, new)
    vpcs = {name: ObjectKey("Vpc", "demo", name) for name in "xy"}

    def answers(reader: Reader) -> list[Any]:
        return [reader.get(SUBNETS, key), reader.whole(SUBNETS, key), list(reader.every(SUBNETS))]

    def uids(reader: Reader) -> list[list[str]]:
        """Those of what lies in each Vpc: parts of Subnets, which are a collection of their own."""
        return [[place.uid for place in reader.by(PLACES, "vpc", vpc)] for vpc in vpcs.values()]

    assert (answers(seen), uids(seen)) == ([new, new, [new]], [[], ["blue"]])
    assert (graph.peek(answers), graph.peek(uids)) == ([old, old, [old]], [["blue"], []])


def test_a_check_reads_nothing_that_is_not_watched() -> None:
    with pytest.raises(LookupError, match="check_reads"):
        candidate(Graph(), subnet("blue", "10.0.0.0/24", "x")).every(NODE_NETWORKS)
