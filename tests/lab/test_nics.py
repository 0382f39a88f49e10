"""NICs that are added, re-pinned and removed, while the VM runs and while it is stopped, and their routes.

Seen from the guest.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.lab.labs import running
from virtnet.api import AddressLease, Port, Subnet, Vpc
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ADDRESSES, ATTACHMENTS, PINNED, ROUTES
from virtnet.api.records import PinnedRecord
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import Conflict, NotFound
from virtnet.kube.kinds import PODS, VMIS, VMS, Kind
from virtnet.lab import migrate
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers, ping_from_guest
from virtnet.lab.lab import Lab
from virtnet.lab.standin.kubevirt import VMI_FINALIZER
from virtnet.lab.standin.objects import vmi_of

pytestmark = pytest.mark.lab

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


def test_a_nic_has_routes_of_its_own(box: Box) -> None:
    """A VM on two Subnets of two Vpcs; a third, ``far``, is behind the second NIC alone, and answers by its own route."""
    for name, cidr in (("green", "10.30.0.0/24"), ("far", "10.31.0.0/24")):
        spec = {"cidrs": [cidr], "vpc": {"kind": "Vpc", "name": "other"}}
        box.demo.apply(Subnet.parse({"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}).manifest())
        box.demo.apply(manifests.nad(f"{name}-net", subnet=name))
    box.create(kinds.of(Vpc), Vpc.parse({"metadata": {"name": "other", "namespace": NAMESPACE}}).manifest())
    probe = manifests.probe("node2", name="far", network="far")
    probe["metadata"]["annotations"][ROUTES] = json.dumps({"net1": [{"destination": "10.30.0.0/24"}]})
    box.demo.apply(probe)

    vm = manifests.vm("many")
    spec = vm["spec"]["template"]["spec"]
    spec["networks"].append({"name": "green", "multus": {"networkName": "green-net"}})
    spec["domain"]["devices"]["interfaces"].append({"name": "green", "bridge": {}})
    vm["metadata"]["annotations"] = {ROUTES: json.dumps({"green": [{"destination": "10.31.0.0/24"}]})}
    box.demo.apply(vm)
    green = box.address("many", "green")
    until(lambda: answers(box.lab, f"{NAMESPACE}/far", green), "an answer by the route of the second NIC")
    ours = box.address("many", "blue")
    assert "3 packets received" in ping_from_guest(box.lab, PROBE, ours, f"{RED}1"), "by the default route of the first"

    box.restart("many", {ROUTES: json.dumps({"green": [{"destination": "0.0.0.0/0"}]})})
    until(lambda: answers(box.lab, f"{NAMESPACE}/far", green), "an answer by the default route of the second NIC")
    assert "0 packets received" in ping_from_guest(box.lab, PROBE, ours, f"{RED}1"), "no more by the first"


def test_a_lone_vmi_a_clone_and_a_vm_in_the_place_of_the_pod_network(box: Box) -> None:
    """All of them answer at addresses of their own, and give them back."""
    one = box.vm()
    clone = manifests.vm("copy")
    clone["spec"]["template"] = one["spec"]["template"]  # with the MACs of the other
    clone["metadata"]["annotations"] = {PINNED: one["metadata"]["annotations"][PINNED]}
    first = manifests.vm("first")
    first["spec"]["template"]["spec"]["networks"][0]["multus"]["default"] = True
    like = manifests.vm("lone")
    lone = vmi_of(
        {**like, "metadata": {**like["metadata"], "generation": 1, "uid": ""}}
    )  # KubeVirt's admission does it
    lone["metadata"] |= {"ownerReferences": [], "finalizers": [VMI_FINALIZER]}
    for kind, body in ((VMS, clone), (VMS, first), (VMIS, lone)):
        box.create(kind, body)
    assert box.address("copy", "blue") != box.pinned("blue")
    found = {name: box.address(name, "blue") for name in ("copy", "first")}
    until(lambda: box.leased("lone"), "the lone VMI pinned with its pod")
    (found["lone"],) = box.leased("lone")
    until(lambda: all(map(box.answers, found.values())), "all of them answering")

    # Under the same name, while the launcher of the one before still ends.
    box.delete(VMS, "copy")
    until(lambda: box.demo.get(VMS, "copy") is None, "the clone's object gone")
    box.create(VMS, manifests.vm("copy"))
    again = box.address("copy", "blue")
    until(lambda: box.answers(again) and box.leased("copy") == {again}, "made anew, it answers, and holds no more")

    for kind, name in ((VMS, "copy"), (VMS, "first"), (VMIS, "lone")):
        box.delete(kind, name)
    until(lambda: not any(map(box.leased, ("copy", "first", "lone"))), "all their addresses free")
