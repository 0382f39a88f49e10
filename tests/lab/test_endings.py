"""One lab, two VMs, and every way in which a migration can end. After each, all parts agree on where everything is."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from tests.lab.endings import Endings
from tests.lab.labs import running
from virtnet.api import HandoffRecord
from virtnet.handoff.journal import HandoffState
from virtnet.handoff.strategies import strongest
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import EVENTS, PODS, VMIMS, VMS
from virtnet.lab.chaos.invariants import violations
from virtnet.lab.demo.cluster import until
from virtnet.lab.demo.manifests import NAMESPACE

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Endings]:
    with running("endings", 3) as lab:
        found = Endings(lab, ("one", "two"))
        found.furnish()
        until(lambda: not violations(found), "all well at first")
        yield found


@pytest.mark.parametrize("way", ["", "post-copy", "unannounced", "volumes"])
def test_a_migration_that_succeeds(lab: Endings, way: str) -> None:
    source = lab.home()
    to = lab.other(source)
    lab.begin(way, to=to)
    record = lab.ended("Committed", node=to)
    assert (record.source, record.target) == (source, to)
    if way == "unannounced":
        assert record.message.startswith(f"armed {to}")


@pytest.mark.parametrize("way", ["", "post-copy", "unannounced"])
def test_a_target_without_a_gate(lab: Endings, way: str) -> None:
    to = next(node for node in ("node1", "node2") if node != lab.home())
    with lab.without_gates(to):
        with lab.held(HandoffState.ARMED, to=to, way=way):
            assert lab.answers()
            assert lab.reached(to) == 0, "OVN's strategy keeps the target out"
        record = lab.ended("Committed", node=to)
        assert record.fallback_reason
        assert record.strategy == strongest(lab.said(to).ovn_version)
        if way == "unannounced":  # else KubeVirt's word may be faster than OVN's
            assert record.activated_at is None


@pytest.mark.parametrize("way", ["fails", "fails-late"])
def test_a_migration_that_fails(lab: Endings, way: str) -> None:
    source = lab.home()
    lab.begin(way)
    record = lab.ended("RolledBack", node=source)
    assert (record.activated_at is not None) == (way == "fails-late")


def test_a_migration_that_is_aborted(lab: Endings) -> None:
    source = lab.home()
    lab.delete(VMIMS, lab.begin("slow"))
    lab.ended("RolledBack", node=source)


def test_the_target_pod_is_deleted(lab: Endings) -> None:
    source = lab.home()
    lab.delete(PODS, lab.target_pod(lab.begin("slow"))["metadata"]["name"])
    lab.ended("RolledBack", node=source)


def test_the_targets_node_dies(lab: Endings) -> None:
    source = lab.home()
    to = next(node for node in lab.nodes if node not in (source, "node3"))
    lab.begin("slow", to=to)
    lab.crash(to)
    until(lab.over, "rolled back without the target's node")
    lab.back(to)
    lab.ended("RolledBack", node=source)


def test_the_sources_node_dies(lab: Endings) -> None:
    if lab.home() == "node3":  # where the pod is that pings
        lab.begin(to="node1")
        lab.ended("Committed", node="node1")
    source = lab.home()
    lab.begin("slow")
    lab.crash(source)
    until(lab.over, "ended without the source's node")
    lab.back(source)
    lab.ended("RolledBack", "Abandoned")  # by what is seen first: the migration's failure, or the instance's


def test_the_sources_node_dies_when_the_guest_has_left_it(lab: Endings) -> None:
    source = lab.home()
    to = lab.other(source)
    with lab.held(HandoffState.RELEASING, to=to):
        lab.crash(source)
    until(lab.over, "ended without the source's node")
    lab.back(source)
    lab.ended("Committed", node=to)


def test_the_targets_node_dies_when_the_guest_has_arrived(lab: Endings) -> None:
    to = lab.other(lab.home())
    with lab.held(HandoffState.COMMITTING, to=to):
        lab.crash(to)
        until(lab.over, "ended without the target's node")
    lab.back(to)
    lab.ended("Abandoned")


@pytest.mark.parametrize("victim", ["leader", "northd", "nb", "sb"])
@pytest.mark.parametrize("state", HandoffState)
def test_killed_in_each_state(lab: Endings, state: HandoffState, victim: str) -> None:
    source = lab.home()
    to = lab.other(source)
    with lab.held(state, to=to):
        lab.kill(victim)
    if state is HandoffState.ROLLING_BACK:
        lab.ended("RolledBack", node=source)
    else:
        lab.ended("Committed", node=to)


def test_two_controllers_that_both_believe_they_lead(lab: Endings) -> None:
    to = lab.other(lab.home())
    with lab.held(HandoffState.ARMED, to=to):
        first = lab.daemons[until(lab.leader, "a leader")]
        before = first.log.stat().st_size
        first.freeze()
        lab.depose()
        until(lambda: lab.leader() not in ("", first.name), "the other leading")
        first.thaw()
    lab.ended("Committed", node=to)
    known = ("leadership lost", "somebody else leads")
    until(lambda: any(words in first.log.read_text()[before:] for words in known), "the first one knowing")


def test_what_earlier_migrations_left_is_collected_meanwhile(lab: Endings) -> None:
    source = lab.home()
    to = lab.other(source)
    for there in (to, source):
        lab.begin(to=there)
        lab.ended("Committed", node=there)
    with lab.held(HandoffState.ARMED, to=to):
        ended = [pod for pod in lab.launchers("one") if pod["status"]["phase"] == "Succeeded"]
        assert ended
        for pod in ended:
            lab.delete(PODS, pod["metadata"]["name"])
        for name in lab.finished("one"):
            lab.delete(VMIMS, name)
    lab.ended("Committed", node=to)


def test_the_migrations_object_is_gone_half_way(lab: Endings) -> None:
    name = lab.begin("slow")
    lab.delete(VMIMS, name)
    with suppress(NotFound):  # KubeVirt may have aborted it at once
        lab.ask(lambda cluster: cluster.patch(VMIMS, name, {"metadata": {"finalizers": None}}, NAMESPACE))
    lab.ended("Committed", "RolledBack")  # KubeVirt may have been told to abort it before, and may not


def test_a_guest_that_arrives_frozen_is_told_of(lab: Endings) -> None:
    lab.begin("freezes")

    def silent() -> HandoffRecord | None:
        found = lab.over()
        return found if found and "answered nothing" in found.message else None

    record = until(silent, "told to be silent")
    assert record.state == "Committed"
    assert record.activated_at is not None, "QEMU's announcement was heard all the same"
    assert record.answered_at is None

    def announced() -> bool:
        items, _ = lab.ask(lambda cluster: cluster.list(EVENTS, NAMESPACE))
        return "GuestSilent" in [item["reason"] for item in items]

    until(announced, "an Event says so")
    lab.kill_guests(*lab.launchers("one"))
    lab.ended("Committed")


def moved(lab: Endings, name: str) -> bool:
    return bool(lab.migration(name).get("status", {}).get("phase") == "Succeeded")


def test_there_and_back_and_on_at_once(lab: Endings) -> None:
    home = lab.home()
    first, second = (node for node in lab.nodes if node != home)
    for to in (first, home, second):
        name = lab.start_migration("one", to=to)  # the next begins when KubeVirt is done, whatever OVN is by then
        until(partial(moved, lab, name), f"moved to {to}")
    lab.ended("Committed", node=second)


def test_there_and_back_while_nobody_leads(lab: Endings) -> None:
    """OVN still has the port where the guest comes back to: its new NIC is not taken for one that has arrived."""
    home = lab.home()
    to = lab.other(home)
    controllers = [lab.daemons[name] for name in ("controller", "standby")]
    with lab.held(HandoffState.ARMED, to=to):
        for one in controllers:
            one.freeze()
    until(lambda: not lab.running_migrations("one"), "moved while nobody led")
    log = lab.daemons[f"{home}/virtnet"].log
    before = log.stat().st_size
    name = lab.start_migration("one", to=home)
    until(lambda: lab.pods_of(name), "a pod to go back to")
    message = "waits until its handoff is armed"
    until(lambda: message in log.read_text()[before:] or lab.phase(name) == "Running", "its NIC being attached")
    assert lab.phase(name) == "Pending"
    for one in controllers:
        one.thaw()
    lab.ended("Committed", node=home)


def test_two_vms_cross(lab: Endings) -> None:
    one, two = lab.home("one"), lab.home("two")
    if one == two:
        two = lab.other(one)
        lab.begin(vm="two", to=two)
        lab.ended("Committed", vm="two", node=two)
    lab.start_migration("one", to=two)
    lab.start_migration("two", to=one)
    lab.ended("Committed", vm="one", node=two)
    lab.ended("Committed", vm="two", node=one)


def test_a_chassis_that_ovn_does_not_know_is_named_until_it_is_known(lab: Endings) -> None:
    source = lab.home()
    to = lab.other(source, "node3")
    controller = lab.nodes[to].daemons["ovn-controller"]
    controller.kill()
    lab.sbctl("chassis-del", f"chassis-{to}")
    lab.start_migration("one", to=to)
    until(lambda: (found := lab.record()) and "is ovn-controller running" in found.message, "it says what is missing")
    controller.start()
    lab.ended("Committed", node=to)


def test_the_vm_is_deleted_half_way(lab: Endings) -> None:
    lab.begin("slow")
    lab.delete(VMS, "one")
    until(lambda: lab.demo.get(VMS, "one") is None, "the VM gone")
    until(lambda: f"{NAMESPACE}/one.blue" not in lab.nbctl("list", "Logical_Switch_Port"), "its port gone from OVN")
    two = Endings(lab.lab, ("two",))
    until(lambda: not violations(two), "nothing left of it")
