"""What each kind of object becomes in OVN."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.topology.samples import NOWHERE, VPC, Range, map_of, port, subnet, text_of
from virtnet.api import ClusterSubnet, Subnet, Vpc
from virtnet.api.grammar import Ungrammatical
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.chassis import read_chassis
from virtnet.topology.compile import has_own_dhcp4, port_dhcp4_rows, port_rows, subnet_rows, vpc_rows
from virtnet.topology.names import port_key
from virtnet.topology.rows import Key, Parent, Ref, Row
from virtnet.topology.switch import NO_NEIGHBOURS
from virtnet.topology.tables import TABLES, ColumnType

BLUE = subnet()


def rows_of(of: Subnet | ClusterSubnet) -> dict[Key, Row]:
    return {row.key: row for row in subnet_rows(of, Range.of(of))}


def dhcp(**spec: Any) -> Mapping[str, str]:
    of = subnet(**spec)
    return map_of(rows_of(of)[Key("DHCP_Options", "Subnet/demo/blue:v4")], "options")


def test_vpc_is_a_router() -> None:
    (row,) = vpc_rows(VPC)
    assert row.columns["name"] == "virtnet:ClusterVpc/default"
    assert row.parent is None


def test_scopes_do_not_clash() -> None:
    tenant = Vpc.parse({"metadata": {"name": "default", "namespace": "demo"}})
    assert vpc_rows(tenant)[0].columns["name"] == "virtnet:Vpc/demo/default"


def test_subnet_hangs_on_the_router_of_its_vpc() -> None:
    of = subnet(vpc={"kind": "Vpc", "name": "lab"}, gateways=["10.10.0.254"])
    gateway = rows_of(of)[Key("Logical_Router_Port", "Subnet/demo/blue:gateway")]
    assert gateway.parent == Parent(Key("Logical_Router", "Vpc/demo/lab"), "ports")
    assert gateway.columns["networks"] == frozenset({"10.10.0.254/24"})


def test_switch_and_router_are_joined() -> None:
    rows = rows_of(BLUE)
    gateway = rows[Key("Logical_Router_Port", "Subnet/demo/blue:gateway")]
    uplink = rows[Key("Logical_Switch_Port", "Subnet/demo/blue:router")]
    assert uplink.columns["options"] == {"router-port": gateway.columns["name"]}
    assert (uplink.columns["type"], uplink.columns["addresses"]) == ("router", frozenset({"router"}))
    assert uplink.parent == Parent(Key("Logical_Switch", "Subnet/demo/blue"), "ports")


def test_router_mac_is_stable_local_and_never_a_nics() -> None:
    macs = [text_of(rows_of(BLUE)[Key("Logical_Router_Port", "Subnet/demo/blue:gateway")], "mac") for _ in range(2)]
    other = text_of(rows_of(subnet("red"))[Key("Logical_Router_Port", "Subnet/demo/red:gateway")], "mac")
    assert macs[0] == macs[1] != other
    assert macs[0].startswith("0a:")


def test_cluster_subnet_compiles_as_a_subnet_does() -> None:
    lan = ClusterSubnet.parse({"metadata": {"name": "lan"}, "spec": {"cidrs": ["10.20.0.0/16"]}})
    assert {key.origin for key in rows_of(lan)} == {"ClusterSubnet/lan"}


def test_dhcp_options_of_a_plain_subnet() -> None:
    mac = rows_of(BLUE)[Key("Logical_Router_Port", "Subnet/demo/blue:gateway")].columns["mac"]
    assert dhcp() == {
        "server_id": "10.10.0.1",
        "server_mac": mac,
        "router": "10.10.0.1",
        "lease_time": "3600",
        "mtu": "1442",
    }


def test_dns_is_told() -> None:
    options = dhcp(dns={"servers": ["10.10.0.2", "10.10.0.3"], "domain": "demo.example"})
    assert options["dns_server"] == "{10.10.0.2, 10.10.0.3}"
    assert options["domain_name"] == '"demo.example"'


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        pytest.param(
            [{"destination": "192.168.0.0/16", "gateway": "10.10.0.9"}],
            "{192.168.0.0/16,10.10.0.9, 0.0.0.0/0,10.10.0.1}",
            id="the default route comes along, since clients then ignore the router option",
        ),
        pytest.param(
            [{"destination": "0.0.0.0/0", "gateway": "10.10.0.9"}],
            "{0.0.0.0/0,10.10.0.9}",
            id="a default route of the user's own stands",
        ),
    ],
)
def test_routes_are_told(routes: list[dict[str, str]], expected: str | None) -> None:
    assert dhcp(routes=routes)["classless_static_route"] == expected


FAR = {"destination": "192.168.0.0/16", "gateway": "10.10.0.9"}
NEAR = {"destination": "192.168.0.0/16", "gateway": "10.10.0.8"}
DEFAULT = {"destination": "0.0.0.0/0", "gateway": "10.10.0.7"}


@pytest.mark.parametrize(
    ("shared", "spec", "router", "expected"),
    [
        pytest.param([], {"defaultRoute": False}, None, None, id="no default route"),
        pytest.param([], {"routes": [FAR]}, "10.10.0.1", "{192.168.0.0/16,10.10.0.9, 0.0.0.0/0,10.10.0.1}", id="its own"),
        pytest.param([], {"routes": [FAR], "defaultRoute": False}, None, "{192.168.0.0/16,10.10.0.9}", id="its own only"),
        pytest.param([NEAR], {"routes": [FAR], "defaultRoute": False}, None, "{192.168.0.0/16,10.10.0.9}", id="its own before its Subnet's"),
        pytest.param([NEAR], {"defaultRoute": False}, None, "{192.168.0.0/16,10.10.0.8}", id="its Subnet's"),
        pytest.param([DEFAULT], {"defaultRoute": False}, None, None, id="not even its Subnet's own default route"),
        pytest.param([], {"routes": [DEFAULT], "defaultRoute": False}, "10.10.0.7", "{0.0.0.0/0,10.10.0.7}", id="another router"),
        pytest.param([NEAR], {"addresses": ["10.10.0.8"]}, "10.10.0.1", None, id="the next hop itself"),
    ],
)  # fmt: skip
def test_a_nic_with_routes_of_its_own_has_options_of_its_own(
    shared: list[dict[str, str]], spec: dict[str, Any], router: str | None, expected: str | None
) -> None:
    of = subnet(routes=shared)
    nic = port(of, 10)
    nic = nic.parse(nic.manifest() | {"spec": nic.manifest()["spec"] | spec})
    (row,) = port_dhcp4_rows(nic, of, Range.of(of), NO_NEIGHBOURS)
    options = map_of(row, "options")
    assert (options.get("router"), options.get("classless_static_route")) == (router, expected)
    (lsp,) = port_rows(nic, of, NOWHERE)
    assert lsp.columns["dhcpv4_options"] == Ref(row.key)
    assert row.key.origin == lsp.key.origin, "they come and go together"


def test_other_nics_share_their_subnets_options() -> None:
    of = subnet(routes=[FAR])
    assert not has_own_dhcp4(port(of, 10), of)


def test_no_option_is_longer_than_it_may_be() -> None:
    """Admission refuses such a Subnet; one that came past it must not make OVN write nonsense."""
    routes = [{"destination": f"192.168.{n}.0/24", "gateway": "10.10.0.9"} for n in range(64)]
    routes_sent = dhcp(routes=routes)["classless_static_route"].strip("{}").split(", ")
    assert (len(routes_sent), routes_sent[-1]) == (32, "0.0.0.0/0,10.10.0.1")


DUAL: dict[str, Any] = {
    "cidr": "10.10.0.0/24 fd10::/64",
    "dns": {"servers": ["10.10.0.2", "fd10::2"], "domain": "demo.example"},
}


def test_a_second_family_has_options_and_advertisements_of_its_own() -> None:
    of = subnet(**DUAL)
    rows = rows_of(of)
    router = rows[Key("Logical_Router_Port", "Subnet/demo/blue:gateway")]
    six = rows[Key("DHCP_Options", "Subnet/demo/blue:v6")]
    assert six.columns["cidr"] == "fd10::/64"
    assert six.columns["options"] == {
        "server_id": router.columns["mac"], "dns_server": "{fd10::2}", "domain_search": '"demo.example"',
    }  # fmt: skip
    assert router.columns["networks"] == frozenset({"10.10.0.1/24", "fd10::1/64"})
    assert router.columns["ipv6_ra_configs"] == {
        "address_mode": "dhcpv6_stateful", "send_periodic": "true", "mtu": "1442",
        "rdnss": "fd10::2", "dnssl": "demo.example",
    }  # fmt: skip
    (row,) = port_rows(port(of, 10), of, NOWHERE)
    assert row.columns["dhcpv6_options"] == Ref(six.key)


def test_ipv6_alone_has_no_dhcpv4() -> None:
    of = subnet(cidr="fd10::/64")
    (row,) = port_rows(port(of, 10), of, NOWHERE)
    assert row.columns["dhcpv4_options"] is None
    assert [key.id for key in rows_of(of) if key.table == "DHCP_Options"] == ["Subnet/demo/blue:v6"]


@pytest.mark.parametrize("spec", [{}, {"cidr": DUAL["cidr"], "dhcp": {"enabled": False}}])
def test_nothing_is_advertised_without_ipv6_or_dhcp(spec: dict[str, Any]) -> None:
    of = subnet(**spec)
    rows = rows_of(of)
    assert rows[Key("Logical_Router_Port", "Subnet/demo/blue:gateway")].columns["ipv6_ra_configs"] == {}
    assert Key("DHCP_Options", "Subnet/demo/blue:v6") not in rows


def test_without_dhcp_there_are_no_options() -> None:
    quiet = subnet(dhcp={"enabled": False})
    assert not [key for key in rows_of(quiet) if key.table == "DHCP_Options"]
    (row,) = port_rows(port(quiet, 10), quiet, NOWHERE)
    assert row.columns["dhcpv4_options"] is None


def test_port_is_named_after_the_nic_and_bound_to_its_addresses() -> None:
    (row,) = port_rows(port(BLUE, 10), BLUE, NOWHERE)
    assert row.key == port_key("demo/vm10.net")
    assert row.columns["name"] == "demo/vm10.net"
    assert row.columns["addresses"] == row.columns["port_security"] == frozenset({"02:76:6e:04:00:0a 10.10.0.10"})
    assert row.columns["dhcpv4_options"] == Ref(Key("DHCP_Options", "Subnet/demo/blue:v4"))
    assert row.columns["options"] == {}
    assert row.columns["external_ids"] == {
        "virtnet/owner": "virtnet",
        "virtnet/id": "Port/demo/vm10.net",
        "virtnet/kind": "Port",
    }


@pytest.mark.parametrize(
    "chassis",
    [
        pytest.param(NOWHERE, id="nowhere"),
        pytest.param(ChassisOptions(requested=("one",)), id="one"),
        pytest.param(
            ChassisOptions(requested=("one", "two"), strategy="rarp", journal={"state": "Armed", "source": "n1"}),
            id="both",
        ),
    ],
)
def test_chassis_options_are_read_back_as_written(chassis: ChassisOptions) -> None:
    (row,) = port_rows(port(BLUE, 10), BLUE, chassis)
    assert read_chassis(row, ChassisOptions) == chassis


def test_handoff_lies_in_the_row() -> None:
    chassis = ChassisOptions(requested=("one", "two"), strategy="rarp", journal={"state": "Armed"})
    (row,) = port_rows(port(BLUE, 10), BLUE, chassis)
    assert row.columns["options"] == {"requested-chassis": "one,two", "activation-strategy": "rarp"}
    assert map_of(row, "external_ids")["virtnet/handoff-state"] == "Armed"


def test_compilers_set_only_what_is_declared() -> None:
    chassis = ChassisOptions(requested=("one",), strategy="rarp", journal={"state": "Armed"})
    full = subnet(
        dns={"servers": ["10.10.0.2"], "domain": "x"}, routes=[{"destination": "1.0.0.0/8", "gateway": "10.10.0.9"}]
    )
    for row in [*vpc_rows(VPC), *rows_of(full).values(), *port_rows(port(full, 10), full, chassis)]:
        table = TABLES[row.key.table]
        assert row.columns.keys() <= table.columns.keys()
        for column in row.columns:
            if table.columns[column] is ColumnType.MAP:
                assert all(table.owns(column, name) for name in map_of(row, column)), column


@pytest.mark.parametrize(
    "update",
    [
        {"addresses": ("0.0.0.0/1", "128.0.0.0/1")},
        {"addresses": ("10.10.0.5/24",)},
        {"addresses": ()},
        {"addresses": ("unknown",)},
        {"mac_address": "unknown"},
        {"mac_address": "ff:ff:ff:ff:ff:ff"},
    ],
    ids=str,
)
def test_a_port_of_more_than_one_host_is_not_compiled(update: dict[str, Any]) -> None:
    """However it got past its schema: port security would be that wide, and without an address there is none."""
    known = port(BLUE, 5)
    wide = known.model_copy(update={"spec": known.spec.model_copy(update=update)})
    with pytest.raises(Ungrammatical, match=next(iter(update)).partition("_")[0]):
        port_rows(wide, BLUE, NOWHERE)
