"""What an underlay becomes in OVN: a switch that is a part of a physical network."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.topology.samples import NOWHERE, Range, map_of, port, subnet, text_of, underlay
from virtnet.api import ClusterSubnet, Subnet
from virtnet.topology.compile import port_rows, subnet_rows
from virtnet.topology.difference import difference
from virtnet.topology.rows import Key, Parent, Row, Update
from virtnet.topology.switch import VpcNeighbours
from virtnet.topology.tables import TABLES, ColumnType

SWITCH = Key("Logical_Switch", "ClusterSubnet/lan")
LOCALNET = Key("Logical_Switch_Port", "ClusterSubnet/lan:localnet")
ROUTER = Key("Logical_Router_Port", "ClusterSubnet/lan:gateway")
DHCP = Key("DHCP_Options", "ClusterSubnet/lan:v4")
OVERLAYS = VpcNeighbours.of([subnet("blue", "10.10.0.0/24"), subnet("red", "10.20.0.0/16")])


def rows_of(of: Subnet | ClusterSubnet, neighbours: VpcNeighbours = OVERLAYS) -> dict[Key, Row]:
    return {row.key: row for row in subnet_rows(of, Range.of(of), neighbours)}


def dhcp(**spec: Any) -> Mapping[str, str]:
    return map_of(rows_of(underlay(**spec))[DHCP], "options")


@pytest.mark.parametrize(("vlan", "tag"), [(100, 100), (4094, 4094), (0, None)])
def test_localnet_port_carries_the_vlan(vlan: int, tag: int | None) -> None:
    row = rows_of(underlay(vlan=vlan))[LOCALNET]
    assert row.parent == Parent(SWITCH, "ports")
    assert (row.columns["type"], row.columns["addresses"], row.columns["tag"]) == (
        "localnet",
        frozenset({"unknown"}),
        tag,
    )
    assert row.columns["options"] == {"network_name": "rack"}


@pytest.mark.parametrize(
    ("spec", "networks"),
    [
        pytest.param({}, None, id="physical gateway: the router stays out"),
        pytest.param({"gateways": ["10.66.0.254"]}, None, id="physical gateway of the user's choice"),
        pytest.param({"logicalGateway": True}, "10.66.0.1/24", id="the router is the gateway"),
        pytest.param(
            {"logicalGateway": True, "gateways": ["10.66.0.254"]}, "10.66.0.254/24", id="at an address of choice"
        ),
        pytest.param({"routerAddresses": ["10.66.0.2"]}, "10.66.0.2/24", id="beside the physical gateway"),
    ],
)
def test_router_never_claims_the_physical_gateway(spec: dict[str, Any], networks: str | None) -> None:
    row = rows_of(underlay(**spec)).get(ROUTER)
    assert (row.columns["networks"] if row else None) == (frozenset({networks}) if networks else None)


@pytest.mark.parametrize(
    ("spec", "router", "routes"),
    [
        pytest.param({}, "10.66.0.1", None, id="nothing but the physical gateway"),
        pytest.param({"logicalGateway": True}, "10.66.0.1", None, id="the router knows the way to all"),
        pytest.param(
            {"routerAddresses": ["10.66.0.2"]},
            "10.66.0.1",
            "{10.10.0.0/24,10.66.0.2, 10.20.0.0/16,10.66.0.2, 0.0.0.0/0,10.66.0.1}",
            id="overlays by the router, all else by the physical gateway",
        ),
        pytest.param(
            {"routerAddresses": ["10.66.0.2"], "routes": [{"destination": "10.20.0.0/16", "gateway": "10.66.0.9"}]},
            "10.66.0.1",
            "{10.20.0.0/16,10.66.0.9, 10.10.0.0/24,10.66.0.2, 0.0.0.0/0,10.66.0.1}",
            id="a route of the user's own stands",
        ),
    ],
)
def test_guests_learn_the_ways(spec: dict[str, Any], router: str, routes: str | None) -> None:
    options = dhcp(**spec)
    assert (options["router"], options.get("classless_static_route")) == (router, routes)


def test_networks_side_by_side_are_one_route() -> None:
    of = underlay(routerAddresses=["10.66.0.2"])
    found = of.spec.guest_routes(["10.10.0.0/24", "10.10.1.0/24", "fd00::/64"])
    assert [(route.destination, route.gateway) for route in found] == [("10.10.0.0/23", "10.66.0.2")]


def test_what_the_router_does_not_lead_to_is_not_told() -> None:
    neighbours = VpcNeighbours.of([subnet("blue", "10.10.0.0/24"), underlay("cut-off", "10.77.0.0/24", mtu=9000)])
    assert neighbours == VpcNeighbours(("10.10.0.0/24",), 1442)


@pytest.mark.parametrize(
    ("mtu", "others_mtu", "expected"),
    [(1442, 1500, {"gateway_mtu": "1442"}), (1500, 1442, {}), (1500, 1500, {}), (1500, 0, {})],
)
def test_router_tells_senders_of_a_smaller_mtu(mtu: int, others_mtu: int, expected: dict[str, str]) -> None:
    of = underlay(logicalGateway=True, mtu=mtu)
    assert rows_of(of, VpcNeighbours(mtu=others_mtu))[ROUTER].columns["options"] == expected


@pytest.mark.parametrize(
    ("spec", "address"),
    [({}, None), ({"logicalGateway": True}, "10.66.0.1"), ({"routerAddresses": ["10.66.0.2"]}, "10.66.0.2")],
)
def test_router_is_silent_outside(spec: dict[str, Any], address: str | None) -> None:
    rows = rows_of(underlay(**spec))
    found = {row.columns["direction"]: row for key, row in rows.items() if ":unask" in key.id}
    assert found.keys() == ({"from-lport", "to-lport"} if address else set())
    for row in found.values():
        assert (row.columns["action"], row.parent) == ("drop", Parent(SWITCH, "acls"))
        assert str(address) in text_of(row, "match")
        assert "ClusterSubnet/lan:localnet" in text_of(row, "match")


def test_an_overlay_has_no_part_of_it() -> None:
    of = subnet()
    tables = {row.key.table for row in subnet_rows(of, Range.of(of))}
    assert tables == {"Logical_Switch", "Logical_Router_Port", "Logical_Switch_Port", "DHCP_Options", "ACL"}


@pytest.mark.parametrize(("spec", "mtu"), [({}, "1500"), ({"mtu": 9000}, "9000")])
def test_mtu_is_the_physical_networks(spec: dict[str, Any], mtu: str) -> None:
    assert dhcp(**spec)["mtu"] == mtu


@pytest.mark.parametrize(
    ("multicast", "spec", "config"),
    [
        pytest.param({}, {}, {}, id="flooded"),
        pytest.param(
            {"snooping": True}, {}, {"mcast_snoop": "true", "mcast_querier": "false"}, id="somebody outside asks"
        ),
        pytest.param(
            {"snooping": True, "querier": True},
            {"routerAddresses": ["10.66.0.2"]},
            {"mcast_snoop": "true", "mcast_querier": "true", "mcast_ip4_src": "10.66.0.2"},
            id="the router asks",
        ),
        pytest.param(
            {"snooping": True, "querier": True, "querierAddress": "10.66.0.3"},
            {},
            {"mcast_snoop": "true", "mcast_querier": "true", "mcast_ip4_src": "10.66.0.3"},
            id="an address of its own asks",
        ),
        pytest.param(
            {"snooping": True, "querier": True, "querierAddress": "fd00:66::3"},
            {"routerAddresses": ["10.66.0.2"]},
            {"mcast_snoop": "true", "mcast_querier": "true", "mcast_ip4_src": "10.66.0.2"},
            id="the router asks where the address is in IPv6, as it could once be written",
        ),
        pytest.param(
            {"snooping": True, "querier": True},
            {},
            {"mcast_snoop": "true", "mcast_querier": "false"},
            id="never in the name of the physical gateway",
        ),
    ],
)
def test_multicast(multicast: dict[str, Any], spec: dict[str, Any], config: dict[str, str]) -> None:
    rows = rows_of(underlay(multicast=multicast, **spec))
    found = dict(map_of(rows[SWITCH], "other_config"))
    if "mcast_ip4_src" in found:
        assert found.pop("mcast_eth_src").startswith("0a:")
        assert found.pop("mcast_ip6_src").startswith("fe80::8")
    assert found == config
    flood = map_of(rows[LOCALNET], "options").keys() & {"mcast_flood", "mcast_flood_reports"}
    assert len(flood) == (2 if config else 0)


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        pytest.param({"vlan": 200}, {"tag"}, id="vlan"),
        pytest.param({"vlan": 0}, {"tag"}, id="untagged"),
        pytest.param({"providerNetwork": "other"}, {"options"}, id="network"),
    ],
)
def test_a_change_at_run_time_is_one_of_the_localnet_port_alone(change: dict[str, Any], columns: set[str]) -> None:
    (update,) = difference(rows_of(underlay(**change)).values(), rows_of(underlay()).values())
    assert isinstance(update, Update)
    assert (update.key, set(update.columns)) == (LOCALNET, columns)


def test_ports_are_as_in_an_overlay() -> None:
    of = underlay()
    (row,) = port_rows(port(of, 10), of, NOWHERE)
    assert row.parent == Parent(SWITCH, "ports")
    assert row.columns["addresses"] == row.columns["port_security"] == frozenset({"02:76:6e:03:00:0a 10.66.0.10"})


def test_compilers_set_only_what_is_declared() -> None:
    of = underlay(routerAddresses=["10.66.0.2"], multicast={"snooping": True, "querier": True})
    for row in rows_of(of).values():
        table = TABLES[row.key.table]
        assert row.columns.keys() <= table.columns.keys()
        for column in row.columns:
            if table.columns[column] is ColumnType.MAP:
                assert all(table.owns(column, name) for name in map_of(row, column)), column
