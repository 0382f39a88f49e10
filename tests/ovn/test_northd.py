"""What OVN itself makes of compiled rows: northd accepts them, and the southbound database says who has a port."""

from collections.abc import AsyncIterator

import pytest

from tests.ovn.waiting import until
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
from virtnet.topology.rows import Key, Row
from virtnet.topology.switch import NO_NEIGHBOURS

pytestmark = pytest.mark.system

Databases = tuple[OvsdbNorthbound, Southbound]

BLUE = subnet(
    cidr="10.10.0.0/24 fd10::/64",
    dns={"servers": ["10.10.0.2", "10.10.0.3", "fd10::2"], "domain": "demo.example"},
    routes=[{"destination": "192.168.0.0/16", "gateway": "10.10.0.9"}],
)
RED = subnet("red", "10.20.0.0/16", dhcp={"enabled": False})
BLUE_PORT, RED_PORT = "demo/blue.net", "demo/red.net"
_PLAIN = port(BLUE, 11, "second.net").manifest()
_OWN = {
    "routes": [{"destination": "172.16.0.0/12", "gateway": "10.10.0.8"}],
    "defaultRoute": False,
    "dhcp": {
        "hostname": "boot-me",
        "bootFileName": "pxelinux.0",
        "tftpServer": "10.10.0.9",
        "ntpServers": ["10.10.0.8"],
        "proxyUrl": "http://wpad.demo.example/wpad.dat",
    },
}
SECOND = Port.parse({**_PLAIN, "spec": {**_PLAIN["spec"], **_OWN}})
BOTH = ChassisOptions(("chassis-1", "chassis-2"), "rarp", {"state": "Armed"})


def rows(chassis: ChassisOptions | None = None) -> list[Row]:
    chassis = chassis or ChassisOptions()
    return [
        *vpc_rows(VPC),
        *subnet_rows(BLUE, Range.of(BLUE)),
        *subnet_rows(RED, Range.of(RED)),
        *port_rows(port(BLUE, 10, "blue.net"), BLUE, chassis),
        *port_rows(port(RED, 10, "red.net"), RED, chassis),
        *port_rows(SECOND, BLUE, chassis),
        *port_dhcp4_rows(SECOND, BLUE, Range.of(BLUE), NO_NEIGHBOURS),
    ]


def bound(southbound: Southbound) -> Binding:
    found = southbound.binding(BLUE_PORT)
    assert found is not None
    return found


def add_chassis(ovn: OvnCentral, *names: str) -> None:
    for number, name in enumerate(names, 1):
        ovn.sbctl("chassis-add", name, "geneve", f"10.0.0.{number}")


@pytest.fixture
async def databases(ovn: OvnCentral) -> AsyncIterator[Databases]:
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound, Southbound(ovn.remote("sb")) as southbound:
        await northbound.commit(difference(rows(), []))
        await until(lambda: southbound.binding(BLUE_PORT) and southbound.binding(RED_PORT))
        yield northbound, southbound


async def test_northd_takes_a_topology_without_complaint(databases: Databases, ovn: OvnCentral) -> None:
    ovn.nbctl("--wait=sb", "sync")
    log = ovn.log("northd").read_text()
    assert [line for line in log.splitlines() if "|WARN|" in line or "|ERR|" in line] == []
    flows = ovn.sbctl("lflow-list")
    # ARP for the gateways, and routes between the two Subnets.
    assert "arp.tpa == 10.10.0.1" in flows
    assert "ip4.dst == 10.20.0.0/16" in flows
    assert "ip4.dst == 10.10.0.0/24" in flows


async def test_dhcp_reaches_the_flows(databases: Databases, ovn: OvnCentral) -> None:
    ovn.nbctl("--wait=sb", "sync")
    (offer,) = {
        line.split("put_dhcp_opts", 1)[1].split(";")[0]
        for line in ovn.sbctl("lflow-list").splitlines()
        if "put_dhcp_opts" in line and "demo/blue.net" in line
    }
    for option in (
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
        assert option in offer
    assert not [line for line in ovn.sbctl("lflow-list").splitlines() if "put_dhcp" in line and "red.net" in line]


async def test_a_nic_with_routes_of_its_own_is_told_these(databases: Databases, ovn: OvnCentral) -> None:
    """And no router, where another NIC of its guest has the default route."""
    ovn.nbctl("--wait=sb", "sync")
    lines = [line for line in ovn.sbctl("lflow-list").splitlines() if "put_dhcp_opts" in line]
    (offer,) = {line.split("put_dhcp_opts", 1)[1].split(";")[0] for line in lines if "demo/second.net" in line}
    assert "classless_static_route = {172.16.0.0/12,10.10.0.8, 192.168.0.0/16,10.10.0.9}" in offer
    assert "offerip = 10.10.0.11" in offer
    assert "router =" not in offer
    for option in (
        'hostname = "boot-me"',
        'bootfile_name = "pxelinux.0"',
        "tftp_server = 10.10.0.9",
        "next_server = 10.10.0.9",
        "ntp_server = {10.10.0.8}",
        'wpad = "http://wpad.demo.example/wpad.dat"',
    ):
        assert option in offer


async def test_dhcpv6_and_advertisements_reach_the_flows(databases: Databases, ovn: OvnCentral) -> None:
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
    for option in (
        "ia_addr = fd10::a",
        f"server_id = {mac}",
        "dns_server = {fd10::2}",
        'domain_search = "demo.example"',
    ):
        assert option in offer
    (advertised,) = {line.split("put_nd_ra_opts", 1)[1].split(";")[0] for line in flows if "put_nd_ra_opts" in line}
    for option in ('addr_mode = "dhcpv6_stateful"', f"slla = {mac}", "mtu = 1442", "prefix = fd10::/64"):
        assert option in advertised


async def test_two_subnets_of_a_vpc_reach_each_other(databases: Databases, ovn: OvnCentral) -> None:
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


async def test_bindings_are_read(databases: Databases, ovn: OvnCentral) -> None:
    northbound, southbound = databases
    heard: list[frozenset[str]] = []
    southbound.on_change(heard.append)
    assert southbound.binding(BLUE_PORT) == Binding()
    assert southbound.binding("demo/nobody") is None
    assert southbound.binding("virtnet:Subnet/demo/blue:router") is None
    add_chassis(ovn, "chassis-1", "chassis-2")
    await until(lambda: southbound.chassis() == {"chassis-1", "chassis-2"})
    await northbound.commit(difference(rows(BOTH), northbound.observed()))
    await until(lambda: bound(southbound).requested_additional == {"chassis-2"})
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


async def test_a_chassis_is_taken_off_a_binding_with_its_encapsulations(databases: Databases, ovn: OvnCentral) -> None:
    northbound, southbound = databases
    add_chassis(ovn, "chassis-1", "chassis-2")
    await northbound.commit(difference(rows(BOTH), northbound.observed()))
    await until(lambda: bound(southbound).requested_additional == {"chassis-2"})
    found = {
        name: ovn.sbctl("--bare", "--columns=_uuid,encaps", "find", "Chassis", f"name={name}").split()
        for name in ("chassis-1", "chassis-2")
    }
    for column, place in (("additional_chassis", 0), ("additional_encap", 1)):
        both = ",".join(one[place] for one in found.values())
        ovn.sbctl("set", "Port_Binding", BLUE_PORT, f"{column}=[{both}]")
    await until(lambda: bound(southbound).additional == {"chassis-1", "chassis-2"})
    with pytest.raises(Stale):  # somebody else may have begun a handoff
        await southbound.evict(BLUE_PORT, frozenset({"chassis-2"}))
    await northbound.commit(difference(rows(), northbound.observed()))
    await until(lambda: not bound(southbound).requested_additional)
    await southbound.evict(BLUE_PORT, frozenset({"chassis-2"}))
    await until(lambda: bound(southbound).additional == {"chassis-1"})
    assert (
        ovn.sbctl("--bare", "get", "Port_Binding", BLUE_PORT, "additional_encap").strip()
        == f"[{found['chassis-1'][1]}]"
    )


async def test_a_chassis_that_changes_as_machines_of_one_system_id_do(databases: Databases, ovn: OvnCentral) -> None:
    """Each writes its own hostname and tunnel in turn: who is bound where is the same, and nobody is looked at again."""
    _, southbound = databases
    add_chassis(ovn, "chassis-1", "chassis-2")
    await until(lambda: southbound.chassis() == {"chassis-1", "chassis-2"})
    heard: list[frozenset[str]] = []
    southbound.on_change(heard.append)
    for number in range(3):
        encap = ("--id=@encap", "create", "Encap", "type=geneve", f"ip=10.0.1.{number}", "chassis_name=chassis-2")
        ovn.sbctl("--", *encap, "--", "set", "Chassis", "chassis-2", f"hostname=machine-{number}", "encaps=@encap")
    ovn.sbctl("chassis-add", "chassis-3", "geneve", "10.0.0.3")
    await until(lambda: "chassis-3" in southbound.chassis())
    assert len(heard) == 1, "of the one that came"
    ovn.kill("northd")
    ovn.sbctl("set", "Port_Binding", BLUE_PORT, "options:additional-chassis-activated=chassis-2")
    await until(lambda: bound(southbound).activated)
    await southbound.evict(BLUE_PORT, frozenset({"chassis-2"}))
    await until(lambda: not bound(southbound).activated)


async def test_a_binding_goes_with_its_port(databases: Databases) -> None:
    northbound, southbound = databases
    heard: list[frozenset[str]] = []
    southbound.on_change(heard.append)
    await northbound.commit(difference([], northbound.observed()))
    await until(lambda: southbound.binding(BLUE_PORT) is None)
    assert any(BLUE_PORT in ports for ports in heard)


async def test_a_restarted_southbound_is_read_again(databases: Databases, ovn: OvnCentral) -> None:
    _, southbound = databases
    ovn.kill("sb")
    await until(lambda: not southbound.connected)
    assert southbound.binding(BLUE_PORT) == Binding()
    heard: list[frozenset[str]] = []
    southbound.on_change(heard.append)
    ovn.start("sb")
    await until(lambda: heard)
    assert {BLUE_PORT, RED_PORT} <= frozenset().union(*heard)


async def test_the_northbound_comes_back_under_a_running_northd(databases: Databases, ovn: OvnCentral) -> None:
    northbound, southbound = databases
    ovn.kill("nb")
    ovn.erase("nb")
    heard: list[frozenset[Key]] = []
    northbound.on_change(heard.append)
    ovn.start("nb")
    await until(lambda: heard)
    await northbound.commit(difference(rows(), northbound.observed()))
    await until(lambda: southbound.binding(BLUE_PORT))
    ovn.nbctl("--wait=sb", "sync")
    assert BLUE_PORT in ovn.sbctl("--bare", "--columns=logical_port", "list", "Port_Binding")


async def test_what_says_that_a_chassis_is_activated_is_taken_off_a_binding_that_has_no_other(
    databases: Databases, ovn: OvnCentral
) -> None:
    """OVN 25.03 leaves it there where a chassis says so late; 23.03 takes it off, so northd is dead here."""
    northbound, southbound = databases
    add_chassis(ovn, "chassis-1", "chassis-2")
    await northbound.commit(difference(rows(), northbound.observed()))
    ovn.nbctl("--wait=sb", "sync")
    ovn.kill("northd")
    ovn.sbctl("set", "Port_Binding", BLUE_PORT, "options:additional-chassis-activated=chassis-2")
    await until(lambda: bound(southbound).activated)
    await southbound.evict(BLUE_PORT, frozenset({"chassis-2"}))
    await until(lambda: not bound(southbound).activated)


async def test_definitions_are_recorded_beside_the_rows(databases: Databases) -> None:
    northbound, _ = databases
    rows_before = northbound.observed()
    await northbound.record_definitions({"Port": "u1", "Vpc": "u2"})
    await northbound.record_definitions({"Port": "u3"})
    assert northbound.definitions == {"Port": "u3", "Vpc": "u2"}
    assert northbound.observed() == rows_before
