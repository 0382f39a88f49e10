"""What cannot be written, and what is over, holds up nothing else and leaves nothing behind."""

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest

from tests.controllers.journals import journal
from tests.controllers.states import put
from tests.topology.samples import port, subnet
from virtnet.api import NodeNetwork, Port, ProviderNetwork, ProviderNetworkSpec
from virtnet.api.meta import Metadata
from virtnet.api.multus import NadNetwork
from virtnet.controllers import service
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.readiness import ControllerReadiness
from virtnet.controllers.reporter import Reporter
from virtnet.controllers.state import REPORT, ControllerState
from virtnet.controllers.stuck import Since, StuckHandoffs
from virtnet.controllers.worker import attempt
from virtnet.engine.due import Task
from virtnet.engine.keys import ObjectKey
from virtnet.features.effects import HandoffWait
from virtnet.features.nads import NADS, Nad
from virtnet.features.nodes import NodeLabels
from virtnet.features.ovn_state import ENDINGS
from virtnet.features.sources import INSTANCES, NODES, PORTS, VMS
from virtnet.features.workloads import Vm, VmInstance
from virtnet.handoff.facts import HandoffReport
from virtnet.handoff.machine import STUCK_AFTER, Ending, HandoffOutcome
from virtnet.kube.errors import Rejected, Unavailable

PORT = ObjectKey("Port", "demo", "db.net")


class Refusing:
    """An API server that lets nobody write one object."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        self.written: dict[str, Any] = {}

    async def patch(self, kind: Any, name: str, patch: Any, *_: Any, **__: Any) -> Any:
        if name == self.refused:
            raise Rejected("denied by a policy")
        self.written.setdefault(name, patch)
        metadata = {"name": name, "uid": name, "resourceVersion": "2"}
        spec = {"defaultNic": "eth1"} if name == "rack" else patch.get("spec", {})
        return {"metadata": metadata, "spec": spec, "status": patch.get("status", {})}


@pytest.mark.parametrize("refused", ["n1", "n2", "n3"])
async def test_a_node_that_cannot_be_told_holds_up_no_other(refused: str) -> None:
    state, cluster = ControllerState(), Refusing(refused)
    for name in ("n1", "n2", "n3"):
        state.tell(NODES, NODES.key(name), NodeLabels(name, {}))
        put(state, NodeNetwork(metadata=Metadata(name=name)))
    put(state, ProviderNetwork(metadata=Metadata(name="rack"), spec=ProviderNetworkSpec(default_nic="eth1")))
    reporter = Reporter(cluster, state)  # type: ignore[arg-type]
    tasks = sorted(task for task in state.graph.due() if task.name == REPORT)
    failed = [task.key.name for task in tasks if not await attempt(task, reporter.report)]
    assert failed == [refused]
    assert cluster.written.keys() == {"n1", "n2", "n3", "rack"} - {refused}


class Silent:
    """OVN's databases, and a controller that has nothing to do."""

    busy: asyncio.Event

    def __init__(self, *_: Any, **__: Any) -> None: ...

    async def nothing(self) -> None: ...

    open = close = steal_lock = obstacles = nothing

    async def run(self) -> None:
        gc.freeze()
        self.busy.set()
        await asyncio.Event().wait()


async def test_who_leads_no_more_says_so_and_lets_go_of_what_it_knew(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process goes on, to stand for election again."""
    for name in ("OvsdbNorthbound", "Southbound", "Controller"):
        monkeypatch.setattr(service, name, Silent)
    monkeypatch.setattr(Silent, "busy", asyncio.Event(), raising=False)
    metrics = Metrics()
    settings = service.ControllerSettings(northbound="tcp:none", southbound="tcp:none")
    term = asyncio.create_task(service.lead(None, settings, metrics, ControllerReadiness(None, "", "")))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await Silent.busy.wait()
    sample = metrics.registry.get_sample_value
    assert sample("virtnet_leader") == 1
    assert gc.get_freeze_count()
    gauges = (metrics.stuck, metrics.ports, metrics.conflicts, metrics.connected, metrics.pinned)
    for gauge in (*gauges, metrics.waiting.labels("rows")):
        gauge.set_function(lambda: 3)
    term.cancel()
    await asyncio.wait({term})
    assert (sample("virtnet_leader"), gc.get_freeze_count()) == (0, 0)
    assert {sample.value for gauge in gauges for family in gauge.collect() for sample in family.samples} == {0}
    assert sample("virtnet_waiting_keys", {"worker": "rows"}) is None


def test_what_prometheus_asks_for_may_change_while_it_asks() -> None:
    """It asks in a thread of its own."""
    handoffs, slow = StuckHandoffs(), HandoffWait(PORT, "OVN")

    class Busy(Since):
        def stuck(self, now: timedelta) -> bool:
            handoffs.note(HandoffWait(ObjectKey("Port", "demo", "another"), "OVN"), now)
            return super().stuck(now)

    handoffs._pending[PORT] = Busy(slow, since=timedelta())
    assert handoffs.count(STUCK_AFTER) == 1


class Forgetful:
    """An API server that is away for some writes."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.version = 1
        self.events: list[str] = []
        self.regarding: list[Any] = []

    async def patch(self, kind: Any, name: str, patch: Any, *_: Any, **__: Any) -> Any:
        self.away -= 1
        if self.away >= 0:
            raise Unavailable("connection refused")
        self.version += 1
        body = port(subnet("blue"), 10, name).manifest()
        metadata = {**body["metadata"], "uid": name, "resourceVersion": str(self.version)}
        return {**body, **patch, "metadata": metadata}

    async def event(self, regarding: Any, *, reason: str, **_: Any) -> None:
        self.events.append(reason)
        self.regarding.append((regarding["kind"], regarding["metadata"]["uid"]))


def put_nic(state: ControllerState) -> Port:
    """A NIC, with the NAD that it is by."""
    nic = port(subnet("blue"), 10, "db.net")
    put(state, nic)
    nad = nic.spec.network_attachment_definition
    state.tell(
        NADS,
        NADS.key(nad),
        Nad(key=nad, version="1", deleting=False, finalizers=(), network=NadNetwork(nic.spec.subnet)),
    )
    return nic


async def test_how_a_handoff_ended_is_told_once_though_it_is_decided_again_and_again() -> None:
    """The API server did not take the report at first, or OVN did not take what followed from it."""
    state, cluster = ControllerState(), Forgetful(away=2)
    put_nic(state)
    counted: list[object] = []
    reporter = Reporter(cluster, state, counted.append)  # type: ignore[arg-type]
    ending = Ending(outcome=HandoffOutcome.ABANDONED, journal=journal(), report=HandoffReport())
    state.tell(ENDINGS, PORT, ending)
    done = [await attempt(Task(REPORT, PORT), reporter.report) for _ in range(4)]
    assert done == [False, False, True, True]
    assert (cluster.events, counted) == (["HandoffAbandoned"], [ending])
    found: Port = state.objects(PORTS)[PORT]
    assert [one.state for one in found.status.handoffs] == ["Abandoned"]


@pytest.mark.parametrize("kind", ["VirtualMachine", "VirtualMachineInstance"])
async def test_an_event_is_on_what_there_is_of_a_guest(kind: str) -> None:
    """`kubectl describe` shows those that have the object's own kind and UID; a VMI may have no VM."""
    state, cluster = ControllerState(), Forgetful(away=0)
    name = put_nic(state).spec.owner.name
    state.tell(INSTANCES, INSTANCES.key(f"demo/{name}"), VmInstance(uid="VirtualMachineInstance"))
    if kind == "VirtualMachine":
        state.tell(VMS, VMS.key(f"demo/{name}"), Vm(f"demo/{name}", "VirtualMachine"))
    state.tell(ENDINGS, PORT, Ending(outcome=HandoffOutcome.ABANDONED, journal=journal(), report=HandoffReport()))
    await Reporter(cluster, state).report(Task(REPORT, PORT))  # type: ignore[arg-type]
    assert cluster.regarding == [(kind, kind)]
