"""Sets by element, maps of integers, ownership by name and rows of newer versions, with a real ovsdb-server."""

import json
import re
from dataclasses import replace

import pytest

from tests.ovn.test_connection import create
from tests.ovn.waiting import until
from tests.topology.samples import VPC, Range, map_of, port, subnet
from virtnet.handoff.options import ChassisOptions
from virtnet.lab.ovn_central import SCHEMAS, OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.availability import fitted
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.names import part, port_key, row_name, switch_key
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Parent, Ref, Row, Value

pytestmark = pytest.mark.system

BLUE = subnet()
SWITCH = switch_key(BLUE.ref)
WEB, GROUP, ADDRESSES = (part(table, SWITCH, "web") for table in ("Load_Balancer", "Port_Group", "Address_Set"))
MEMBER = frozenset({Parent(GROUP, "ports")})
EVERY = part("Load_Balancer_Group", SWITCH, "web")
LIMIT = Key("QoS", "Port/demo/vm10.net:egress")
NAME = "virtnet_web"


def rows(*ports: int, addresses: str = "10.0.0.1", vips: str = "10.10.0.100:80", rate: int = 1000) -> list[Row]:
    """A switch with everything that is changed by element: these ports are the members of a group."""
    nics = [port(BLUE, number) for number in ports]
    switch, *others = subnet_rows(BLUE, Range.of(BLUE))
    web: dict[str, Value] = {"name": NAME, "vips": dict.fromkeys(vips.split(), "10.10.0.10:80"), "protocol": "tcp"}
    return [
        *vpc_rows(VPC),
        Row(WEB, {**web, "external_ids": own(WEB)}),
        Row(EVERY, {"name": row_name(EVERY), "load_balancer": frozenset({Ref(WEB)})}),
        Row(switch.key, {**switch.columns, "load_balancer": frozenset({Ref(WEB)})}),
        *others,
        *(
            replace(row, groups=MEMBER) if row.key == port_key(nic) else row
            for nic in nics
            for row in port_rows(nic, BLUE, ChassisOptions())
        ),
        Row(GROUP, {"name": row_name(GROUP), "external_ids": own(GROUP)}),
        Row(
            ADDRESSES,
            {"name": row_name(ADDRESSES), "addresses": frozenset(addresses.split()), "external_ids": own(ADDRESSES)},
        ),
        Row(
            LIMIT,
            {
                "direction": "from-lport",
                "priority": 100,
                "match": "ip",
                "action": {"dscp": 46},
                "bandwidth": {"rate": rate, "burst": 800},
                "external_ids": own(LIMIT),
            },
            Parent(switch.key, "qos_rules"),
        ),
    ]


async def bring(client: OvsdbNorthbound, wanted: list[Row]) -> None:
    await client.commit(difference(wanted, client.observed()))
    assert difference(wanted, client.observed()) == []


def one(client: OvsdbNorthbound, key: Key) -> Row:
    (row,) = client.observed([key])
    return row


def members(ovn: OvnCentral) -> list[str]:
    """The uuids of the ports of the group, as the database says it."""
    return sorted(re.findall(r"[0-9a-f-]{36}", ovn.nbctl("get", "Port_Group", row_name(GROUP), "ports")))


def uuids(client: OvsdbNorthbound, *numbers: int) -> list[str]:
    return sorted(one(client, port_key(f"demo/vm{number}.net")).uuid for number in numbers)


async def test_sets_change_by_element(northbound_server: OvnCentral) -> None:
    async with OvsdbNorthbound(northbound_server.remote("nb")) as client:
        await bring(client, rows(10, 11, addresses="10.0.0.1 10.0.0.2"))
        await bring(client, rows(11, 12, addresses="10.0.0.2 10.0.0.3"))
        assert members(northbound_server) == uuids(client, 11, 12)
        assert one(client, ADDRESSES).columns["addresses"] == frozenset({"10.0.0.2", "10.0.0.3"})


async def test_references_of_others_stay(northbound_server: OvnCentral) -> None:
    ovn = northbound_server
    async with OvsdbNorthbound(ovn.remote("nb")) as client:
        await bring(client, rows(10))
        ovn.nbctl("lb-add", "theirs", "10.9.9.9:80", "10.9.9.1:80")
        ovn.nbctl("ls-lb-add", row_name(SWITCH), "theirs")
        ovn.nbctl("ls-lb-del", row_name(SWITCH), NAME)
        async with OvsdbNorthbound(ovn.remote("nb"), lock="") as other:
            await bring(other, rows(10))
        assert sorted(ovn.nbctl("--bare", "--columns=name", "find", "Load_Balancer").split()) == ["theirs", NAME]
        assert len(ovn.nbctl("get", "Logical_Switch", row_name(SWITCH), "load_balancer").split(",")) == 2


async def test_a_port_is_in_its_groups_from_the_transaction_on_that_makes_it(northbound_server: OvnCentral) -> None:
    ovn = northbound_server
    async with OvsdbNorthbound(ovn.remote("nb")) as client:
        await bring(client, rows(10))
        before = uuids(client, 10)
        ovn.nbctl("lsp-del", "demo/vm10.net")
        await until(lambda: not client.observed([port_key("demo/vm10.net")]))
        (insertion,) = difference(rows(10), client.observed())
        await client.commit([insertion])
        assert members(ovn) == uuids(client, 10) != before


async def test_who_takes_a_port_from_its_group_or_destroys_that_is_noticed(northbound_server: OvnCentral) -> None:
    ovn = northbound_server
    async with OvsdbNorthbound(ovn.remote("nb")) as client:
        await bring(client, rows(10, 11))
        told: list[frozenset[Key]] = []
        client.on_change(told.append)
        for damage in (
            ("remove", "Port_Group", row_name(GROUP), "ports", *uuids(client, 10)),
            ("clear", "Port_Group", row_name(GROUP), "ports"),
            ("pg-del", row_name(GROUP)),
        ):
            ovn.nbctl(*damage)
            await until(lambda: bool(told))
            assert port_key("demo/vm10.net") in frozenset[Key]().union(*told)
            await bring(client, rows(10, 11))
            assert members(ovn) == uuids(client, 10, 11)
            told.clear()


async def test_members_of_others_stay_in_a_group(northbound_server: OvnCentral) -> None:
    ovn = northbound_server
    async with OvsdbNorthbound(ovn.remote("nb")) as client:
        await bring(client, rows(10))
        ovn.nbctl("ls-add", "theirs", "--", "lsp-add", "theirs", "their-port")
        theirs = ovn.nbctl("get", "Logical_Switch_Port", "their-port", "_uuid").strip()
        ovn.nbctl("add", "Port_Group", row_name(GROUP), "ports", theirs)
        await bring(client, rows(11))
        assert members(ovn) == sorted([theirs, *uuids(client, 11)])


async def test_maps_that_are_ours_as_a_whole_have_no_other_keys(northbound_server: OvnCentral) -> None:
    async with OvsdbNorthbound(northbound_server.remote("nb")) as client:
        await bring(client, rows(10, vips="10.10.0.100:80 10.10.0.101:80"))
        await bring(client, rows(10, vips="10.10.0.101:80 10.10.0.102:80", rate=2000))
        assert map_of(one(client, WEB), "vips").keys() == {"10.10.0.101:80", "10.10.0.102:80"}
        assert one(client, LIMIT).columns["bandwidth"] == {"rate": 2000, "burst": 800}


async def test_rows_without_external_ids_are_owned_by_their_names(northbound_server: OvnCentral) -> None:
    ovn = northbound_server
    ovn.nbctl("create", "Load_Balancer_Group", "name=theirs")
    async with OvsdbNorthbound(ovn.remote("nb")) as client:
        await bring(client, rows(10))
        assert [row.key for row in client.observed() if row.key.table == "Load_Balancer_Group"] == [EVERY]
        await bring(client, [])
        assert ovn.nbctl("--bare", "--columns=name", "list", "Load_Balancer_Group").split() == ["theirs"]


async def test_an_older_version_removes_nothing_that_a_newer_one_wrote(northbound_server: OvnCentral) -> None:
    older_kinds = {"ClusterVpc", "Subnet", "Port"}
    newer_kinds = older_kinds | {"SecurityGroup"}
    group = Key("Port_Group", "SecurityGroup/demo/web")
    balancer = Key("Load_Balancer", "SecurityGroup/demo/web")
    added = Key("QoS", f"{LIMIT.origin}:SecurityGroup/egress")
    limit = rows(10)[-1]
    of_newer = [
        Row(added, {**limit.columns, "match": "arp", "external_ids": own(added)}, limit.parent),
        Row(group, {"name": "newer", "external_ids": own(group)}),
        Row(balancer, {"name": "newer", "vips": {}, "external_ids": own(balancer)}),
    ]
    remote = northbound_server.remote("nb")
    with_newer = frozenset({Ref(WEB), Ref(balancer)})
    wanted = [
        Row(row.key, {**row.columns, "load_balancer": with_newer}, row.parent) if row.key == SWITCH else row
        for row in rows(10)
    ]
    async with OvsdbNorthbound(remote, kinds=newer_kinds) as newer:
        await bring(newer, [*wanted, *of_newer])
    async with OvsdbNorthbound(remote, kinds=older_kinds) as older:
        assert not {group, balancer, added} & {row.key for row in older.observed()}
        assert {row.key for row in older.of(LIMIT.origin)} == {LIMIT, port_key(port(BLUE, 10))}
        await bring(older, rows(11))  # it also mends what it knows of
    async with OvsdbNorthbound(remote, kinds=newer_kinds) as newer:
        assert {group, balancer, added} <= {row.key for row in newer.observed()}
        assert one(newer, SWITCH).columns["load_balancer"] == with_newer


async def test_what_an_ovn_lacks_is_told_and_no_difference_is_left(central: OvnCentral) -> None:
    schema = json.loads((SCHEMAS / "ovn-nb.ovsschema").read_text())
    del schema["tables"]["QoS"]["columns"]["bandwidth"]
    del schema["tables"]["Load_Balancer_Group"]
    for name in ("Logical_Switch", "Logical_Router"):
        del schema["tables"][name]["columns"]["load_balancer_group"]
    (central.state / "older.ovsschema").write_text(json.dumps(schema))
    create(central, "create", central.state / "older.ovsschema")
    central.start("nb")
    async with OvsdbNorthbound(central.remote("nb")) as client:
        found = fitted(rows(10), client.available)
        assert found.lacks == {LIMIT: ("QoS.bandwidth",), EVERY: ("Load_Balancer_Group",)}
        await bring(client, found.rows)
