"""Which Ports an owner has, and what becomes of their leases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from virtnet.addressing.held import HeldAddress
from virtnet.api import AddressLease, AddressLeaseStatus, Port, PortSpec, Route, SubnetRef
from virtnet.api.meta import Metadata
from virtnet.api.multus import NETWORKS
from virtnet.api.names import CLAIM
from virtnet.api.records import Attachment, PinnedNic, PinnedRecord
from virtnet.controllers.ownership import (
    RESERVED_FOR,
    LeasePlan,
    answered_claims,
    desired_ports,
    granted,
    plan_leases,
    plan_ports,
)
from virtnet.features.leases import leases_of
from virtnet.features.workloads import Pod, StatefulSet, Vm
from virtnet.handoff.facts import LauncherPod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BLUE = SubnetRef(kind="Subnet", namespace="demo", name="blue")
MAC = "02:76:6e:00:00:01"
PORT = "demo/db.blue"


def vm(address: str = "10.0.0.5", mac: str = MAC, claim: str = "") -> Vm:
    nic = PinnedNic(nad="demo/blue-net", subnet=BLUE, mac=mac, addresses=(address,), claim=claim)
    return Vm("demo/db", "u1", PinnedRecord(vm="demo/db", nics={"blue": nic}).annotation())


def pod(address: str = "10.0.0.5", *, terminal: bool = False) -> Pod:
    attachment = Attachment(
        port=PORT, network="blue", nad="demo/blue-net", subnet=BLUE, mac=MAC, addresses=(f"{address}/24",), mtu=1442
    )
    return Pod(
        "demo/launcher", "p1", "demo/db", LauncherPod(name="launcher", node="n", terminal=terminal), (attachment,)
    )


@pytest.mark.parametrize("kind", ["veth", "of-a-newer-version"])
@pytest.mark.parametrize("running", [True, False])
def test_a_port_is_of_its_nics_kind(kind: str, *, running: bool) -> None:
    """Also of one that this version does not know: what it stands for must not be torn down."""
    nic = PinnedNic(nad="demo/blue-net", subnet=BLUE, mac=MAC, addresses=("10.0.0.5",), nic=kind)
    text = PinnedRecord(vm="demo/db", nics={"blue": nic}).annotation()
    launcher = pod()
    attached = launcher.attachments[0].model_copy(update={"nic": kind})
    pods = [replace(launcher, attachments=(attached,))] if running else []
    ports = desired_ports("demo/db", Vm("demo/db", "u1", text), pods)
    assert {key: spec.nic for key, spec in ports.items()} == {PORT: kind}


def addresses(ports: dict[str, PortSpec]) -> dict[str, tuple[str, ...]]:
    return {key: spec.addresses for key, spec in ports.items()}


@pytest.mark.parametrize(
    ("machine", "pods", "expected"),
    [
        pytest.param(vm(), [], {PORT: ("10.0.0.5",)}, id="stopped VM"),
        pytest.param(vm(), [pod()], {PORT: ("10.0.0.5",)}, id="running VM"),
        pytest.param(vm("10.0.0.9"), [pod()], {PORT: ("10.0.0.5",)}, id="re-pinned while running: the guest's stays"),
        pytest.param(vm("10.0.0.9"), [pod(terminal=True)], {PORT: ("10.0.0.9",)}, id="re-pinned, then stopped"),
        pytest.param(Vm("demo/db", "u1"), [pod()], {PORT: ("10.0.0.5",)}, id="NIC removed while running"),
        pytest.param(Vm("demo/db", "u1"), [], {}, id="NIC removed, then stopped"),
        pytest.param(None, [pod()], {PORT: ("10.0.0.5",)}, id="VM deleted, pod still there"),
        pytest.param(None, [pod(terminal=True)], {}, id="VM deleted, pod ended"),
    ],
)
def test_ports_follow_the_manifest_but_never_under_a_running_guest(
    machine: Vm | None, pods: list[Pod], expected: dict[str, tuple[str, ...]]
) -> None:
    assert addresses(desired_ports("demo/db", machine, pods)) == expected


@pytest.mark.parametrize(
    ("change", "stays"),
    [
        pytest.param({}, ("10.0.0.5", "fd00::5"), id="of a family that its record lacks"),
        pytest.param({"mac_address": "02:76:6e:00:00:09"}, ("10.0.0.5",), id="of another NIC"),
        pytest.param({"subnet": SubnetRef(kind="ClusterSubnet", name="lan")}, ("10.0.0.5",), id="of another Subnet"),
        pytest.param({"addresses": ("10.0.0.9",)}, ("10.0.0.5",), id="of the same family"),
    ],
)
def test_what_a_start_has_brought_stays_while_the_vm_is_stopped(change: dict[str, Any], stays: tuple[str, ...]) -> None:
    (spec,) = desired_ports("demo/db", vm(), []).values()
    known = spec.model_copy(update={"addresses": ("10.0.0.5", "fd00::5"), **change})
    present = Port(metadata=Metadata(namespace="demo", name="db.blue"), spec=known)
    assert addresses(desired_ports("demo/db", vm(), [], present=[present])) == {PORT: stays}


def test_a_pod_speaks_for_ports_of_its_own_namespace_only() -> None:
    known = pod()
    forged = tuple(known.attachments[0].model_copy(update={"port": f"{ns}/db.blue"}) for ns in ("victim", "demo"))
    assert addresses(desired_ports("demo/db", None, [replace(known, attachments=forged)])) == {PORT: ("10.0.0.5",)}


@pytest.mark.parametrize(
    ("there", "refused", "expected"),
    [
        pytest.param("", "", {PORT: ("10.0.0.9",)}, id="granted"),
        pytest.param("10.0.0.5", "", {PORT: ("10.0.0.9",)}, id="granted anew"),
        pytest.param("", "the gateway", {}, id="refused: no Port"),
        pytest.param("10.0.0.5", "the gateway", {PORT: ("10.0.0.5",)}, id="refused: the Port stays as it was"),
    ],
)
def test_what_is_refused_changes_nothing(there: str, refused: str, expected: dict[str, tuple[str, ...]]) -> None:
    before = desired_ports("demo/db", vm(there), []) if there else {}
    present = [Port(metadata=Metadata(namespace="demo", name="db.blue"), spec=one) for one in before.values()]
    found, why = granted(desired_ports("demo/db", vm("10.0.0.9"), []), present, lambda *_: refused)
    assert addresses(found) == expected
    assert why == ({PORT: refused} if refused else {})


FAR = Route(destination="192.168.0.0/16", gateway="10.0.0.9")
NEAR = Route(destination="192.168.0.0/16", gateway="10.0.0.8")


@pytest.mark.parametrize(
    ("machine", "attached", "routes", "default_route"),
    [
        pytest.param({}, {"gateways": ("10.0.0.1",)}, (), True, id="none"),
        pytest.param({"routes": (FAR,), "default_route": False}, {}, (FAR,), False, id="as the manifest says"),
        pytest.param({"routes": (FAR,)}, {"own_routes": (NEAR,)}, (FAR,), True, id="as it says by now: DHCP tells it again"),
        pytest.param({"subnet": BLUE.model_copy(update={"name": "red"})}, {"own_routes": (NEAR,)}, (NEAR,), False, id="re-pinned in another Subnet"),
        pytest.param(None, {"own_routes": (NEAR,), "gateways": ("10.0.0.1",)}, (NEAR,), True, id="no VM"),
    ],
)  # fmt: skip
def test_the_routes_of_a_running_guest(
    machine: dict[str, Any] | None, attached: dict[str, Any], routes: tuple[Route, ...], default_route: bool
) -> None:
    known = pod()
    running = replace(known, attachments=(known.attachments[0].model_copy(update=attached),))
    stored = vm()
    assert stored.record
    nic = stored.record.nics["blue"].model_copy(update=machine or {})
    with_routes = replace(stored, pinned=stored.record.model_copy(update={"nics": {"blue": nic}}).annotation())
    (spec,) = desired_ports("demo/db", None if machine is None else with_routes, [running]).values()
    assert (spec.routes, spec.default_route) == (routes, default_route)


def web(*, terminal: bool = False) -> Pod:
    """A pod of a StatefulSet."""
    attachment = Attachment(
        port="demo/web-1.net1",
        network="net1",
        nad="demo/blue-net",
        subnet=BLUE,
        mac=MAC,
        addresses=("10.0.0.5/24",),
        mtu=1442,
    )
    launcher = LauncherPod(name="web-1", node="n", terminal=terminal)
    return Pod("demo/web-1", "p1", "", launcher, (attachment,), stateful_set="web")


@pytest.mark.parametrize("pods", [[web()], [web(terminal=True)], []], ids=["running", "ended", "gone"])
def test_a_pod_that_its_stateful_set_makes_again_keeps_its_ports(pods: list[Pod]) -> None:
    before = desired_ports("demo/web-1", None, [web()])
    kept = [Port(metadata=Metadata(namespace="demo", name=key.split("/")[1]), spec=one) for key, one in before.items()]
    assert desired_ports("demo/web-1", None, pods, kept) == before
    assert before["demo/web-1.net1"].owner.stateful_set == "web"


def test_a_nic_that_a_stateful_sets_pod_has_no_more_is_not_kept() -> None:
    (port,) = desired_ports("demo/web-1", None, [web()]).values()
    kept = [Port(metadata=Metadata(namespace="demo", name="web-1.net2"), spec=port)]
    assert set(desired_ports("demo/web-1", None, [web()], kept)) == {"demo/web-1.net1"}


@pytest.mark.parametrize(
    ("pod_name", "changes", "expected"),
    [
        pytest.param("web-0", {}, True, id="first"),
        pytest.param("web-2", {}, True, id="last"),
        pytest.param("web-3", {}, False, id="scaled down"),
        pytest.param("web-0", {"replicas": 0}, False, id="scaled to nothing"),
        pytest.param("web-0", {"ordinals": {"start": 5}}, False, id="below the first ordinal"),
        pytest.param("web-7", {"ordinals": {"start": 5}}, True, id="counted from elsewhere"),
        pytest.param("web-x", {}, False, id="no ordinal"),
        pytest.param("other-0", {}, False, id="of another"),
        pytest.param("web-0", {"template": {}}, False, id="without networks"),
    ],
)
def test_which_pods_a_stateful_set_makes_again(pod_name: str, changes: dict[str, Any], expected: bool) -> None:
    template = {"metadata": {"annotations": {NETWORKS: "blue-net"}}}
    spec = {"replicas": 3, "template": template, **changes}
    body = {"metadata": {"namespace": "demo", "name": "web", "uid": "u"}, "spec": spec}
    assert StatefulSet.of(body).covers(pod_name) is expected


def spec(address: str = "10.0.0.5") -> PortSpec:
    return desired_ports("demo/db", vm(address), [])[PORT]


def lease(address: str, *, phase: str = "Bound", claimed: str = "", uid: str = "u1") -> HeldAddress:
    found = {one.spec.address: one for one in leases_of(PORT, spec(address)).values()}[address]
    marks = {CLAIM: claimed} if claimed else {}
    # When it was made, another machine's clock says: it is not looked at.
    metadata = found.metadata.model_copy(update={"creation_timestamp": NOW - timedelta(hours=1), "annotations": marks})
    bound = {"ownerUid": uid, "boundAt": NOW} if phase == "Bound" else {}
    status = AddressLeaseStatus.model_validate({"phase": phase, **bound})
    return HeldAddress.of_lease(found.model_copy(update={"metadata": metadata, "status": status}))


def names(leases: tuple[AddressLease | HeldAddress, ...]) -> list[str]:
    return sorted(one.spec.address if isinstance(one, AddressLease) else one.address for one in leases)


def plan(
    port: PortSpec | None,
    held: list[HeldAddress],
    pinned: frozenset[str] = frozenset(),
    uid: str = "u1",
    known: timedelta = timedelta(),
) -> LeasePlan:
    """``known``: for how long the controller has known every claim."""
    everything = {one.name: one for one in held}
    return plan_leases(PORT, port, held, everything, pinned=pinned, owner_uid=uid, age=lambda _: known)


def test_a_lost_lease_is_claimed_again() -> None:
    assert names(plan(spec(), []).create) == [MAC, "10.0.0.5"]


def test_nothing_is_claimed_that_is_refused() -> None:
    held = lease("10.0.0.5", phase="Reserved")
    no_age = timedelta()
    plans = [
        plan_leases(PORT, spec(), [held], {}, pinned=frozenset(), owner_uid="u1", age=lambda _: no_age, refused=refused)
        for refused in (False, True)
    ]
    assert [names(one.create) for one in plans] == [[MAC], []]
    assert [names(one.bind) for one in plans] == [["10.0.0.5"]] * 2


def test_reserved_leases_are_bound_once_the_vm_is_there() -> None:
    assert names(plan(spec(), [lease("10.0.0.5", phase="Reserved")]).bind) == ["10.0.0.5"]


def test_a_vm_created_anew_under_its_name_takes_its_leases_over() -> None:
    assert names(plan(spec(), [lease("10.0.0.5")], uid="u2").bind) == ["10.0.0.5"]
    assert plan(spec(), [lease("10.0.0.5")], uid="u1").bind == ()


@pytest.mark.parametrize(
    ("held", "known", "pinned", "freed"),
    [
        pytest.param(lease("10.0.0.7"), timedelta(), False, True, id="bound and not needed"),
        pytest.param(lease("10.0.0.7"), timedelta(), True, False, id="the manifest speaks for it"),
        pytest.param(lease("10.0.0.7", phase="Reserved"), timedelta(), False, False, id="reserved just now"),
        pytest.param(lease("10.0.0.7", phase="Reserved"), RESERVED_FOR, False, True, id="reserved, and nobody came"),
        pytest.param(lease("10.0.0.7", claimed="again"), timedelta(), False, False, id="bound, then claimed again"),
        pytest.param(lease("10.0.0.7", claimed="again"), RESERVED_FOR, False, True, id="again, and nobody came"),
    ],
)
@pytest.mark.parametrize("port", [None, spec()], ids=["port gone", "port has another address"])
def test_leases_are_freed_when_nobody_speaks_for_them(
    held: HeldAddress, known: timedelta, pinned: bool, freed: bool, port: PortSpec | None
) -> None:
    result = plan(port, [held], frozenset({held.name}) if pinned else frozenset(), known=known)
    assert names(result.free) == (["10.0.0.7"] if freed else [])
    assert result.again == (None if freed or pinned else RESERVED_FOR)


def test_a_claim_is_answered_by_whoever_comes_with_it() -> None:
    found = answered_claims(vm(claim="c1"), [])
    assert found == {PORT: {"c1"}}
    claims = frozenset(found[PORT])
    for mark, answered in (("c1", True), ("c2", False)):
        held = [lease("10.0.0.5", claimed=mark)]
        there = plan_leases(PORT, spec(), held, {}, pinned=frozenset(), owner_uid="u1", age=young, claims=claims)
        gone = plan_leases(PORT, None, held, {}, pinned=frozenset(), owner_uid="", age=young, claims=claims)
        assert names(there.bind) == names(gone.free) == (["10.0.0.5"] if answered else [])


def young(_: object) -> timedelta:
    return timedelta()


def test_an_address_of_another_is_a_conflict_not_a_claim() -> None:
    other = replace(lease("10.0.0.5"), port="demo/web.blue")
    result = plan_leases(
        PORT, spec(), [], {other.name: other}, pinned=frozenset(), owner_uid="u1", age=lambda _: RESERVED_FOR
    )
    assert names(result.conflicts) == ["10.0.0.5"]
    assert names(result.create) == [MAC]


def test_ports_are_created_updated_and_deleted_by_difference() -> None:
    result = plan_ports({"demo/a.x": spec(), "demo/b.x": spec()}, [])
    assert sorted(result.create) == ["demo/a.x", "demo/b.x"]
