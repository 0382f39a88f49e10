"""What KubeVirt wrote in a recorded scenario, written once more, change by change, to an API server that has no KubeVirt.

A line is a change: ``object`` whole when it comes, ``set`` and ``del`` by path from then on. Of these only what virtnet
reads is written. Leases are claimed and chassis bind ports as admission, nodes and ovn-controllers would.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.controllers.conftest import LEASES, SUBNETS, World
from virtnet.api import Vpc
from virtnet.api.lease import lease_name
from virtnet.api.multus import NETWORK_STATUS
from virtnet.api.names import ATTACHMENTS, PINNED, port_name
from virtnet.api.records import PinnedRecord, read_attachments
from virtnet.kube import kinds
from virtnet.kube.errors import AlreadyExists
from virtnet.kube.kinds import PODS, VMIMS, VMIS, VMS

TRACE = Path(__file__).parent / "trace"
KINDS = {"VirtualMachine": VMS, "VirtualMachineInstance": VMIS, "VirtualMachineInstanceMigration": VMIMS, "Pod": PODS}
READ = re.compile(r"metadata\.(annotations|labels)\[(.+)\]|status\.(phase|nodeName|migrationState\.[A-Za-z]+)")
UNREAD = ("targetDirectMigrationNodePorts", "migrationConfiguration")
RANGES = {"blue": "10.10.0.0/24", "red": "10.20.0.0/24"}

Object = dict[str, Any]


class Recording:
    """One recorded scenario, in a namespace of the test's own."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self._lines = [json.loads(line) for line in (TRACE / f"{name}.jsonl").read_text().splitlines()]
        self._next = 0
        self._uids: dict[str, str] = {}
        self._leased: set[str] = set()
        self.pods: dict[str, Object] = {}
        """By name: annotations and node, as recorded so far."""

    async def prepare(self) -> None:
        """What is there before anybody makes a VM: two Subnets, and two nodes with a chassis each."""
        own = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "Vpc", "metadata": {"name": "own"}}
        await self.world.cluster.create(kinds.of(Vpc), own, self.world.namespace)
        for name, cidr in RANGES.items():
            spec = {"cidrs": [cidr], "vpc": {"kind": "Vpc", "name": "own"}}
            body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "Subnet", "metadata": {"name": name}, "spec": spec}
            await self.world.cluster.create(SUBNETS, body, self.world.namespace)
        known = self.world.ovn.sbctl("--bare", "--columns=name", "list", "Chassis").split()
        for number in (1, 2):
            if f"ch{number}" not in known:
                self.world.ovn.sbctl("chassis-add", f"ch{number}", "geneve", f"172.31.1.{number}")

    async def play(self, until: float) -> None:
        """Write all that happened before this second of the recording."""
        while self._next < len(self._lines) and self._lines[self._next]["t"] < until:
            await self._write(self._lines[self._next])
            self._next += 1

    def uid(self, recorded: str) -> str:
        """The UID that an object of the recording has here."""
        return self._uids[recorded]

    async def _write(self, line: Object) -> None:
        if line["kind"] not in KINDS:
            return
        line = self._here(line)
        kind, name, namespace = KINDS[line["kind"]], line["name"], self.world.namespace
        changes = dict(_changes(line))
        if kind is VMS:
            await self._claim(changes.get(("metadata", "annotations", PINNED), ""))
        if kind is PODS:
            pod = self.pods.setdefault(name, {})
            pod.update({path[-1]: value for path, value in changes.items()})
        match line["type"]:
            case "ADDED":
                await self._create(kind, line["object"], self._node_of(name) if kind is PODS else "")
            case "MODIFIED":
                await self._patch(kind, name, changes)
            case "DELETED":
                await self.world.cluster.delete(kind, name, namespace)

    def _here(self, line: Object) -> Object:
        """The line as it is in this namespace, and with the UIDs that objects have here."""
        text = json.dumps(line).replace("demo/", f"{self.world.namespace}/")
        text = text.replace('\\"namespace\\":\\"demo\\"', f'\\"namespace\\":\\"{self.world.namespace}\\"')
        for recorded, uid in self._uids.items():
            text = text.replace(recorded, uid)
        found: Object = json.loads(text)
        return found

    def _node_of(self, pod: str) -> str:
        """Where the scheduler is to put it: the API server lets nobody else say that later."""
        later = (one["set"]["spec.nodeName"] for one in self._lines[self._next :]
                 if one.get("name") == pod and "spec.nodeName" in one.get("set", {}))  # fmt: skip
        return str(next(later))

    async def _create(self, kind: kinds.Kind, recorded: Object, node: str) -> None:
        metadata = recorded["metadata"]
        kept = {key: metadata[key] for key in ("name", "labels", "annotations", "ownerReferences") if key in metadata}
        body = {**recorded, "metadata": kept}
        if kind is PODS:
            self.pods[kept["name"]] |= {"node": node, "made with": kept["annotations"].get(ATTACHMENTS)}
            body["spec"] = {"nodeName": node, "containers": [{"name": "compute", "image": "x"}]}
            body.pop("status", None)
        made = await self.world.cluster.create(kind, body, self.world.namespace)
        self._uids[metadata["uid"]] = made["metadata"]["uid"]

    async def _patch(self, kind: kinds.Kind, name: str, changes: Mapping[tuple[str, ...], Any]) -> None:
        for part in ("metadata", "status"):
            patch: Object = {}
            for path, value in changes.items():
                if path[0] == part:
                    inner = patch
                    for key in path[:-1]:
                        inner = inner.setdefault(key, {})
                    inner[path[-1]] = value
            sub = "status" if part == "status" and kind is not VMIS else ""
            if patch:
                await self.world.cluster.patch(kind, name, patch, self.world.namespace, subresource=sub)

    async def _claim(self, pinned: str) -> None:
        """The leases of what a VM was pinned to."""
        record = PinnedRecord.read(pinned)
        vm = record.vm.partition("/")[2] if record else ""
        for network, nic in (record.nics if record else {}).items():
            holder = {"namespace": self.world.namespace, "port": port_name(vm, network), "network": network,
                      "owner": {"kind": "VirtualMachine", "name": vm}}  # fmt: skip
            for address in (nic.mac, *nic.addresses):
                spec = {"address": address, "subnet": nic.subnet.model_dump(by_alias=True), "holder": holder}
                body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "AddressLease", "spec": spec,
                        "metadata": {"name": lease_name(address, nic.subnet)}}  # fmt: skip
                with suppress(AlreadyExists):
                    await self.world.cluster.create(LEASES, body)

    # ---------------------------------------------------------------- nodes and chassis

    def nics(self, port: str) -> set[str]:
        """The chassis that have an interface of this port: of pods whose sandbox has been made, or is being made."""
        return {f"ch{pod['node'][-1]}" for pod in self.pods.values() if port in _attached(pod)}

    async def follow(self, *ports: str) -> None:
        """Let the chassis bind each port as OVN asks them to, if they have its interface."""
        for port in ports:
            requested = self.world.option(port, "requested-chassis").split(",")
            able, key = self.nics(f"{self.world.namespace}/{port}"), f"{self.world.namespace}/{port}"
            await asyncio.to_thread(self.world.ovn.sbctl, "--timeout=5", "wait-until", "Port_Binding", key)
            columns = {"chassis": requested[0], "additional_chassis": requested[1] if requested[1:] else ""}
            for column, name in columns.items():
                found = ["--bare", "--columns=_uuid", "find", "Chassis", f"name={name}"] if name in able else []
                row = self.world.ovn.sbctl(*found).strip() if found else ""
                self.world.ovn.sbctl(
                    *(
                        ("set", "Port_Binding", key, f"{column}={row}")
                        if row
                        else ("clear", "Port_Binding", key, column)
                    )
                )


def _changes(line: Object) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What a line changes, of what virtnet reads: by path; None for what goes."""
    if line["type"] == "ADDED":
        annotations = line["object"]["metadata"].get("annotations") or {}
        yield from ((("metadata", "annotations", key), text) for key, text in annotations.items())
    for path, value in {**line.get("set", {}), **dict.fromkeys(line.get("del", ()))}.items():
        match = READ.fullmatch(path)
        if match and match[1]:
            yield ("metadata", match[1], match[2]), value
        elif match and not path.endswith(UNREAD):
            yield tuple(path.split(".")), value == "true" if value in ("true", "false") else value


def _attached(pod: Object) -> set[str]:
    """The Ports whose interfaces a pod has: all of those that it was made with, and what Multus says of later ones."""
    if pod.get("phase") in ("Succeeded", "Failed"):
        return set()
    made = json.loads(pod[NETWORK_STATUS]) if pod.get(NETWORK_STATUS) else []
    later = {one["interface"] for one in made}
    first = read_attachments(pod.get("made with"))
    return {one.port for one in first.values()} | {
        one.port for interface, one in read_attachments(pod.get(ATTACHMENTS)).items() if interface in later
    }
