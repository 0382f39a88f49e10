"""NICs that are added, re-pinned and removed, while the VM runs and while it is stopped; seen from the guest."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.lab.labs import running
from virtnet.api import AddressLease, Port, Subnet
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ADDRESSES, ATTACHMENTS, PINNED
from virtnet.api.records import PinnedRecord
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Conflict, NotFound
from virtnet.kube.kinds import PODS, VMS
from virtnet.lab import migrate
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers
from virtnet.lab.lab import Lab

pytestmark = pytest.mark.lab

Object = dict[str, Any]
RED = "10.20.0."
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

    def vm(self) -> Object:
        return self.lab.ask(lambda cluster: cluster.get(VMS, "db", NAMESPACE))

    def change(self, *, asked: str = "", strategy: str = "", **nic: bool) -> None:
        """``plug``, ``mark`` as absent or ``drop`` the NIC on red; ask for its address; start and stop."""

        async def patch(cluster: Cluster) -> None:
            vm = await cluster.get(VMS, "db", NAMESPACE)
            change_nics(vm["spec"]["template"]["spec"], **nic)
            if asked:
                vm["metadata"]["annotations"][ADDRESSES] = json.dumps({"red": [asked]})
            if strategy:
                vm["spec"]["runStrategy"] = strategy
            try:
                await cluster.replace(VMS, "db", vm, NAMESPACE)
            except Conflict:  # KubeVirt writes to it as well
                await patch(cluster)

        self.lab.ask(patch)

    def pinned(self, network: str = "red") -> str:
        """The address that the VM's manifest has for a network; empty for none."""
        record = PinnedRecord.read(self.vm()["metadata"]["annotations"].get(PINNED))
        return record.nics[network].addresses[0] if record and network in record.nics else ""

    def port(self) -> Port | None:
        with suppress(NotFound):
            return Port.parse(self.lab.ask(lambda cluster: cluster.get(kinds.of(Port), "db.red", NAMESPACE)))
        return None

    def used(self) -> str:
        port = self.port()
        return port.spec.addresses[0] if port else ""

    def bound(self) -> bool:
        port = self.port()
        return port is not None and port.status.phase == "Bound"

    def leases(self) -> set[str]:
        """The VM's on red, other than MACs."""
        items, _ = self.lab.ask(lambda cluster: cluster.list(kinds.of(AddressLease)))
        held = [item["spec"]["address"] for item in items if item["spec"]["holder"]["owner"]["name"] == "db"]
        return {address for address in held if address.startswith(RED)}

    def launcher(self) -> Object:
        items, _ = self.lab.ask(lambda cluster: cluster.list(PODS, NAMESPACE, labels="kubevirt.io=virt-launcher"))
        return next(item for item in items if item["status"]["phase"] == "Running")

    def attached(self) -> int:
        """How many NICs the node of the running launcher has been told of."""
        return len(json.loads(self.launcher()["metadata"]["annotations"][ATTACHMENTS]))

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


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with running("hotplug", 2) as lab:
        found = Box(lab)
        found.start()
        yield found


def test_a_nic_is_plugged_into_a_running_vm_moves_with_it_and_is_unplugged(box: Box) -> None:
    box.change(plug=True)
    address = box.pinned()
    assert address.startswith(RED), "pinned at the change's own admission"
    until(lambda: box.answers(address), "the guest answering at the address of its new NIC")
    assert box.bound()
    assert box.attached() == 2

    source = box.demo.node_of("db")
    to = "node2" if source == "node1" else "node1"
    box.lab.ask(lambda cluster: migrate.migrate(cluster, "db", NAMESPACE, to=to))
    until(lambda: (p := box.port()) is not None and p.status.node == to and p.status.phase == "Bound", "red moved too")
    assert box.answers(address)

    box.change(asked=f"{RED}77")
    assert box.pinned() == f"{RED}77"
    assert box.used() == address, "the guest keeps what it uses"
    until(lambda: box.leases() == {address, f"{RED}77"}, "both held")
    assert box.answers(address)

    box.change(mark=True)
    until(
        lambda: "red" not in [one["name"] for one in box.vm()["spec"]["template"]["spec"]["networks"]],
        "gone from the VM",
    )
    until(lambda: box.port() is None and not box.leases(), "its Port and its leases gone")
    assert box.attached() == 1
    assert not box.answers(address)
    assert box.answers(box.pinned("blue")), "the other NIC is as it was"


def test_a_nic_is_added_re_pinned_and_removed_while_the_vm_is_stopped(box: Box) -> None:
    box.change(strategy="Halted")
    until(lambda: not box.demo.node_of("db"), "stopped")
    box.change(plug=True, asked=f"{RED}50")
    until(lambda: box.leases() == {f"{RED}50"} and box.used() == f"{RED}50", "pinned while stopped")
    box.change(asked=f"{RED}51")
    until(lambda: box.leases() == {f"{RED}51"} and box.used() == f"{RED}51", "pinned anew, and the old one free")
    box.change(strategy="Always")
    until(lambda: box.answers(f"{RED}51"), "answers at the new one")
    box.change(strategy="Halted")
    until(lambda: not box.demo.node_of("db"), "stopped again")
    box.change(drop=True)
    until(lambda: box.port() is None and not box.leases(), "all free")
