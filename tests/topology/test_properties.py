"""Rows of any Subnets: the same whoever comes first, restored from any damage, and others' rows as they were."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tests.addressing.specs import subnets
from tests.topology.samples import NOWHERE, VPC, port
from tests.topology.test_difference import foreign_part, mine, ours
from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.api import ClusterSubnet, Subnet
from virtnet.topology.apply import apply
from virtnet.topology.compile import has_own_dhcp4, port_dhcp4_rows, port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference
from virtnet.topology.rows import Key, Parent, Row, Value
from virtnet.topology.switch import VpcNeighbours
from virtnet.topology.tables import TABLES

TWO = st.lists(subnets(), min_size=1, max_size=2, unique_by=lambda one: one.name)


def whole(them: list[Subnet | ClusterSubnet]) -> list[Row]:
    """All rows of a Vpc with these Subnets, and a port in each."""
    rows = [*vpc_rows(VPC)]
    for of in them:
        try:
            pools = pools_of(of)
        except InvalidSubnet:
            reject()
        neighbours = VpcNeighbours.of(other for other in them if other is not of)
        rows += subnet_rows(of, pools, neighbours)
        nic = port(of, 2, f"vm.{of.name}")
        rows += port_rows(nic, of, NOWHERE)
        if has_own_dhcp4(nic, of):
            rows += port_dhcp4_rows(nic, of, pools, neighbours)
    return rows


@st.composite
def damaged(draw: st.DrawFn, rows: Iterable[Row]) -> list[Row]:
    """What is left of rows that are in a database: some gone with what hung on them, some changed, some twice."""
    gone: set[str] = set()
    there: list[Row] = []
    for row in sorted(rows, key=lambda row: list(TABLES).index(row.key.table)):
        fate = draw(st.sampled_from(["whole", "whole", "gone", "changed", "twice"]))
        if fate == "gone" or (row.parent is not None and row.parent.uuid in gone):
            gone.add(row.uuid)
            continue
        if fate == "changed":
            blank = draw(st.sampled_from(sorted(row.columns.keys() - {"external_ids"})))
            value = row.columns[blank]
            empty = type(value)() if isinstance(value, str | dict | frozenset) else None
            there.append(replace(row, columns={**row.columns, blank: empty}))
            continue
        there.append(row)
        if fate == "twice":
            there.append(replace(row, uuid=f"a-twin-of-{row.uuid}"))
    return [*there, *foreign(there)]


def foreign(rows: Iterable[Row]) -> Iterator[Row]:
    """Rows of others, also on a switch of ours, and keys of theirs in our maps."""
    yield Row(Key("Logical_Switch", "neutron-1"), {"name": "neutron-1", "external_ids": {}}, uuid="foreign-switch")
    columns: dict[str, Value] = {"name": "x", "external_ids": {"neutron:port_name": "x"}}
    for number, row in enumerate(row for row in rows if row.key.table == "Logical_Switch"):
        parent = Parent(row.key, "ports", row.uuid)
        yield Row(Key("Logical_Switch_Port", f"x{number}"), columns, parent, uuid=f"foreign-{number}")


@settings(max_examples=40)
@given(TWO)
def test_compiling_is_repeatable_and_no_order_matters(them: list[Subnet | ClusterSubnet]) -> None:
    once = sorted(whole(them), key=lambda row: row.key)
    assert once == sorted(whole(them), key=lambda row: row.key)
    assert once == sorted(whole(them[::-1]), key=lambda row: row.key)
    assert len({row.key for row in once}) == len(once)


@settings(max_examples=40)
@given(TWO)
def test_what_was_written_differs_in_nothing(them: list[Subnet | ClusterSubnet]) -> None:
    rows = whole(them)
    assert difference(rows, apply(difference(rows, []), [])) == []


@settings(max_examples=40)
@given(TWO, st.data())
def test_any_damage_is_repaired_and_others_rows_stay(them: list[Subnet | ClusterSubnet], data: st.DataObject) -> None:
    rows = whole(them)
    world = data.draw(damaged(apply(difference(rows, []), [])))
    after = apply(difference(rows, ours(world)), world)
    assert sorted(map(mine, ours(after)), key=lambda row: row.key) == sorted(map(mine, rows), key=lambda row: row.key)
    assert difference(rows, ours(after)) == []
    before, now = foreign_part(world), foreign_part(after)
    kept = {row.uuid for row in after}
    for name, value in before.items():
        if name in now:
            assert now[name] == value
        else:  # a twin of ours took with it what others hung on it
            hung = isinstance(value, Row) and value.parent is not None and value.parent.uuid not in kept
            assert hung or isinstance(name, tuple)


@settings(max_examples=40)
@given(TWO)
def test_all_goes_and_all_of_others_stays(them: list[Subnet | ClusterSubnet]) -> None:
    world = [*apply(difference(whole(them), []), []), *foreign(())]
    assert apply(difference([], ours(world)), world) == list(foreign(()))


def test_samples_have_something_of_everything() -> None:
    """Else the above would say nothing of it."""
    seen: set[str] = set()

    @given(TWO)
    def look(them: list[Subnet | ClusterSubnet]) -> None:
        seen.update(
            chain((row.key.table for row in whole(them)), ("underlay" if of.spec.underlay else "" for of in them))
        )

    look()
    assert seen >= {
        "Logical_Router",
        "Logical_Router_Port",
        "Logical_Switch",
        "Logical_Switch_Port",
        "DHCP_Options",
        "ACL",
        "underlay",
    }
