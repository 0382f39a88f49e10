"""Which NICs a mirror is for, and what it becomes in OVN."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.topology.samples import port, subnet
from virtnet.api.meta import Metadata
from virtnet.api.port_mirror import ClusterPortMirror, ClusterPortMirrorSpec
from virtnet.engine.feature import Invalid
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.port_mirrors import (
    MIRRORS,
    check_mirror,
    compile_mirror,
    mirrors_of_port,
    report_mirror,
)
from virtnet.features.sources import VMS
from virtnet.features.workloads import Vm
from virtnet.topology.rows import Ref, Row

PORT = port(subnet(), 10)
WEB: dict[str, Any] = {"selector": {"matchLabels": {"app": "web"}}}
BROKEN: dict[str, Any] = {"selector": {"matchExpressions": [{"key": "app", "operator": "In"}]}}


def mirror(name: str = "ids", *, deleting: str | None = None, **spec: Any) -> ClusterPortMirror:
    given = ClusterPortMirrorSpec.model_validate({"collector": {"address": "192.0.2.10", "key": 7}, **spec})
    return ClusterPortMirror(metadata=Metadata(name=name, deletion_timestamp=deleting), spec=given)


def graph_of(*mirrors: ClusterPortMirror, labels: Mapping[str, str] | None = None) -> Graph:
    graph = Graph()
    for one in mirrors:
        graph.put(MIRRORS, ObjectKey.of(one), one)
    vm = Vm("demo/vm10", "u", labels=labels or {"app": "web"})
    graph.put(VMS, ObjectKey("VirtualMachine", "demo", "vm10"), vm)
    return graph


def of_port(graph: Graph) -> set[str]:
    refs = mirrors_of_port(PORT, Reader(graph))["mirror_rules"]
    assert isinstance(refs, frozenset)
    return {one.key.id for one in refs if isinstance(one, Ref)}


BOTH = {"ClusterPortMirror/ids:egress", "ClusterPortMirror/ids:ingress"}


@pytest.mark.parametrize(
    ("graph", "rows"),
    [
        pytest.param(graph_of(), set(), id="none"),
        pytest.param(graph_of(mirror()), BOTH, id="everybody"),
        pytest.param(graph_of(mirror(direction="Egress")), {"ClusterPortMirror/ids:egress"}, id="what it sends"),
        pytest.param(graph_of(mirror(direction="Ingress")), {"ClusterPortMirror/ids:ingress"}, id="what it receives"),
        pytest.param(graph_of(mirror(**WEB)), BOTH, id="by its labels"),
        pytest.param(graph_of(mirror(**WEB), labels={"app": "db"}), set(), id="by others"),
        pytest.param(graph_of(mirror(networks=["net"])), BOTH, id="its network"),
        pytest.param(graph_of(mirror(networks=["other"])), set(), id="another network"),
        pytest.param(graph_of(mirror(namespaces=["demo"])), BOTH, id="its namespace"),
        pytest.param(graph_of(mirror(namespaces=["other"])), set(), id="another namespace"),
        pytest.param(graph_of(mirror(deleting="2026-01-01T00:00:00Z")), set(), id="one that goes"),
        pytest.param(graph_of(mirror(**BROKEN)), set(), id="one that selects nothing that can be said"),
        pytest.param(
            graph_of(mirror("a", direction="Egress"), mirror("b", direction="Ingress")),
            {"ClusterPortMirror/a:egress", "ClusterPortMirror/b:ingress"},
            id="two",
        ),
        pytest.param(
            graph_of(mirror("a"), mirror("b", direction="Egress")),
            {"ClusterPortMirror/a:egress", "ClusterPortMirror/a:ingress"},
            id="two of one key: the elder",
        ),
    ],
)
def test_which_mirrors_a_nic_has(graph: Graph, rows: set[str]) -> None:
    assert of_port(graph) == rows


def rows_of(one: ClusterPortMirror) -> tuple[Row, ...]:
    return tuple(compile_mirror(ObjectKey.of(one), Reader(graph_of(one))).rows or ())


def test_a_row_for_each_direction() -> None:
    rows = rows_of(mirror(collector={"address": "fd00::7", "protocol": "ERSPAN", "key": 9}))
    told = [{name: said for name, said in row.columns.items() if name not in ("name", "external_ids")} for row in rows]
    common = {"type": "erspan", "sink": "fd00::7"}
    assert told == [{"filter": "from-lport", "index": 9, **common}, {"filter": "to-lport", "index": 10, **common}]
    assert len({row.columns["name"] for row in rows}) == len(rows)


def test_two_of_one_key() -> None:
    """Both were written at once: the elder has it, and goes on when the other changes."""
    elder, later = mirror("a", direction="Ingress"), mirror("b", collector={"address": "192.0.2.10", "key": 8})
    graph = graph_of(elder, later)
    said = "key 8 of collector 192.0.2.10 is ClusterPortMirror a's; choose others"
    report = report_mirror(ObjectKey.of(later), Reader(graph))
    assert report
    assert (report.conditions[0].reason, report.conditions[0].message) == ("Conflict", said)
    assert compile_mirror(ObjectKey.of(later), Reader(graph)).rows == ()
    assert compile_mirror(ObjectKey.of(elder), Reader(graph)).rows
    with pytest.raises(Invalid, match=said):
        check_mirror(later, None, Reader(graph))
    assert check_mirror(elder, elder, Reader(graph)) == ()


def test_one_that_was_stored_before_a_rule() -> None:
    one = mirror(**BROKEN)
    assert rows_of(one) == ()
    report = report_mirror(ObjectKey.of(one), Reader(graph_of(one)))
    assert report
    assert (report.conditions[0].holds, report.conditions[0].reason) == (False, "Invalid")
    with pytest.raises(Invalid, match="In and NotIn need values"):
        check_mirror(one, None, Reader(Graph()))
