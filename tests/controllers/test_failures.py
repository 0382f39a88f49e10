"""What cannot be written, and what is over, holds up nothing else and leaves nothing behind."""

import asyncio
import gc
from datetime import timedelta
from typing import Any

import pytest

from tests.controllers.journals import journal
from tests.topology.samples import port, subnet
from virtnet.controllers import service
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.provider_networks import ProviderNetworks
from virtnet.controllers.reports import Reports
from virtnet.controllers.store import Store
from virtnet.controllers.waits import Wait, Waits
from virtnet.handoff.facts import Told
from virtnet.handoff.machine import STUCK_AFTER, Decision, Ending, Outcome
from virtnet.handoff.options import ChassisOptions
from virtnet.kube.errors import Rejected, Unavailable


class Refusing:
    """An API server that lets nobody write one object."""

    def __init__(self, refused: str) -> None:
        self.refused = refused
        self.written: dict[str, Any] = {}

    async def patch(self, kind: Any, name: str, patch: Any, *_: Any, **__: Any) -> Any:
        if name == self.refused:
            raise Rejected("denied by a policy")
        self.written[name] = patch
        metadata = {"name": name, "uid": name, "resourceVersion": "2"}
        spec = {"defaultNic": "eth1"} if name == "rack" else patch.get("spec", {})
        return {"metadata": metadata, "spec": spec, "status": patch.get("status", {})}


@pytest.mark.parametrize("refused", ["n1", "n2", "n3"])
async def test_a_node_that_cannot_be_told_holds_up_no_other(refused: str) -> None:
    store, cluster = Store(), Refusing(refused)
    for name in ("n1", "n2", "n3"):
        store.nodes.put({"metadata": {"name": name, "uid": name, "resourceVersion": "1"}})
    metadata = {"name": "rack", "uid": "rack", "resourceVersion": "1"}
    store.provider_networks.put({"metadata": metadata, "spec": {"defaultNic": "eth1"}})
    networks = ProviderNetworks(cluster, store)  # type: ignore[arg-type]
    assert await networks.reconcile({"n1": {}, "n2": {}, "n3": {}}) == {refused}
    assert cluster.written.keys() == {"n1", "n2", "n3", "rack"} - {refused}


class Silent:
    """OVN's databases, and a controller that has nothing to do."""

    busy: asyncio.Event

    def __init__(self, *_: Any) -> None: ...

    async def nothing(self) -> None: ...

    open = close = steal_lock = nothing

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
    settings = service.Settings(northbound="tcp:none", southbound="tcp:none")
    term = asyncio.create_task(service.lead(None, settings, metrics))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await Silent.busy.wait()
    told = metrics.registry.get_sample_value
    assert told("virtnet_leader") == 1
    assert gc.get_freeze_count()
    gauges = (metrics.stuck, metrics.ports, metrics.conflicts, metrics.connected, metrics.pinned)
    for gauge in (*gauges, metrics.waiting.labels("rows")):
        gauge.set_function(lambda: 3)
    term.cancel()
    await asyncio.wait({term})
    assert (told("virtnet_leader"), gc.get_freeze_count()) == (0, 0)
    assert {sample.value for gauge in gauges for family in gauge.collect() for sample in family.samples} == {0}
    assert told("virtnet_waiting_keys", {"worker": "rows"}) is None


def test_what_prometheus_asks_for_may_change_while_it_asks() -> None:
    """It asks in a thread of its own."""
    waits, slow = Waits(), Decision(options=ChassisOptions(), wait="OVN")

    class Busy(Wait):
        def stuck(self, now: timedelta) -> bool:
            waits.note("another", slow, now)
            return super().stuck(now)

    waits._waits["a"] = Busy("OVN", patient=False, since=timedelta())
    assert waits.count(STUCK_AFTER) == 1


class Forgetful:
    """An API server that is away for some writes."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.events: list[str] = []
        self.regarding: list[Any] = []

    async def patch(self, kind: Any, name: str, patch: Any, *_: Any, **__: Any) -> Any:
        self.away -= 1
        if self.away >= 0:
            raise Unavailable("connection refused")
        body = port(subnet("blue"), 10, name).manifest()
        return {**body, **patch, "metadata": {**body["metadata"], "uid": name, "resourceVersion": "2"}}

    async def event(self, regarding: Any, *, reason: str, **_: Any) -> None:
        self.events.append(reason)
        self.regarding.append((regarding["kind"], regarding["metadata"]["uid"]))


async def test_how_a_handoff_ended_is_told_once_though_it_is_decided_again_and_again() -> None:
    """The API server did not take the report at first, or OVN did not take what followed from it."""
    store, cluster = Store(), Forgetful(away=2)
    body = port(subnet("blue"), 10, "db.net").manifest()
    store.ports.put({**body, "metadata": {**body["metadata"], "uid": "db.net", "resourceVersion": "1"}})
    reports = Reports(cluster, store, lambda _: pytest.fail("not asked"))  # type: ignore[arg-type]
    ending = Ending(outcome=Outcome.ABANDONED, journal=journal(), told=Told())
    news = []
    for _ in range(4):
        try:
            news.append(await reports.ended("demo/db.net", ending))
        except Unavailable:
            news.append(None)
    assert news == [None, None, True, False]
    assert cluster.events == ["HandoffAbandoned"]
    assert [one.state for one in store.ports["demo/db.net"].status.handoffs] == ["Abandoned"]


@pytest.mark.parametrize("kind", ["VirtualMachine", "VirtualMachineInstance"])
async def test_an_event_is_on_what_there_is_of_a_guest(kind: str) -> None:
    """`kubectl describe` shows those that have the object's own kind and UID; a VMI may have no VM."""
    store, cluster = Store(), Forgetful(away=0)
    nic = port(subnet("blue"), 10)
    metadata = {"namespace": "demo", "name": nic.spec.owner.name, "resourceVersion": "1"}
    store.instances.put({"metadata": {**metadata, "uid": "VirtualMachineInstance"}})
    if kind == "VirtualMachine":
        store.vms.put({"metadata": {**metadata, "uid": "VirtualMachine"}})
    reports = Reports(cluster, store, lambda _: pytest.fail("not asked"))  # type: ignore[arg-type]
    await reports.event(nic, "HandoffStuck", "waits")
    assert cluster.regarding == [(kind, kind)]
