"""A Port whose NIC no switch of OVN's has: where it is, what its row says, and what its status says of port security."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.features.test_site_dhcp import compiled, reported, world
from tests.topology.samples import port, underlay
from virtnet.api import NodeNetwork, Port
from virtnet.api.records import Attachment
from virtnet.engine.graph import Graph
from virtnet.engine.outcome import Publish
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.ovn_state import ASSIGNMENTS, BINDINGS, ROWS, HandoffAssignment, PortBinding
from virtnet.features.sources import INSTANCES, MIGRATIONS, PODS, PORTS
from virtnet.features.workloads import Pod, VmInstance, VmMigration
from virtnet.handoff.facts import Binding, LauncherPod, Migration, MigrationState
from virtnet.topology.chassis import read_chassis
from virtnet.topology.external import group_key
from virtnet.topology.rows import Ref


def vf() -> Port:
    nic = port(underlay(), 11)
    return nic.model_copy(update={"spec": nic.spec.model_copy(update={"nic": "sriov"})})


def scene(**spec: Any) -> Graph:
    """A VF in OVN, which answers for it from node c."""
    nic = vf()
    graph = world(underlay(**spec), nic)
    graph.put(ROWS, PORTS.key(nic.key), tuple(compiled(graph, nic).rows or ()))
    binding = PortBinding(Binding(chassis="chassis-c"), (1, 1))
    graph.put(BINDINGS, PORTS.key(nic.key), binding)
    for node in "abc":
        plugged = {"rack": {"nic": "eth1", "ready": node != "a"}}
        status = {"chassis": f"chassis-{node}", "providerNetworks": plugged}
        body = {"metadata": {"name": node}, "status": status}
        graph.put(NODE_NETWORKS, NODE_NETWORKS.key(node), NodeNetwork.parse(body))
    return graph


def launcher(graph: Graph, node: str, *, migration: str = "", terminal: bool = False) -> None:
    nic, key = vf(), f"demo/vm11-{node}"
    attachment = Attachment(
        port=nic.key, network="net", nad="demo/net", subnet=nic.spec.subnet, mac=nic.spec.mac_address,
        addresses=("10.66.0.11/24",), mtu=1500, nic="sriov",
    )  # fmt: skip
    pod = LauncherPod(name=key, node=node, migration=migration, terminal=terminal)
    graph.put(PODS, PODS.key(key), Pod(key, key, "vm11", pod, (attachment,)))


def running(graph: Graph, node: str, **state: Any) -> None:
    seen = MigrationState(**{"uid": "m", **state})
    graph.put(INSTANCES, INSTANCES.key("demo/vm11"), VmInstance(uid="u", node=node, phase="Running", state=seen))


def status(graph: Graph) -> Mapping[str, Any]:
    report = reported(graph, vf())
    return {name: report.status[name] for name in ("phase", "node")}


def condition(graph: Graph) -> tuple[bool, str]:
    (found,) = [one for one in reported(graph, vf()).conditions if one.type == "AddressesUnchecked"]
    return found.holds, found.reason


def test_its_node_is_that_of_its_pod() -> None:
    graph = scene()
    assert status(graph) == {"phase": "Unbound", "node": ""}
    launcher(graph, "a")
    assert status(graph) == {"phase": "Bound", "node": "a"}
    running(graph, "a")
    launcher(graph, "b", migration="m")
    assert status(graph) == {"phase": "Bound", "node": "a"}
    running(graph, "b")
    assert status(graph) == {"phase": "Bound", "node": "b"}
    launcher(graph, "a", terminal=True)
    launcher(graph, "b", migration="m", terminal=True)
    assert status(graph) == {"phase": "Unbound", "node": ""}


def test_nothing_is_handed_over() -> None:
    graph = scene()
    launcher(graph, "a")
    running(graph, "a")
    launcher(graph, "b", migration="m")
    (row,) = [row for row in compiled(graph, vf()).rows or () if row.columns.get("type") == "external"]
    assert row.columns["ha_chassis_group"] == Ref(group_key(vf().spec.subnet))
    assert read_chassis(row, dict) == {"requested": (), "strategy": "", "journal": {}}


@pytest.mark.parametrize(
    ("state", "phase", "told"),
    [
        pytest.param({}, "Running", False, id="on its way"),
        pytest.param({"domain_ready": True}, "Running", True, id="there"),
        pytest.param({"domain_ready": True}, "Succeeded", False, id="over"),
        pytest.param({"uid": "m0", "domain_ready": True}, "Running", False, id="an earlier migration"),
    ],
)
def test_the_targets_node_is_told_that_the_guest_is_there(state: dict[str, Any], phase: str, *, told: bool) -> None:
    """It announces that to the switches outside; at the end once more, as KubeVirt gives a guest its devices last."""
    graph = scene()
    launcher(graph, "a")
    launcher(graph, "b", migration="m")
    running(graph, "a", **state)
    migration = VmMigration("demo/m", INSTANCES.key("demo/vm11"), Migration(uid="m", phase=phase))
    graph.put(MIGRATIONS, MIGRATIONS.key("demo/m"), migration)
    found = compiled(graph, vf())
    (part,) = [one.value for one in found.effects if isinstance(one, Publish) and one.collection is ASSIGNMENTS]
    assert (part.nodes if isinstance(part, HandoffAssignment) else ()) == (("b",) if told else ())


def test_chassis_on_the_network_answer_for_it() -> None:
    graph = scene()
    rows = compiled(graph, underlay()).rows or ()
    assert {row.columns["chassis_name"] for row in rows if row.key.table == "HA_Chassis"} == {"chassis-b", "chassis-c"}


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({}, (True, "SpoofCheckUnset")),
        ({"virtualFunctions": {"trust": True}}, (True, "SpoofCheckUnset")),
        ({"virtualFunctions": {"spoofCheck": True}}, (True, "SpoofCheckOnly")),
        ({"virtualFunctions": {"spoofCheck": False}}, (True, "SpoofCheckOff")),
        ({"portSecurity": {"enabled": False}}, (False, "Checked")),
        ({"portSecurity": {"exempt": ["demo/vm11"]}}, (False, "Checked")),
    ],
)
def test_what_holds_it_to_its_addresses(spec: dict[str, Any], found: tuple[bool, str]) -> None:
    assert condition(scene(**spec)) == found


def test_ovn_checks_all_others() -> None:
    nic = port(underlay(), 11)
    (found,) = [one for one in reported(world(underlay(), nic), nic).conditions if one.type == "AddressesUnchecked"]
    assert not found.holds
