"""A ClusterSubnet whose guests the site gives their addresses, through everything that is decided about Subnets and Ports."""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.samples import NOWHERE, port, subnet, underlay
from virtnet.addressing.held import HeldAddress
from virtnet.api import ClusterSubnet, ClusterVpc, Port, ProviderNetwork, Subnet
from virtnet.api.grammar import Ungrammatical
from virtnet.engine.candidate import Candidate
from virtnet.engine.graph import Graph
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome, Report, status_after
from virtnet.features import FEATURES
from virtnet.features.leases import leases_of
from virtnet.features.sources import LEASES
from virtnet.features.subnet_check import check_subnet
from virtnet.topology.compile import port_rows, subnet_rows
from virtnet.topology.rows import Row

KINDS = {feature.kind: feature for feature in FEATURES}
SITE: dict[str, Any] = {"cidrs": [], "dhcp": {"enabled": False}}
CONFIGURED = st.fixed_dictionaries(
    {},
    optional={
        "vlan": st.sampled_from((0, 200)),
        "mtu": st.sampled_from((576, 1500, 9000)),
        "conflictDetection": st.booleans(),
        "routers": st.just(["demo/vm10"]),
        "multicast": st.booleans().map(lambda querier: {"snooping": True, "querier": querier}),
        "qosPolicy": st.just({"kind": "ClusterQosPolicy", "name": "gold"}),
        "dns": st.just({"servers": ["10.0.0.2"], "domain": "demo.example"}),
        "cooldownSeconds": st.integers(0, 86400),
    },
)


def site(**spec: Any) -> ClusterSubnet:
    return underlay("site", **{**SITE, "vlan": 200, **spec})


def world(*objects: ClusterSubnet | Subnet | Port) -> Graph:
    """These, on a physical network, in the default Vpc; Ports have their leases."""
    graph = Graph()
    rack = ProviderNetwork.parse({"metadata": {"name": "rack"}, "spec": {"defaultNic": "eth1"}})
    for one in (ClusterVpc.parse({"metadata": {"name": "default"}}), rack, *objects):
        graph.put(KINDS[type(one).__name__].collection, ObjectKey.of(one), one)
        for lease in map(HeldAddress.of_lease, leases_of(one.key, one.spec).values() if isinstance(one, Port) else ()):
            graph.put(LEASES, LEASES.key(lease.name), lease)
    return graph


def compiled(graph: Graph, one: ClusterSubnet | Subnet | Port) -> Outcome:
    compiler = KINDS[type(one).__name__].compile
    assert compiler
    return graph.peek(partial(compiler, ObjectKey.of(one)))


def reported(graph: Graph, one: ClusterSubnet | Subnet | Port) -> Report:
    reporter = KINDS[type(one).__name__].report
    assert reporter
    found = graph.peek(partial(reporter, ObjectKey.of(one)))
    assert found
    return found


def rows_of(graph: Graph, objects: Sequence[ClusterSubnet | Subnet | Port]) -> list[Row]:
    """The rows of objects, whose reports are made, too."""
    assert all(reported(graph, one) for one in objects)
    return [row for one in objects for row in compiled(graph, one).rows or ()]


def text(rows: Iterable[Row]) -> list[str]:
    return sorted(map(repr, rows))


@given(spec=CONFIGURED, beside=CONFIGURED)
def test_it_gives_no_addresses_and_changes_nothing_for_those_beside_it(
    spec: dict[str, Any], beside: dict[str, Any]
) -> None:
    of, lan = site(**spec), underlay("lan", routerAddresses=["10.66.0.2"], **beside)
    blue = subnet()
    others = (blue, lan, port(blue, 10), port(lan, 11))
    own = (of, port(of, 12))
    rows = rows_of(world(*own, *others), own)
    assert not {row.key.table for row in rows} & {"DHCP_Options", "Logical_Router_Port"}
    assert text(rows_of(world(*own, *others), others)) == text(rows_of(world(*others), others))


@given(spec=CONFIGURED)
def test_it_is_admitted_as_it_is_compiled(spec: dict[str, Any]) -> None:
    of, graph = site(**spec), world()
    feature = KINDS["ClusterSubnet"]
    seen = Candidate(graph, feature.collection, ObjectKey.of(of), of, {feature.collection, *feature.check_reads})
    assert check_subnet(of, None, seen) == ()


def test_its_ports_send_from_their_mac_alone_and_nobody_answers_their_dhcp() -> None:
    of = site()
    (row,) = port_rows(port(of, 10), of, NOWHERE)
    assert row.columns["addresses"] == frozenset({"02:76:6e:04:00:0a"})
    assert row.columns["port_security"] == frozenset({"02:76:6e:04:00:0a", "02:76:6e:04:00:0a 0.0.0.0/0 ::/0"})
    assert row.columns["dhcpv4_options"] is row.columns["dhcpv6_options"] is None


def test_a_port_without_addresses_is_none_elsewhere() -> None:
    """Neither is it written, nor does what its guest has go."""
    of = underlay()
    whole = port(of, 10)
    bare = whole.model_copy(update={"spec": whole.spec.model_copy(update={"addresses": ()})})
    with pytest.raises(Ungrammatical, match=r"addresses: none; a NIC has one of 10\.66\.0\.0/24"):
        port_rows(bare, of, NOWHERE)
    graph = world(of, bare)
    assert compiled(graph, bare).rows is None
    (state, *_) = reported(graph, bare).conditions
    assert (state.reason, state.message) == ("Conflict", "addresses: none; a NIC has one of 10.66.0.0/24")


def test_its_status_counts_nics_and_is_never_full() -> None:
    of = site()
    graph = world(of, *(port(of, number) for number in range(1, 40)))
    told = status_after(of, reported(graph, of)).model_dump(by_alias=True)
    assert (told["capacity"], told["used"], told["available"], told["gateways"]) == (None, 39, None, ())
    assert [one["type"] for one in told["conditions"]] == ["Ready"]


@pytest.mark.parametrize("querier", [True, False])
def test_nobody_of_ours_asks_for_multicast_reports(querier: bool) -> None:
    (switch, *_) = subnet_rows(site(multicast={"snooping": True, "querier": querier}), ())
    assert switch.columns["other_config"] == {"mcast_snoop": "true", "mcast_querier": "false"}
