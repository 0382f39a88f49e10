"""A VM and a pod of 32 NICs: attached, migrated and gone without a trace."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.labs import running
from virtnet.api import AddressLease, Port
from virtnet.kube import kinds
from virtnet.lab import migrate
from virtnet.lab.chaos.arena import Arena
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import until
from virtnet.lab.demo.manifests import NAMESPACE, Body

pytestmark = pytest.mark.lab

NICS = 32
NAMES = [f"nic{number}" for number in range(NICS)]


class Crowd(Arena):
    """A lab of two nodes, and what is on them."""

    def ports(self, owner: str) -> list[Port]:
        items, _ = self.ask(lambda cluster: cluster.list(kinds.of(Port), NAMESPACE))
        return [port for port in map(Port.parse, items) if port.spec.owner.name == owner]

    def bound(self, owner: str, node: str) -> bool:
        """Whether all its Ports are, on this node."""
        return [(port.status.phase, port.status.node) for port in self.ports(owner)] == [("Bound", node)] * NICS

    def outcomes(self, owner: str) -> list[str]:
        """How the last migration ended for each of its Ports."""
        return [str(port.status.handoffs[0].state) for port in self.ports(owner) if port.status.handoffs]

    def left(self) -> list[str]:
        """What there is of any NIC, wherever it is to be seen."""
        found = [f"Port {port.name}" for owner in ("many", "crowd") for port in self.ports(owner)]
        leases, _ = self.ask(lambda cluster: cluster.list(kinds.of(AddressLease)))
        found += [f"lease {lease['metadata']['name']}" for lease in leases]
        found += [
            f"row {row['name']}"
            for row in self.table(self.nbctl, "Logical_Switch_Port", "name", "type")
            if not row["type"]
        ]
        for name, node in self.nodes.items():
            rows = self.table(lambda *words, name=name: self.vsctl(name, *words), "Interface", "name", "external_ids")
            found += [f"{name}: interface {row['name']}" for row in rows if "virtnet/container" in row["external_ids"]]
            found += [f"{name}: {entry.name}" for entry in (node.names.journal / "attachments").glob("*.json")]
            found += [f"{name}: gate {gate}" for gate in node.gates()]
        return found


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with running("many", 2) as lab:
        found = Crowd(lab)
        for body in (manifests.namespace(), manifests.subnet(), manifests.nad()):
            found.demo.apply(body)
        yield found


def vm() -> Body:
    made: dict[str, Any] = manifests.vm("many")
    spec = made["spec"]["template"]["spec"]
    spec["domain"]["devices"]["interfaces"] = [{"name": name, "bridge": {}} for name in NAMES]
    spec["networks"] = [{"name": name, "multus": {"networkName": "blue-net"}} for name in NAMES]
    return made


def pod(node: str) -> Body:
    made = manifests.probe(node, name="crowd")
    selections = [{"name": "blue-net", "interface": name} for name in NAMES]
    made["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = json.dumps(selections)
    return made


def test_a_vm_and_a_pod_of_32_nics(crowd: Crowd, record_property: Any) -> None:
    """How long each part takes is in the report that ``--junitxml`` writes."""
    began = time.monotonic()

    def note(what: str) -> None:
        nonlocal began
        record_property(what, round(time.monotonic() - began, 1))
        began = time.monotonic()

    demo = crowd.demo
    demo.apply(vm())
    note("VM admitted")
    home = until(lambda: demo.node_of("many"), "the VM running")
    note("VM running")
    until(lambda: crowd.bound("many", home), "all Ports of the VM bound")
    (target,) = set(crowd.nodes) - {home}
    demo.apply(pod(target))
    note("pod admitted")
    until(lambda: demo.pod_runs("crowd"), "the pod running")
    note("pod running")
    until(lambda: crowd.bound("crowd", target), "all Ports of the pod bound")
    note("all bound")
    crowd.ask(lambda cluster: migrate.migrate(cluster, "many", NAMESPACE, to=target))
    note("migrated")
    until(lambda: crowd.bound("many", target), "all Ports of the VM bound there")
    until(lambda: crowd.outcomes("many") == ["Committed"] * NICS, "all Ports handed over")
    note("handed over")
    demo.delete_pod("crowd")
    demo.delete_vms("many")
    until(lambda: not crowd.left(), "nothing left")
    note("gone")
