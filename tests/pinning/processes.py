"""Two webhooks and a controller, real ones, over an API server in memory: each sees late, and may die at any write."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.pinning.api_server import NS, Clock, ControllersClock, Died, Server
from tests.pinning.inputs import Body, nad, subnet
from virtnet.addressing.requests import Refused
from virtnet.api import AddressLease, Port, Subnet
from virtnet.api.meta import object_key
from virtnet.api.names import PINNED
from virtnet.controllers import owners as owners_module
from virtnet.controllers.owners import Owners
from virtnet.controllers.ownership import RESERVED_FOR
from virtnet.controllers.state import OWN, ControllerState
from virtnet.engine.due import Task
from virtnet.engine.keys import ObjectKey
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.kube.kinds import NADS, PODS, VMS, Kind
from webhooks import claims as claims_module
from webhooks.cache import Cache
from webhooks.networks import Networks
from webhooks.vms import VmPinner

T = TypeVar("T")

NAMES = ("db", "web")
LEASES, PORTS, SUBNETS = kinds.of(AddressLease), kinds.of(Port), kinds.of(Subnet)


class Processes(RuleBasedStateMachine):
    """What they see and do, and what happens to them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        clocks = ((owners_module, ControllersClock), (claims_module, Clock))
        self.patches = [patch.object(module, "datetime", clock) for module, clock in clocks]
        for one in self.patches:
            one.start()
        Clock.moment = datetime(2026, 1, 1, tzinfo=UTC)
        self.server = Server()
        self.pods = 0
        self.backups: dict[str, Body] = {}
        self.admitted: list[Body] = []
        """VMs that admission is through with, and that are not written yet."""

    def run_(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What a process does; None where it failed. It is another process afterwards."""
        try:
            return self.loop.run_until_complete(work)
        except (ApiError, Died, Refused, ExceptionGroup):
            return None
        finally:
            self.server.dead, self.server.fate = False, ""

    @initialize(skew=st.sampled_from([timedelta(), timedelta(minutes=5), timedelta(minutes=-5)]))
    def begin(self, skew: timedelta) -> None:
        ControllersClock.skew = skew
        self.caches = [Cache(cast("Cluster", self.server)) for _ in range(2)]
        for kind, body in (
            (SUBNETS, subnet("blue", "10.0.0.0/29", cooldownSeconds=0)),
            (NADS, nad({"subnet": "blue"}, "blue-net")),
        ):
            self.run_(self.server.create(kind, body, NS))
        for number in range(2):
            self.webhook_sees(number)
        self.restart_controller()

    @rule(number=st.integers(0, 1))
    def webhook_sees(self, number: int) -> None:
        """A webhook's memory catches up."""
        cache = self.caches[number]
        for kind, table in ((NADS, cache.nads), (SUBNETS, cache.subnets), (LEASES, cache.leases)):
            self.server.shown(kind, table)

    @rule(fuse=st.integers(0, 6), fate=st.sampled_from(["dies before", "dies after", "fails before", "fails after"]))
    def something_will_happen(self, fuse: int, fate: str) -> None:
        self.server.fuse, self.server.fate = fuse, fate

    @rule()
    def restart_controller(self) -> None:
        self.state = ControllerState()
        self.owners = Owners(
            cast("Cluster", self.server),
            self.state,
            again=lambda *_: None,
            clock=Clock.seconds,
        )
        self.controller_sees()

    @rule()
    def controller_sees(self) -> None:
        for kind in (VMS, PODS, SUBNETS, PORTS, LEASES):
            self.controller_sees_all(kind)

    def controller_sees_all(self, kind: Kind) -> None:
        """As by a watch that has to list."""
        items, cache = self.server.all(kind), self.state.cache(kind)
        moment = {"metadata": {"resourceVersion": str(self.server.version)}}
        listed = cache.note("LISTED", {"items": items, **moment})
        for old, new in (*listed, *cache.note("SYNC", {"keys": [*map(object_key, items)], **moment})):
            self.state.note(kind, old, new)

    @rule()
    def reconcile(self) -> None:
        """The controller looks at every owner, on what it has seen so far."""
        for name in (*NAMES, *NAMES):
            if self.state.cache(SUBNETS).synced:
                self.run_(self.owners.reconcile(Task(OWN, ObjectKey("VirtualMachine", NS, name))))

    @rule()
    def time_passes(self) -> None:
        """More than a lease may wait for its VM. By then the controller has seen what was there before."""
        self.controller_sees()
        self.admitted.clear()
        Clock.moment += RESERVED_FOR + timedelta(seconds=1)
        self.reconcile()

    def _admit(self, body: Body, number: int, end: str, old: Body | None = None) -> None:
        """Admission by one of the webhooks, and then the write, unless somebody else refuses."""
        body["metadata"]["namespace"] = NS
        cluster, cache = cast("Cluster", self.server), self.caches[number]
        pinner = VmPinner(cluster, cache, Networks(cluster, cache))
        pinning = self.run_(pinner.pin(body, old, dry_run=end == "dry run"))
        if pinning is None or not end.startswith("made"):
            return
        body["metadata"].setdefault("annotations", {})[PINNED] = pinning.annotation
        for index, mac in pinning.macs.items():
            body["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"][index]["macAddress"] = mac
        name = body["metadata"]["name"]
        if old is None:
            self.admitted.append(body)
            if end == "made":
                self.write()
        else:
            self._quietly(self.server.patch(VMS, name, {k: body[k] for k in ("metadata", "spec")}, NS))

    @rule()
    def write(self) -> None:
        """The API server writes what was admitted, where there is none of the name by now."""
        while self.admitted:
            body = self.admitted.pop()
            if not self._vm(body["metadata"]["name"]):
                self._quietly(self.server.create(VMS, body, NS))

    def _quietly(self, work: Coroutine[Any, Any, Any]) -> None:
        """A write of somebody else's, to whom nothing happens."""
        fate, self.server.fate = self.server.fate, ""
        self.loop.run_until_complete(work)
        self.server.fate = fate

    def _vm(self, name: str) -> Body | None:
        return next((body for body in self.server.all(VMS) if body["metadata"]["name"] == name), None)

    def _pods(self, name: str) -> list[Body]:
        return [pod for pod in self.server.all(PODS) if pod["metadata"]["ownerReferences"][0]["name"] == name]
