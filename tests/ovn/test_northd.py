"""What OVN itself makes of compiled rows: northd accepts them, and the southbound database says who has a port."""

import asyncio

import pytest

from tests.topology.samples import VPC, Range, port, subnet
from virtnet.api import Port
from virtnet.handoff.facts import Binding
from virtnet.handoff.options import ChassisOptions
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.errors import Stale
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound
from virtnet.topology.compile import port_dhcp4_rows, port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.switch import ALONE

pytestmark = pytest.mark.system

BLUE = subnet(
    cidr="10.10.0.0/24 fd10::/64",
    dns={"servers": ["10.10.0.2", "10.10.0.3", "fd10::2"], "domain": "demo.example"},
    routes=[{"destination": "192.168.0.0/16", "gateway": "10.10.0.9"}],
)
RED = subnet("red", "10.20.0.0/16", dhcp={"enabled": False})
BLUE_PORT, RED_PORT = "demo/blue.net", "demo/red.net"
_PLAIN = port(BLUE, 11, "second.net").manifest()
_OWN = {"routes": [{"destination": "172.16.0.0/12", "gateway": "10.10.0.8"}], "defaultRoute": False}
SECOND = Port.parse({**_PLAIN, "spec": {**_PLAIN["spec"], **_OWN}})
BOTH = ChassisOptions(("chassis-1", "chassis-2"), "rarp", {"state": "Armed"})


def rows(chassis=None):
    chassis = chassis or ChassisOptions()
    return [
        *vpc_rows(VPC),
        *subnet_rows(BLUE, Range.of(BLUE)),
        *subnet_rows(RED, Range.of(RED)),
        *port_rows(port(BLUE, 10, "blue.net"), BLUE, chassis),
        *port_rows(port(RED, 10, "red.net"), RED, chassis),
        *port_rows(SECOND, BLUE, chassis),
        *port_dhcp4_rows(SECOND, BLUE, Range.of(BLUE), ALONE),
    ]


async def until(holds):
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - what is waited for is not always told
            await asyncio.sleep(0.01)


def add_chassis(ovn: OvnCentral, *names: str) -> None:
    for number, name in enumerate(names, 1):
        ovn.sbctl("chassis-add", name, "geneve", f"10.0.0.{number}")
        ovn.sbctl("set", "Chassis", name, f"hostname=node-{number}")


@pytest.fixture
async def databases(ovn: OvnCentral):
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound, Southbound(ovn.remote("sb")) as southbound:
        await northbound.commit(difference(rows(), []))
        await until(lambda: southbound.binding(BLUE_PORT) and southbound.binding(RED_PORT))
        yield northbound, southbound


async def test_northd_takes_a_topology_without_complaint(databases, ovn):
    ovn.nbctl("--wait=sb", "sync")
    log = ovn.log("northd").read_text()
    assert [line for line in log.splitlines() if "|WARN|" in line or "|ERR|" in line] == []
    flows = ovn.sbctl("lflow-list")
    # ARP for the gateways, and routes between the two Subnets.
    assert "arp.tpa == 10.10.0.1" in flows
    assert "ip4.dst == 10.20.0.0/16" in flows
    assert "ip4.dst == 10.10.0.0/24" in flows


async def test_dhcp_reaches_the_flows(databases, ovn):
    ovn.nbctl("--wait=sb", "sync")
    (offer,) = {
        line.split("put_dhcp_opts", 1)[1].split(";")[0]
        for line in ovn.sbctl("lflow-list").splitlines()
        if "put_dhcp_opts" in line and "demo/blue.net" in line
    }
    for told in (
        "offerip = 10.10.0.10",
        "netmask = 255.255.255.0",
        "mtu = 1442",
        "router = 10.10.0.1",
        "server_id = 10.10.0.1",
        "lease_time = 3600",
        "dns_server = {10.10.0.2, 10.10.0.3}",
        'domain_name = "demo.example"',
        "classless_static_route = {192.168.0.0/16,10.10.0.9, 0.0.0.0/0,10.10.0.1}",
    ):
        assert told in offer
    assert not [line for line in ovn.sbctl("lflow-list").splitlines() if "put_dhcp" in line and "red.net" in line]


async def test_a_nic_with_routes_of_its_own_is_told_these(databases, ovn):
    """And no router, where another NIC of its guest has the default route."""
    ovn.nbctl("--wait=sb", "sync")
    lines = [line for line in ovn.sbctl("lflow-list").splitlines() if "put_dhcp_opts" in line]
    (offer,) = {line.split("put_dhcp_opts", 1)[1].split(";")[0] for line in lines if "demo/second.net" in line}
    assert "classless_static_route = {172.16.0.0/12,10.10.0.8, 192.168.0.0/16,10.10.0.9}" in offer
    assert "offerip = 10.10.0.11" in offer
    assert "router =" not in offer


async def test_dhcpv6_and_advertisements_reach_the_flows(databases, ovn):
    ovn.nbctl("--wait=sb", "sync")
    flows = ovn.sbctl("lflow-list").splitlines()
    mac = next(
        row.columns["mac"] for row in rows() if row.key.id == "Subnet/demo/blue:gateway" and "mac" in row.columns
    )
    (offer,) = {
        line.split("put_dhcpv6_opts", 1)[1].split(";")[0]
        for line in flows
        if "put_dhcpv6_opts" in line and BLUE_PORT in line
    }
    for told in ("ia_addr = fd10::a", f"server_id = {mac}", "dns_server = {fd10::2}", 'domain_search = "demo.example"'):
        assert told in offer
    (advertised,) = {line.split("put_nd_ra_opts", 1)[1].split(";")[0] for line in flows if "put_nd_ra_opts" in line}
    for told in ('addr_mode = "dhcpv6_stateful"', f"slla = {mac}", "mtu = 1442", "prefix = fd10::/64"):
        assert told in advertised


async def test_two_subnets_of_a_vpc_reach_each_other(databases, ovn):
    ovn.nbctl("--wait=sb", "sync")
    gateway = next(
        row.columns["mac"] for row in rows() if row.key.id == "Subnet/demo/blue:gateway" and "mac" in row.columns
    )
    packet = (
        'inport=="demo/blue.net" && eth.src==02:76:6e:04:00:0a && ip4.src==10.10.0.10 '
        f"&& eth.dst=={gateway} && ip4.dst==10.20.0.10 && ip.ttl==64 && icmp4"
    )
    trace = ovn.trace("virtnet:Subnet/demo/blue", packet)
    assert 'output to "demo/red.net"' in trace
    forged = packet.replace("10.10.0.10", "10.10.0.11")
    assert "output to" not in ovn.trace("virtnet:Subnet/demo/blue", forged)


async def test_bindings_are_read(databases, ovn):
    northbound, southbound = databases
    heard = []
    southbound.on_change(heard.append)
    assert southbound.binding(BLUE_PORT) == Binding()
    assert southbound.binding("demo/nobody") is None
    assert southbound.binding("virtnet:Subnet/demo/blue:router") is None
    add_chassis(ovn, "chassis-1", "chassis-2")
    await until(lambda: southbound.chassis() == {"chassis-1": "node-1", "chassis-2": "node-2"})
    await northbound.commit(difference(rows(BOTH), northbound.observed()))
    await until(lambda: southbound.binding(BLUE_PORT).requested_additional == {"chassis-2"})
    ovn.sbctl("lsp-bind", BLUE_PORT, "chassis-1")
    two = ovn.sbctl("--bare", "--columns=_uuid", "find", "Chassis", "name=chassis-2").strip()
    ovn.sbctl(
        *("set", "Port_Binding", BLUE_PORT, f"additional_chassis={two}"),
        "options:additional-chassis-activated=chassis-2",
    )
    expected = Binding(
        chassis="chassis-1",
        additional=frozenset({"chassis-2"}),
        requested_additional=frozenset({"chassis-2"}),
        activated=frozenset({"chassis-2"}),
        up=True,
    )
    await until(lambda: southbound.binding(BLUE_PORT) == expected)
    assert any(BLUE_PORT in ports for ports in heard)
    assert not any("virtnet:" in one for ports in heard for one in ports)


async def test_a_chassis_is_taken_off_a_binding_with_its_encapsulations(databases, ovn):
    northbound, southbound = databases
    add_chassis(ovn, "chassis-1", "chassis-2")
    await northbound.commit(difference(rows(BOTH), northbound.observed()))
    await until(lambda: southbound.binding(BLUE_PORT).requested_additional == {"chassis-2"})
    found = {
        name: ovn.sbctl("--bare", "--columns=_uuid,encaps", "find", "Chassis", f"name={name}").split()
        for name in ("chassis-1", "chassis-2")
    }
    for column, place in (("additional_chassis", 0), ("additional_encap", 1)):
        both = ",".join(one[place] for one in found.values())
        ovn.sbctl("set", "Port_Binding", BLUE_PORT, f"{column}=[{both}]")
    await until(lambda: southbound.binding(BLUE_PORT).additional == {"chassis-1", "chassis-2"})
    with pytest.raises(Stale):  # somebody else may have begun a handoff
        await southbound.evict(BLUE_PORT, frozenset({"chassis-2"}))
    await northbound.commit(difference(rows(), northbound.observed()))
    await until(lambda: not southbound.binding(BLUE_PORT).requested_additional)
    await southbound.evict(BLUE_PORT, frozenset({"chassis-2"}))
    await until(lambda: southbound.binding(BLUE_PORT).additional == {"chassis-1"})
    assert (
        ovn.sbctl("--bare", "get", "Port_Binding", BLUE_PORT, "additional_encap").strip()
        == f"[{found['chassis-1'][1]}]"
    )


async def test_a_binding_goes_with_its_port(databases):
    northbound, southbound = databases
    heard = []
    southbound.on_change(heard.append)
    await northbound.commit(difference([], northbound.observed()))
    await until(lambda: southbound.binding(BLUE_PORT) is None)
    assert any(BLUE_PORT in ports for ports in heard)


async def test_a_restarted_southbound_is_read_again(databases, ovn):
    _, southbound = databases
    ovn.kill("sb")
    await until(lambda: not southbound.connected)
    assert southbound.binding(BLUE_PORT) == Binding()
    heard = []
    southbound.on_change(heard.append)
    ovn.start("sb")
    await until(lambda: heard)
    assert {BLUE_PORT, RED_PORT} <= frozenset().union(*heard)


async def test_the_northbound_comes_back_under_a_running_northd(databases, ovn):
    northbound, southbound = databases
    ovn.kill("nb")
    ovn.erase("nb")
    heard = []
    northbound.on_change(heard.append)
    ovn.start("nb")
    await until(lambda: heard)
    await northbound.commit(difference(rows(), northbound.observed()))
    await until(lambda: southbound.binding(BLUE_PORT))
    ovn.nbctl("--wait=sb", "sync")
    assert BLUE_PORT in ovn.sbctl("--bare", "--columns=logical_port", "list", "Port_Binding")


async def test_what_says_that_a_chassis_is_activated_is_taken_off_a_binding_that_has_no_other(databases, ovn):
    """OVN 25.03 leaves it there where a chassis says so late; 23.03 takes it off, so northd is dead here."""
    northbound, southbound = databases
    add_chassis(ovn, "chassis-1", "chassis-2")
    await northbound.commit(difference(rows(), northbound.observed()))
    ovn.nbctl("--wait=sb", "sync")
    ovn.kill("northd")
    ovn.sbctl("set", "Port_Binding", BLUE_PORT, "options:additional-chassis-activated=chassis-2")
    await until(lambda: southbound.binding(BLUE_PORT).activated)
    await southbound.evict(BLUE_PORT, frozenset({"chassis-2"}))
    await until(lambda: not southbound.binding(BLUE_PORT).activated)
