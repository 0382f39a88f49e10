"""A lab with VMs, and a pod that pings them: what faults are done to."""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from virtnet.api import Port
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound
from virtnet.kube.kinds import LEASES, PODS, VMIMS, VMIS, VMS, Kind
from virtnet.lab import netns
from virtnet.lab.chaos import plan
from virtnet.lab.daemon import Daemon, DaemonError
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.lab import Lab
from virtnet.lab.nodes import Node
from virtnet.lab.standin.ways import WAY

T = TypeVar("T")

PROBE = "probe"
LINKS = {"management": "m-{}", "tunnels": "p-{}"}
"""A node's, by network."""
Object = dict[str, Any]


@dataclass
class Arena:
    """Its VMs come back under the same names, whatever is done to them."""

    lab: Lab
    names: tuple[str, ...] = plan.VMS
    """Of the VMs."""
    migrations: dict[str, str] = field(default_factory=dict)
    """UID -> phase of every migration that was seen."""

    @cached_property
    def demo(self) -> Demo:
        return Demo(self.lab)

    @cached_property
    def daemons(self) -> dict[str, Daemon]:
        """Those of the lab, and a second controller, ``standby``."""
        standby = self.lab.central.controller("standby", "--metrics-port", "0")
        return {**self.lab.daemons, standby.name: standby}

    @cached_property
    def nodes(self) -> dict[str, Node]:
        return self.lab.nodes

    def furnish(self) -> None:
        """The second controller, the Subnet, the VMs and the pod. Raises NotInTime."""
        self.start("standby")
        for body in (manifests.namespace(), _shared(manifests.subnet()), manifests.nad(clusterSubnet="blue"),
                     manifests.probe("node3")):  # fmt: skip
            self.demo.apply(body)
        for vm in self.names:
            self.demo.apply(manifests.vm(vm))
        until(lambda: self.demo.pod_runs(PROBE), "the pod running")
        until(lambda: all(self.demo.node_of(vm) for vm in self.names), "the VMs running")

    def start(self, name: str) -> None:
        """Start a daemon unless it runs, with what its node would do beside. Raises DaemonError."""
        daemon = self.daemons[name]
        if daemon.pid is not None:
            return
        daemon.start()
        node, _, program = name.partition("/")
        if program == "ovs-vswitchd" and node in self.nodes:
            self.nodes[node].address_tunnels()

    def crash(self, node: str) -> None:
        """A node dies, with all that runs on it and all that its kernel had, and nobody reaches it any more."""
        self.set_links(node, "down", *LINKS)
        names = self.lab.names
        sandboxes = (json.loads(path.read_text()) for path in names.state.glob("pods/*/sandbox.json"))
        pods = [one["netns"] for one in sandboxes if one["node"] == node]
        netns.kill_all([self.nodes[node].netns, *pods])
        for pod in set(pods) & set(names.existing_namespaces()):
            netns.run("ip", "netns", "delete", pod)

    def back(self, node: str) -> None:
        """It comes back. Raises DaemonError."""
        self.set_links(node, "up", *LINKS)
        for program in self.nodes[node].daemons:
            self.start(f"{node}/{program}")

    def set_links(self, node: str, to: str, *networks: str) -> None:
        """Links of a node ``up`` or ``down``."""
        netns.ip(self.lab.names.central, *(f"link set {LINKS[network].format(node)} {to}" for network in networks))

    def depose(self) -> None:
        """Take the lead from whoever has it, who does not know of it yet. Raises ApiError."""
        nobody = {"spec": {"holderIdentity": ""}}
        self.ask(lambda cluster: cluster.patch(LEASES, "virtnet-controller", nobody, "virtnet"))

    def addresses(self) -> dict[str, list[str]]:
        """MAC -> addresses of the VMs' NICs. Raises ApiError."""
        items, _ = self.ask(lambda cluster: cluster.list(kinds.of(Port), NAMESPACE))
        specs = [Port.parse(item).spec for item in items]
        return {one.mac_address: list(map(str, one.addresses)) for one in specs}

    def ask(self, work: Callable[[Cluster], Awaitable[T]]) -> T:
        """Raises ApiError, also where there is nobody to be asked."""
        return self.lab.ask(work)

    def nbctl(self, *words: str) -> str:
        return self._ovn("ovn-nbctl", self.lab.names.northbound, *words)

    def sbctl(self, *words: str) -> str:
        return self._ovn("ovn-sbctl", self.lab.names.southbound, *words)

    def vsctl(self, node: str, *words: str) -> str:
        names = self.nodes[node].names
        return netns.run("ovs-vsctl", "--timeout=5", f"--db={names.ovsdb}", *words, netns=names.netns)

    def table(self, ask: Callable[..., str], table: str, *columns: str) -> list[dict[str, Any]]:
        """Rows of an OVSDB table, sets as lists and maps as dictionaries. Raises NetnsError."""
        answer = json.loads(ask("--format=json", f"--columns={','.join(columns)}", "list", table))
        return [dict(zip(columns, map(_plain, row), strict=True)) for row in answer["data"]]

    def start_migration(self, vm: str, *, to: str = "", way: str = "") -> str:
        """Begin a migration, to a node if one is named, in one of the stand-in's ways; its name. Raises ApiError."""
        spec: Object = {"vmiName": vm}
        if to:
            spec["addedNodeSelector"] = {"kubernetes.io/hostname": to}
        body = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstanceMigration",
            "metadata": {
                "generateName": f"{vm}-",
                "namespace": NAMESPACE,
                "annotations": {WAY: way} if way else {},
            },
            "spec": spec,
        }
        made = self.ask(lambda cluster: cluster.create(VMIMS, body, NAMESPACE))
        return str(made["metadata"]["name"])

    def running_migrations(self, vm: str = "") -> list[Object]:
        """Migrations that have not ended, of one VM or of all."""
        items, _ = self.ask(lambda cluster: cluster.list(VMIMS, NAMESPACE))
        for one in items:
            self.migrations[one["metadata"]["uid"]] = one.get("status", {}).get("phase", "")
        return [
            one
            for one in items
            if one.get("status", {}).get("phase") not in ("Succeeded", "Failed") and vm in ("", one["spec"]["vmiName"])
        ]

    def delete(self, kind: Kind, name: str, namespace: str = NAMESPACE) -> None:
        with suppress(NotFound):
            self.ask(lambda cluster: cluster.delete(kind, name, namespace))

    def launchers(self, vm: str) -> list[Object]:
        pods, _ = self.ask(lambda cluster: cluster.list(PODS, NAMESPACE, labels=f"vm.kubevirt.io/name={vm}"))
        return pods

    def mend(self) -> None:
        """Everything runs, every link is up, every VM is to run, and nothing moves any more once it can.

        Raises NotInTime.
        """
        for name in self.daemons:
            self.start(name)
        self._restore_vms()
        until(self._quiet, "no migration under way, and every VM running", seconds=120)

    def _restore_vms(self) -> None:
        def try_once() -> bool:
            with suppress(ApiError):
                for vm in self.names:
                    body = self.demo.get(VMS, vm)
                    if body is None:
                        self.demo.apply(manifests.vm(vm))
                    elif body["spec"].get("runStrategy") != "Always" and "deletionTimestamp" not in body["metadata"]:
                        self.demo.set_run(vm, "Always")
                    elif "deletionTimestamp" in body["metadata"]:
                        return False
                return True
            return False

        until(try_once, "the VMs being there", seconds=120)

    def _quiet(self) -> bool:
        with suppress(ApiError):
            return not self.running_migrations() and all(self._runs(vm) for vm in self.names)
        return False

    def _runs(self, vm: str) -> bool:
        body = self.demo.get(VMIS, vm)
        return bool(
            body and body.get("status", {}).get("phase") == "Running" and not body["metadata"].get("deletionTimestamp")
        )

    def _ovn(self, tool: str, database: str, *words: str) -> str:
        return netns.run(tool, "--timeout=5", f"--db={database}", *words, netns=self.lab.names.central)


def _shared(subnet: Object) -> Object:
    """The same for all namespaces."""
    return {**subnet, "kind": "ClusterSubnet", "metadata": {"name": subnet["metadata"]["name"]}}


def _plain(value: Any) -> Any:
    """OVSDB's JSON as Python's own."""
    match value:
        case ["map", pairs]:
            return dict(pairs)
        case ["set", members]:
            return [_plain(member) for member in members]
        case ["uuid", uuid]:
            return uuid
        case _:
            return value


REFUSALS = (ApiError, DaemonError, netns.NetnsError)
"""What a fault may meet because of another."""
