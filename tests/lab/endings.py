"""What tests of migrations' endings do to a lab, and ask of it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from virtnet.api import HandoffRecord, NodeNetwork, NodeNetworkStatus, Port
from virtnet.kube import kinds
from virtnet.kube.kinds import LEASES, VMIMS
from virtnet.lab import netns
from virtnet.lab.chaos.arena import PROBE, Arena
from virtnet.lab.chaos.invariants import violations
from virtnet.lab.daemon import Daemon
from virtnet.lab.demo.cluster import until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers

PORT = f"{NAMESPACE}/one.blue"
JOB = "kubevirt.io/migrationJobUID"
WITHOUT_GATES = """
import errno
from virtnet.cli.main import app
from virtnet.node import nft

def gate(*_, **__):
    raise OSError(errno.EOPNOTSUPP, "Operation not supported")

nft.gate = gate
app()
"""
"""virtnet-node on a kernel that has none."""


class Endings(Arena):
    """An arena of which VM ``one`` is the one that matters."""

    def home(self, vm: str = "one") -> str:
        return str(until(lambda: self.demo.node_of(vm), f"VM {vm} running"))

    def other(self, *taken: str) -> str:
        return next(node for node in self.nodes if node not in taken)

    def answers(self) -> bool:
        """Whether the guest does, to a peer on another node."""
        return answers(self.lab, f"{NAMESPACE}/{PROBE}", self.demo.pinned("one")[0])

    def record(self, vm: str = "one") -> HandoffRecord | None:
        port = Port.parse(self.ask(lambda cluster: cluster.get(kinds.of(Port), f"{vm}.blue", NAMESPACE)))
        return next(iter(port.status.handoffs), None)

    def migration(self, name: str) -> dict[str, Any]:
        return self.demo.get(VMIMS, name) or {}

    def begin(self, way: str = "", *, vm: str = "one", to: str = "") -> str:
        """A migration that has got as far as its way lets it for certain: to its running phase, where it is slow."""
        name = self.start_migration(vm, to=to or self.other(self.home(vm)), way=way)
        if way == "slow":
            until(lambda: self.migration(name).get("status", {}).get("phase") == "Running", "the migration running")
        return name

    def pods_of(self, name: str) -> list[dict[str, Any]]:
        """The target pod of a migration, once there is one."""
        uid = self.migration(name)["metadata"]["uid"]
        return [pod for pod in self.launchers("one") if pod["metadata"]["labels"].get(JOB) == uid]

    def target_pod(self, name: str) -> dict[str, Any]:
        return self.pods_of(name)[0]

    def phase(self, name: str) -> str:
        """That of the target pod of a migration."""
        return str(self.target_pod(name)["status"]["phase"])

    def finished(self, vm: str) -> list[str]:
        """Migrations of a VM that have ended."""
        items, _ = self.ask(lambda cluster: cluster.list(VMIMS, NAMESPACE))
        names = {one["metadata"]["name"] for one in items if one["spec"]["vmiName"] == vm}
        return sorted(names - {one["metadata"]["name"] for one in self.running_migrations(vm)})

    def ended(self, *states: str, vm: str = "one", node: str = "") -> HandoffRecord:
        """The record of a handoff that ended so, once nothing goes on any more and all is well."""
        self.mend()
        found: list[str] = []

        def well() -> bool:
            found[:] = violations(self)
            return not found

        try:
            until(well, "all well", seconds=60)
        except Exception as problem:
            raise AssertionError(found) from problem
        record = self.record(vm)
        assert record is not None
        assert record.state in states, record
        assert self.home(vm) == (node or self.home(vm))
        return record

    def over(self, vm: str = "one") -> HandoffRecord | None:
        """The last handoff's record, once it has ended."""
        record = self.record(vm)
        return record if record is not None and record.finished_at is not None else None

    def kill_guests(self, *pods: dict[str, Any]) -> None:
        for pod in pods:
            Daemon("qemu", (), self.lab.names.state / "pods" / pod["metadata"]["uid"]).kill()

    def state(self) -> str:
        """That of the handoff which is under way."""
        rows = self.table(self.nbctl, "Logical_Switch_Port", "name", "external_ids")
        found = {row["name"]: row["external_ids"] for row in rows}
        return str(found.get(PORT, {}).get("virtnet/handoff-state", ""))

    def bound_to_both(self) -> bool:
        rows = self.table(self.sbctl, "Port_Binding", "logical_port", "additional_chassis")
        return any(row["additional_chassis"] for row in rows if row["logical_port"] == PORT)

    @contextmanager
    def held(self, state: str, *, to: str, way: str = "") -> Iterator[None]:
        """A migration whose handoff stays in this state, because somebody does not do his part."""
        who = {"Armed": "standin", "Releasing": f"{self.home()}/virtnet"}.get(state, "northd")
        standin, idle = self.daemons["standin"], self.daemons[who]
        self.begin("fails" if state == "RollingBack" else way, to=to)
        until(self.bound_to_both, "bound to both")
        standin.freeze()
        idle.freeze()
        if idle is not standin:
            standin.thaw()
        try:
            until(lambda: self.state() == state, f"the handoff {state}")
            yield
        finally:
            idle.thaw()

    @contextmanager
    def without_gates(self, node: str) -> Iterator[None]:
        """A node whose kernel has no gates."""
        usual = self.daemons[f"{node}/virtnet"]
        flags = usual.command[usual.command.index("node") :]
        unusual = replace(usual, command=[*self.nodes[node].prefix, sys.executable, "-c", WITHOUT_GATES, *flags])
        for before, after in ((usual, unusual), (unusual, usual)):
            before.stop()
            after.start()
            self.nodes[node].wait_for_virtnet()
            until(partial(self._has_gates, node, after is usual), f"{node} saying what it can")
            if after is unusual:
                yield

    def _has_gates(self, node: str, wanted: bool) -> bool:
        return self.said(node).handoff.gate is wanted

    def said(self, node: str) -> NodeNetworkStatus:
        """What a node says of itself."""
        return NodeNetwork.parse(self.ask(lambda cluster: cluster.get(kinds.of(NodeNetwork), node))).status

    def reached(self, node: str) -> int:
        """How many frames the switch of a node has handed to its NIC of the port."""
        rows = self.table(lambda *words: self.vsctl(node, *words), "Interface", "name", "external_ids")
        (name,) = (row["name"] for row in rows if row["external_ids"].get("iface-id") == PORT)
        (link,) = json.loads(netns.run("ip", "-json", "-s", "link", "show", name, netns=self.nodes[node].netns))
        return int(link["stats64"]["tx"]["packets"])

    def leader(self) -> str:
        """The controller that leads; empty while none does."""
        lease = self.ask(lambda cluster: cluster.get(LEASES, "virtnet-controller", "virtnet"))
        holder = lease["spec"].get("holderIdentity") or ""
        return next((name for name in ("controller", "standby") if f"_{self.daemons[name].pid}_" in holder), "")

    def kill(self, victim: str) -> None:
        """Kill a process and start it again. A leader's successor does not wait until its time is over."""
        name = self.leader() if victim == "leader" else victim
        self.daemons[name].kill()
        if victim == "leader":
            self.depose()
        self.start(name)
