"""What one kind adds to the objects of another: it comes, and goes, with what the other's own are."""

from collections.abc import Sequence

import pytest

from tests.topology.samples import VPC
from virtnet.api import ClusterVpc, Vpc
from virtnet.engine.collection import Collection
from virtnet.engine.due import Task
from virtnet.engine.feature import Extension, Feature, extended
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import ConditionState, Outcome, Report
from virtnet.topology.rows import Key, Row

VPCS: Collection[ClusterVpc] = Collection("ClusterVpc")
COLOURS: Collection[str] = Collection("Colour")
KEY, COLOUR = ObjectKey.of(VPC), ObjectKey("Colour", "", "default")
OWN = Row(Key("Logical_Router", str(KEY)), {})
ADDED = Row(Key("Logical_Router", f"{KEY}:Colour/red"), {})


def colours(_: ClusterVpc, reader: Reader) -> Sequence[Row]:
    return [ADDED] if reader.get(COLOURS, COLOUR) == "red" else []


def is_red(_: ClusterVpc, reader: Reader) -> Sequence[ConditionState]:
    return [ConditionState("Red", reader.get(COLOURS, COLOUR) == "red", "Painted")]


COLOUR_FEATURE = Feature(Vpc, COLOURS, extensions=(Extension(ClusterVpc, is_red, colours),))


def served(rows: Sequence[Row] | None) -> Feature:
    feature = Feature(
        ClusterVpc,
        VPCS,
        compile=lambda *_: Outcome(rows),
        report=lambda *_: Report((ConditionState("Ready", holds=True, reason="InOvn"),)),
    )
    _, found = extended(COLOUR_FEATURE, feature)
    return found


@pytest.mark.parametrize(
    ("own", "rows"),
    [
        pytest.param([OWN], (OWN, ADDED), id="beside its own"),
        pytest.param([], [], id="an object that is to have no rows"),
        pytest.param(None, None, id="an object that keeps what OVN has"),
    ],
)
def test_rows_are_added_where_the_object_has_some(own: Sequence[Row] | None, rows: Sequence[Row] | None) -> None:
    graph, compute = Graph(), served(own).compile
    graph.put(VPCS, KEY, VPC)
    graph.put(COLOURS, COLOUR, "red")
    assert compute is not None
    assert graph.peek(lambda reader: compute(KEY, reader)).rows == rows


def test_who_is_extended_is_looked_at_again_for_what_the_extension_has_read() -> None:
    graph, feature = Graph(), served([OWN])
    graph.put(VPCS, KEY, VPC)
    compute, report = feature.compile, feature.report
    assert compute is not None
    assert report is not None
    tasks = Task("compile", KEY), Task("report", KEY)
    assert graph.evaluate(tasks[0], compute).rows == (OWN,)
    graph.evaluate(tasks[1], report)
    graph.put(COLOURS, COLOUR, "red")
    assert set(graph.due()) == set(tasks)
    found = graph.evaluate(tasks[1], report)
    assert found is not None
    assert [state.type for state in found.conditions if state.holds] == ["Ready", "Red"]
