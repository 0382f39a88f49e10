"""NICs that are added, re-pinned and removed, while the VM runs and while it is stopped, and their routes.

Seen from the guest.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.lab.datagrams import Datagrams
from tests.lab.labs import running
from tests.lab.nic_box import PROBE, RED, Box
from virtnet.api import Subnet, Vpc
from virtnet.api.meta import Metadata
from virtnet.api.names import PINNED, ROUTES
from virtnet.api.qos_policy import QOS, QosLimit, QosPolicy, QosPolicySpec
from virtnet.kube import kinds
from virtnet.kube.kinds import VMIMS, VMIS, VMS
from virtnet.lab import migrate
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers, ping_from_guest
from virtnet.lab.standin.conditions import find
from virtnet.lab.standin.kubevirt import VMI_FINALIZER
from virtnet.lab.standin.objects import vmi_of
from virtnet.lab.standin.ways import DYNAMIC_NETWORKS

pytestmark = pytest.mark.lab

RATE = 64
"""Kilobits a second."""
Object = dict[str, Any]
TEAL = "10.40.0."


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

    box.change(address=f"{RED}77")
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
    box.change(plug=True, address=f"{RED}50")
    until(lambda: box.leases() == {f"{RED}50"} and box.used() == f"{RED}50", "pinned while stopped")
    box.change(address=f"{RED}51")
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


def test_a_limit_of_a_running_vm_moves_with_it(box: Box) -> None:
    """UDP of both directions, offered in excess: the limit binds before, during and after the move."""
    box.demo.apply(manifests.vm("bounded"))
    until(lambda: box.demo.node_of("bounded") and box.answers(box.address("bounded", "blue")), "the VM answering")
    source = box.demo.node_of("bounded")
    to = "node2" if source == "node1" else "node1"
    with Datagrams.between(box.lab, PROBE, "bounded", box.address("bounded", "blue")) as traffic:
        free = traffic.begin()
        until(lambda: min(traffic.passed(free)) > 4 * RATE, "both directions are free")

        limit = QosLimit(rate_kbps=RATE)
        spec = QosPolicySpec(egress=limit, ingress=limit)
        body = QosPolicy(metadata=Metadata(name="slow", namespace=NAMESPACE), spec=spec).manifest()
        box.create(kinds.of(QosPolicy), body)
        named = {"metadata": {"annotations": {QOS: '{"blue": "slow"}'}}}
        box.lab.ask(lambda cluster: cluster.patch(VMS, "bounded", named, NAMESPACE))
        until(lambda: traffic.bounded(RATE), "both directions are limited")

        before = traffic.begin()
        until(lambda: min(traffic.offered(before)) > traffic.allowed(before, RATE), "more is offered than may pass")
        during = traffic.begin()
        with ThreadPoolExecutor(1) as aside:
            moving = aside.submit(box.lab.ask, lambda cluster: migrate.migrate(cluster, "bounded", NAMESPACE, to=to))
            until(lambda: traffic.follow() and moving.done(), "the migration over", seconds=200)
            moving.result()
        after = traffic.begin()
        until(lambda: min(traffic.offered(after)) > traffic.allowed(after, RATE), "more is offered on the target, too")
        end = traffic.begin()
    assert box.demo.node_of("bounded") == to
    for phase, until_then, meters in ((before, during, 1), (during, after, 2), (after, end, 1)):
        passed = traffic.passed(phase, until_then)
        assert max(passed) < traffic.allowed(phase, RATE, until_then, meters=meters), (passed, phase, until_then)
    assert min(traffic.passed(after, end)) > 0, "the guest is heard, and hears, on the target"
    box.delete(VMS, "bounded")


@pytest.fixture(scope="module")
def mover(box: Box) -> str:
    """A VM on blue, into whose running pods nobody plugs NICs; and a third Subnet, teal, with a pod that probes there."""
    vm = manifests.vm("mover")
    vm["spec"]["template"]["metadata"]["annotations"] = {DYNAMIC_NETWORKS: "none"}
    box.demo.apply(vm)
    spec = {"cidrs": [f"{TEAL}0/24"]}
    box.demo.apply(Subnet.parse({"metadata": {"name": "teal", "namespace": NAMESPACE}, "spec": spec}).manifest())
    box.demo.apply(manifests.nad("teal-net", subnet="teal"))
    box.demo.apply(manifests.probe("node1", name="teal", network="teal"))
    address = box.address("mover", "blue")
    until(lambda: box.answers(address) and box.demo.pod_runs("teal"), "the guest answering, and the pod running")
    return "mover"


def add_hot(vm: Object) -> None:
    spec = vm["spec"]["template"]["spec"]
    spec["networks"].append({"name": "hot", "multus": {"networkName": "red-net"}})
    spec["domain"]["devices"]["interfaces"].append({"name": "hot", "bridge": {}})


def test_a_nic_added_in_mid_migration_comes_with_the_next_one(box: Box, mover: str) -> None:
    """Until then it holds up nobody: the migration is committed, and the VM can be drained."""
    source = box.demo.node_of(mover)
    box.create(VMIMS, {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
                       "metadata": {"name": "first"}, "spec": {"vmiName": mover}})  # fmt: skip
    until(box.demo.target, "a target pod")
    box.edit(mover, add_hot)
    assert box.demo.node_of(mover) == source, "added in time"
    until(lambda: box.handoffs("mover.blue") == ["Committed"], "its NIC handed over")
    until(lambda: box.demo.node_of(mover) not in ("", source), "the guest elsewhere")
    hot = box.address(mover, "hot")
    assert not box.answers(hot)

    def drained() -> bool:
        vmi = box.instance(mover)
        if vmi["status"]["nodeName"] != source and "evacuationNodeName" not in vmi["status"]:
            evicted = {"status": {"evacuationNodeName": vmi["status"]["nodeName"]}}  # as virt-api answers an eviction
            box.lab.ask(lambda cluster: cluster.patch(VMIS, mover, evicted, NAMESPACE))
        return bool(vmi["status"]["nodeName"] == source)

    until(drained, "the VM drained from where it had gone")
    until(lambda: box.answers(hot), "the guest answering at its new NIC")
    until(lambda: box.handoffs("mover.blue") == ["Committed", "Committed"], "its NIC handed over again")
    assert box.handoffs("mover.hot") == [], "no two pods had it"
    assert box.answers(box.address(mover, "blue"))


def test_a_nic_of_a_running_vm_moves_to_another_subnet(box: Box, mover: str) -> None:
    """The one that came before. KubeVirt migrates the VM for that: until its guest is there all is old, then all new."""
    old = box.address(mover, "hot")

    def state() -> tuple[str, tuple[str, ...]]:
        port = box.port("mover.hot")
        assert port is not None
        return port.spec.subnet.name, port.spec.addresses

    def set_network(vm: Object) -> None:
        vm["spec"]["template"]["spec"]["networks"][1]["multus"]["networkName"] = "teal-net"

    assert box.answers(old)
    box.edit(mover, set_network)
    new = box.address(mover, "hot")
    assert new.startswith(TEAL)
    seen = [state()]

    def moved() -> bool:
        seen.append(state())
        return seen[-1][0] == "teal"

    assert box.answers(old)
    assert set(seen) == {("red", (old,))}
    until(moved, "the Port in the other Subnet")
    assert set(seen) == {("red", (old,)), ("teal", (new,))}, "one NIC, one state at a time"
    until(lambda: not box.leased(mover, RED), "what it had in the Subnet before free")
    assert box.leased(mover, TEAL) == {new}
    until(lambda: box.handoffs("mover.hot") == ["Committed"], "handed over")
    assert not box.answers(old)

    def set_link(text: str, vm: Object) -> None:
        vm["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"][1]["state"] = text

    for text in ("down", "up"):  # what tells the guest that it is elsewhere
        box.edit(mover, partial(set_link, text))
        until(lambda text=text: link(box, mover, "hot") == text, f"its link {text}")  # type: ignore[misc]
    until(lambda: answers(box.lab, f"{NAMESPACE}/teal", new), "the guest answering there")
    assert box.answers(box.address(mover, "blue")), "its other NIC is as it was"
    assert find(box.vm(mover)["status"]["conditions"], "RestartRequired") is None


def link(box: Box, vm: str, network: str) -> str:
    interfaces = box.instance(vm)["status"]["interfaces"]
    return str(next(one.get("linkState", "") for one in interfaces if one["name"] == network))
