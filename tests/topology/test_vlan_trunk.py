"""What NICs may do on layer 2, as rows: whom a Subnet exempts, and which tags it lets pass."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.topology.samples import NOWHERE, Range, map_of, port, text_of, underlay
from virtnet.api.layer2 import Vlans
from virtnet.topology.compile import port_rows, subnet_rows
from virtnet.topology.names import switch_key
from virtnet.topology.rows import Key, Row

ADDRESSES = "02:76:6e:03:00:0b 10.66.0.11"
MAC = ADDRESSES.split(maxsplit=1)[0]


def rows_of_port(**spec: Any) -> dict[str, Row]:
    of = underlay(**spec)
    return {row.key.id.removeprefix("Port/demo/vm11.net"): row for row in port_rows(port(of, 11), of, NOWHERE)}


def trunk(*vms: str, **vlan: int) -> dict[str, Any]:
    return {"vlanTrunks": [{"vms": vms, "vlans": [vlan]}]}


@pytest.mark.parametrize(
    ("spec", "addresses", "held_to"),
    [
        pytest.param({}, {ADDRESSES}, {ADDRESSES}, id="as others"),
        pytest.param({"portSecurity": {"exempt": ["demo/vm11"]}}, {ADDRESSES, "unknown"}, set(), id="exempt"),
        pytest.param({"portSecurity": {"exempt": ["shop/vm11", "demo/vm1"]}}, {ADDRESSES}, {ADDRESSES}, id="another"),
        pytest.param({"portSecurity": {"enabled": False}}, {ADDRESSES, "unknown"}, set(), id="all are exempt"),
        pytest.param(trunk("demo/vm11", id=200), {ADDRESSES}, {MAC}, id="of a trunk"),
        pytest.param(trunk(id=200), {ADDRESSES}, {MAC}, id="of a trunk as all"),
        pytest.param(trunk("shop/vm11", id=200), {ADDRESSES}, {ADDRESSES}, id="another is of a trunk"),
        pytest.param(
            {"portSecurity": {"exempt": ["demo/vm11"]}, **trunk(id=200)}, {ADDRESSES, "unknown"}, set(), id="both"
        ),
    ],
)
def test_what_a_nic_is_held_to(spec: dict[str, Any], addresses: object, held_to: object) -> None:
    row = rows_of_port(**spec)[""]
    assert (row.columns["addresses"], row.columns["port_security"]) == (addresses, held_to)


def test_without_a_trunk_there_is_nothing_of_tags() -> None:
    """OVN drops them all."""
    of = underlay()
    (switch,) = [row for row in subnet_rows(of, Range.of(of)) if row.key == switch_key(of.ref)]
    assert "vlan-passthru" not in map_of(switch, "other_config")
    assert list(rows_of_port()) == [""]
    assert not [row.key for row in subnet_rows(of, Range.of(of)) if "vlan" in str(row.columns.get("match"))]


def test_tags_are_dropped_both_ways_but_for_who_has_them() -> None:
    spec = trunk("demo/vm11", minID=200, maxID=299)
    of = underlay(**spec)
    rows = {row.key: row for row in subnet_rows(of, Range.of(of))}
    assert map_of(rows[switch_key(of.ref)], "other_config") == {"vlan-passthru": "true"}
    for way in ("from-lport", "to-lport"):
        drop = rows[Key("ACL", f"ClusterSubnet/lan:tags-{way}")]
        assert (drop.columns["direction"], drop.columns["match"], drop.columns["action"]) == (
            way,
            "vlan.present",
            "drop",
        )
    mine = rows_of_port(**spec)
    assert text_of(mine[":tags-from-lport"], "match") == 'inport == "demo/vm11.net" && (200 <= vlan.vid <= 299)'
    assert text_of(mine[":tags-to-lport"], "match") == 'outport == "demo/vm11.net" && (200 <= vlan.vid <= 299)'
    assert all(mine[f":tags-{way}"].columns["priority"] == 30001 for way in ("from-lport", "to-lport"))
    assert list(rows_of_port(**trunk("demo/vm12", id=200))) == [""]


@pytest.mark.parametrize(
    ("spec", "clients"),
    [
        pytest.param({}, "((udp.src == 68 && udp.dst == 67))", id="IPv4"),
        pytest.param({"cidrs": ["fd66::/64"]}, "((udp.src == 546 && udp.dst == 547))", id="IPv6"),
        pytest.param({"dhcp": {"enabled": False}}, None, id="OVN answers nobody"),
        pytest.param({"cidrs": []}, None, id="the site answers"),
    ],
)
def test_clients_within_tags_are_dropped_where_ovn_would_answer_them(spec: dict[str, Any], clients: str | None) -> None:
    row = rows_of_port(**trunk(id=200), **spec).get(":tagged-dhcp")
    ours = f'inport == "demo/vm11.net" && eth.src == {MAC} && vlan.present && '
    assert (text_of(row, "match") if row else None) == (ours + clients if clients else None)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        pytest.param({}, '"} && ((icmp6', id="no trunk"),
        pytest.param(trunk("demo/vm12", id=7), '"} && !vlan.present && ((icmp6', id="another's trunk"),
        pytest.param(trunk(id=7), '"} && (!vlan.present || (vlan.vid == 7)) && ((icmp6', id="its trunk"),
    ],
)
def test_a_router_is_one_within_its_tags(spec: dict[str, Any], match: str) -> None:
    assert match in text_of(rows_of_port(**spec, routers=["demo/vm11"])[":router"], "match")


@given(st.lists(st.tuples(st.integers(1, 4094), st.integers(0, 9)), min_size=1, max_size=9))
def test_the_tags_of_several_trunks_are_one_list(ranges: list[tuple[int, int]]) -> None:
    """It names each tag once, whatever overlaps."""
    given = [{"minID": first, "maxID": min(first + more, 4094)} for first, more in ranges]
    trunks = [{"vms": ["demo/vm11"], "vlans": [one]} for one in given]
    text = text_of(rows_of_port(vlanTrunks=trunks)[":tags-from-lport"], "match").partition("&& (")[2].rstrip(")")
    found: list[int] = []
    for term in text.split(" || "):
        words = term.split()
        found += range(int(words[0]), int(words[-1]) + 1) if "<=" in words else [int(words[-1])]
    assert found == sorted({tag for one in given for tag in range(one["minID"], one["maxID"] + 1)})


@pytest.mark.parametrize("written", [{}, {"minID": 7}, {"maxID": 7}, {"minID": 9, "maxID": 7}])
def test_what_is_no_range_is_no_tag(written: dict[str, int]) -> None:
    """However it came to be stored."""
    assert not Vlans.model_validate(written).range
