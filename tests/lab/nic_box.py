"""A lab with a VM and two Subnets, and what the tests of NICs do there."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from virtnet.api import AddressLease, Port, Subnet
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ADDRESSES, ATTACHMENTS, PINNED
from virtnet.api.records import PinnedRecord
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Conflict, NotFound
from virtnet.kube.kinds import PODS, VMIS, VMS, Kind
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers
from virtnet.lab.lab import Lab

Object = dict[str, Any]
BLUE, RED = "10.10.0.", "10.20.0."
PROBE = f"{NAMESPACE}/probe"


class Box:
    """A lab with a VM ``db`` on network blue, and a second Subnet, red, in the same Vpc."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.demo = Demo(lab)

    def start(self) -> None:
        red = Subnet.parse({"metadata": {"name": "red", "namespace": NAMESPACE}, "spec": {"cidrs": [f"{RED}0/24"]}})
        config = {"cniVersion": "1.1.0", "name": "red-net", "type": "virtnet-cni", "subnet": "red"}
        nad = {**manifests.nad(), "metadata": {"name": "red-net", "namespace": NAMESPACE}}
        nad["spec"] = {"config": json.dumps(config)}
        for body in (manifests.namespace(), manifests.subnet(), manifests.nad(), red.manifest(), nad):
            self.demo.apply(body)
        probe = manifests.probe("node1")
        probe["metadata"]["annotations"][NETWORKS] = "blue-net, red-net"
        self.demo.apply(probe)
        self.demo.apply(manifests.vm("db"))
        until(lambda: self.demo.node_of("db") and self.demo.pod_runs("probe"), "the VM and the pod running")

    def vm(self, name: str = "db") -> Object:
        return self.lab.ask(lambda cluster: cluster.get(VMS, name, NAMESPACE))

    def edit(self, vm: str, change: Callable[[Object], None]) -> None:
        """Write a VM as a person does, again where KubeVirt has written in between."""

        async def write(cluster: Cluster) -> None:
            body = await cluster.get(VMS, vm, NAMESPACE)
            change(body)
            try:
                await cluster.replace(VMS, vm, body, NAMESPACE)
            except Conflict:
                await write(cluster)

        self.lab.ask(write)

    def change(self, *, address: str = "", strategy: str = "", **nic: bool) -> None:
        """``plug``, ``mark`` as absent or ``drop`` the NIC on red; ask for its address; start and stop."""

        def change(vm: Object) -> None:
            change_nics(vm["spec"]["template"]["spec"], **nic)
            if address:
                vm["metadata"]["annotations"][ADDRESSES] = json.dumps({"red": [address]})
            if strategy:
                vm["spec"]["runStrategy"] = strategy

        self.edit("db", change)

    def pinned(self, network: str = "red") -> str:
        """The address that the VM's manifest has for a network; empty for none."""
        record = PinnedRecord.read(self.vm()["metadata"]["annotations"].get(PINNED))
        return record.nics[network].addresses[0] if record and network in record.nics else ""

    def port(self, name: str = "db.red") -> Port | None:
        with suppress(NotFound):
            return Port.parse(self.lab.ask(lambda cluster: cluster.get(kinds.of(Port), name, NAMESPACE)))
        return None

    def handoffs(self, port: str) -> list[str]:
        """How a Port's handoffs have ended, or how far they are; the newest first."""
        found = self.port(port)
        return [one.state for one in found.status.handoffs] if found else []

    def instance(self, vm: str) -> Object:
        return self.lab.ask(lambda cluster: cluster.get(VMIS, vm, NAMESPACE))

    def used(self) -> str:
        port = self.port()
        return port.spec.addresses[0] if port else ""

    def bound(self) -> bool:
        port = self.port()
        return port is not None and port.status.phase == "Bound"

    def leases(self) -> set[str]:
        """The VM's on red, other than MACs."""
        return self.leased("db", RED)

    def leased(self, owner: str, start: str = BLUE) -> set[str]:
        """The addresses on a network that a VM or VMI has leases of."""
        items, _ = self.lab.ask(lambda cluster: cluster.list(kinds.of(AddressLease)))
        held = [item["spec"]["address"] for item in items if item["spec"]["holder"]["owner"]["name"] == owner]
        return {address for address in held if address.startswith(start)}

    def create(self, kind: Kind, body: Object) -> None:
        self.lab.ask(lambda cluster: cluster.create(kind, body, NAMESPACE))

    def delete(self, kind: Kind, name: str) -> None:
        self.lab.ask(lambda cluster: cluster.delete(kind, name, NAMESPACE))

    def launcher(self) -> Object:
        items, _ = self.lab.ask(lambda cluster: cluster.list(PODS, NAMESPACE, labels="kubevirt.io=virt-launcher"))
        return next(item for item in items if item["status"]["phase"] == "Running")

    def attached(self) -> int:
        """How many NICs the node of the running launcher has been told of."""
        return len(json.loads(self.launcher()["metadata"]["annotations"][ATTACHMENTS]))

    def address(self, vm: str, network: str) -> str:
        """What another VM's manifest was pinned to."""
        body = self.lab.ask(lambda cluster: cluster.get(VMS, vm, NAMESPACE))
        record = PinnedRecord.read(body["metadata"]["annotations"][PINNED])
        assert record is not None
        return record.nics[network].addresses[0]

    def restart(self, vm: str, annotations: dict[str, str]) -> None:
        """Stop it, write annotations, and start it."""

        def patch(body: Object) -> None:
            self.lab.ask(lambda cluster: cluster.patch(VMS, vm, body, NAMESPACE))

        patch({"metadata": {"annotations": annotations}, "spec": {"runStrategy": "Halted"}})
        until(lambda: not self.demo.node_of(vm), "stopped")
        patch({"spec": {"runStrategy": "Always"}})

    def answers(self, address: str) -> bool:
        return answers(self.lab, PROBE, address)


def change_nics(spec: Object, *, plug: bool = False, mark: bool = False, drop: bool = False) -> None:
    devices = spec["domain"]["devices"]
    if plug:
        devices["interfaces"].append({"name": "red", "bridge": {}})
        spec["networks"].append({"name": "red", "multus": {"networkName": "red-net"}})
    for interface in devices["interfaces"]:
        if mark and interface["name"] == "red":
            interface["state"] = "absent"
    if drop:
        devices["interfaces"] = [one for one in devices["interfaces"] if one["name"] != "red"]
        spec["networks"] = [one for one in spec["networks"] if one["name"] != "red"]
