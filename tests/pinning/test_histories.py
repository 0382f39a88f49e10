"""Leases over random histories: VMs come, run, go and come back, while webhooks and controller die at any write.

The pinner and the reconciler are the real ones, each with its own late view of an API server that is only as real as
they need it: names are unique, versions and uids are compared, a status is a part of its own.
"""

import asyncio
import copy
import json
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.pinning.api_server import NS, Clock, ControllersClock, Died, Server, nics_of, pod_of
from tests.pinning.inputs import Body, nad, subnet, vm
from virtnet.addressing.wants import Refused
from virtnet.api import AddressLease, Port, Subnet
from virtnet.api.kubevirt import interfaces
from virtnet.api.lease import lease_name
from virtnet.api.names import PINNED
from virtnet.api.records import Attachment
from virtnet.controllers import owners as owners_module
from virtnet.controllers.owners import Owners
from virtnet.controllers.ownership import RESERVED_FOR
from virtnet.controllers.store import Store
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.kube.kinds import NADS, PODS, VMS
from webhooks import claims as claims_module
from webhooks.cache import Cache
from webhooks.networks import Networks
from webhooks.vms import VmPinner

T = TypeVar("T")

NAMES = ("db", "web")
NICS = (("blue", "blue-net"), ("more", "blue-net"))
ADDRESSES = tuple(f"10.0.0.{n}" for n in range(2, 7))
LEASES, PORTS, SUBNETS = kinds.of(AddressLease), kinds.of(Port), kinds.of(Subnet)


class Histories(RuleBasedStateMachine):
    """Two webhooks, one controller, and the people and machinery that use them."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        clocks = ((owners_module, ControllersClock), (claims_module, Clock))
        self.patches = [patch.object(module, "datetime", clock) for module, clock in clocks]
        for one in self.patches:
            one.start()
        Clock.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.server = Server()
        self.pods = 0
        self.backups: dict[str, Body] = {}
        self.admitted: list[Body] = []
        """VMs that admission is through with, and that are not written yet."""

    def teardown(self) -> None:
        """In the end everything is seen, and what is leased is exactly what somebody has."""
        try:
            if hasattr(self, "caches"):
                self.server.fate, self.server.dead = "", False
                for _ in range(2):
                    self.restart_controller()
                    self.reconcile()
                    self.time_passes()
                leased = {lease["metadata"]["name"] for lease in self.server.all(LEASES)}
                assert leased == {lease_name(address, ref) for address, ref in self.holders()}
        finally:
            for one in self.patches:
                one.stop()
            self.loop.close()

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
        for kind, body in ((SUBNETS, subnet("blue", "10.0.0.0/29", cooldownSeconds=0)), (NADS, BLUE_NET)):
            self.run_(self.server.create(kind, body, NS))
        for number in range(2):
            self.webhook_sees(number)
        self.restart_controller()

    # What happens to processes

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
        self.store = Store()
        self.settling: list[str] = []
        self.owners = Owners(
            cast("Cluster", self.server),
            self.store,
            in_ovn=lambda _: frozenset(),
            changed=lambda _: None,
            conflict=lambda port, lease: pytest.fail(f"{port} may not have {lease.name}"),
            again=lambda *_: None,
            settle=self.settling.extend,
            clock=Clock.seconds,
        )
        self.controller_sees()

    @rule()
    def controller_sees(self) -> None:
        store = self.store
        tables = {VMS: store.vms, PODS: store.pods, SUBNETS: store.subnets, PORTS: store.ports, LEASES: store.leases}
        for kind, table in tables.items():
            self.server.shown(kind, table)

    @rule()
    def reconcile(self) -> None:
        """The controller looks at every owner, on what it has seen so far."""
        store = self.store
        found = {f"vm:{NS}/{name}" for name in NAMES}
        for owner in (*sorted(found), *sorted(found)):
            if store.subnets.synced:
                self.run_(self.owners.reconcile(owner))

    @rule()
    def time_passes(self) -> None:
        """More than a lease may wait for its VM. By then the controller has seen what was there before."""
        self.controller_sees()
        self.admitted.clear()
        Clock.time += RESERVED_FOR + timedelta(seconds=1)
        self.reconcile()

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 1), again=st.booleans(), runs=st.booleans())
    def a_watch_is_behind(self, name: str, number: int, again: bool, runs: bool) -> None:
        """The controller hears nothing of VMs and pods for longer than a lease may wait, and all of leases."""
        if again:
            self.stop(name)
            self.delete(name)
            self.controller_sees()
        self._admit(vm(name, networks=NICS[:1]), number, "made")
        if runs:
            self.start(name)
        self.server.shown(LEASES, self.store.leases)
        self.reconcile()
        self.admitted.clear()
        Clock.time += RESERVED_FOR + timedelta(seconds=1)
        self.reconcile()

    # What people do

    @rule(
        name=st.sampled_from(NAMES),
        nics=st.integers(1, 2),
        ask=st.none() | st.sampled_from(ADDRESSES),
        number=st.integers(0, 1),
        end=st.sampled_from(["made", "made", "made later", "made later", "refused by others", "dry run"]),
    )
    def create(self, name: str, nics: int, ask: str | None, number: int, end: str) -> None:
        asked = {"virtnet.dev/addresses": json.dumps({"blue": [ask]})} if ask else {}
        self._admit(vm(name, networks=NICS[:nics], annotations=asked), number, end)

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 1), gone=st.booleans())
    def create_slowly(self, name: str, number: int, gone: bool) -> None:
        """The controller looks before the VM is written; one of the same name may go meanwhile."""
        self._admit(vm(name, networks=NICS[:1]), number, "made later")
        self.controller_sees()
        self.reconcile()
        if gone:
            self.stop(name)
            self.delete(name)
            self.controller_sees()
            self.reconcile()
        self.write()

    @rule(
        source=st.sampled_from(NAMES),
        name=st.sampled_from(NAMES),
        number=st.integers(0, 1),
    )
    def restore(self, source: str, name: str, number: int) -> None:
        """A VM from what was saved of it or of another, record and MACs included."""
        if source in self.backups:
            body = copy.deepcopy(self.backups[source])
            body["metadata"] = {"name": name, "annotations": body["metadata"]["annotations"]}
            self._admit(body, number, "made")

    @rule(name=st.sampled_from(NAMES), nics=st.integers(1, 2), ask=st.sampled_from(ADDRESSES), number=st.integers(0, 1))
    def change(self, name: str, nics: int, ask: str, number: int) -> None:
        """Another request, or a NIC more or less."""
        old = self._vm(name)
        if old is not None:
            new = vm(name, networks=NICS[:nics], annotations={"virtnet.dev/addresses": json.dumps({"blue": [ask]})})
            new["metadata"]["annotations"][PINNED] = old["metadata"]["annotations"][PINNED]
            self._admit(new, number, "made", old)

    @rule()
    def write(self) -> None:
        """The API server writes what was admitted, where there is none of the name by now."""
        while self.admitted:
            body = self.admitted.pop()
            if not self._vm(body["metadata"]["name"]):
                self._quietly(self.server.create(VMS, body, NS))

    @rule(name=st.sampled_from(NAMES))
    def save(self, name: str) -> None:
        if body := self._vm(name):
            self.backups[name] = body

    @rule(name=st.sampled_from(NAMES))
    def start(self, name: str) -> None:
        if (body := self._vm(name)) and not self._pods(name):
            self.pods += 1
            self._quietly(self.server.create(PODS, pod_of(body, self.pods), NS))

    @rule(name=st.sampled_from(NAMES))
    def stop(self, name: str) -> None:
        for pod in self._pods(name):
            self._quietly(self.server.delete(PODS, pod["metadata"]["name"], NS))

    @precondition(lambda self: self.server.all(VMS))
    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if self._vm(name):
            self._quietly(self.server.delete(VMS, name, NS))

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 1), pod=st.booleans())
    def replace(self, name: str, number: int, pod: bool) -> None:
        """Deleted, and made again before the controller has acted on what it has seen of that."""
        if pod:
            self.start(name)
        self.reconcile()
        self.stop(name)
        self.delete(name)
        self.controller_sees()
        self._admit(vm(name, networks=NICS[:1]), number, "made")

    def _quietly(self, work: Coroutine[Any, Any, Any]) -> None:
        """A write of somebody else's, to whom nothing happens."""
        fate, self.server.fate = self.server.fate, ""
        self.loop.run_until_complete(work)
        self.server.fate = fate

    def _vm(self, name: str) -> Body | None:
        return next((body for body in self.server.all(VMS) if body["metadata"]["name"] == name), None)

    def _pods(self, name: str) -> list[Body]:
        return [pod for pod in self.server.all(PODS) if pod["metadata"]["ownerReferences"][0]["name"] == name]

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
            interfaces(body)[index]["macAddress"] = mac
        name = body["metadata"]["name"]
        if old is None:
            self.admitted.append(body)
            if end == "made":
                self.write()
        else:
            self._quietly(self.server.patch(VMS, name, {k: body[k] for k in ("metadata", "spec")}, NS))

    # What must hold

    def holders(self) -> dict[tuple[str, Any], set[str]]:
        """Address and Subnet -> the Ports that have it, by VMs' records and by running pods."""
        found: dict[tuple[str, Any], set[str]] = {}
        for port, nic in nics_of(self.server):
            bare = nic.bare_addresses if isinstance(nic, Attachment) else nic.addresses
            for address in (nic.mac, *bare):
                found.setdefault((address, nic.subnet), set()).add(port)
        return found

    @invariant()
    def no_address_is_held_by_two_and_each_has_its_lease(self) -> None:
        leases = {lease["metadata"]["name"]: AddressLease.parse(lease) for lease in self.server.all(LEASES)}
        for (address, ref), ports in self.holders().items():
            assert len(ports) == 1, f"{address} is held by {ports}"
            lease = leases.get(lease_name(address, ref))
            assert lease is not None, f"{address} of {ports} has no lease"
            assert {lease.spec.holder.key} == ports


BLUE_NET = nad({"subnet": "blue"}, "blue-net")

TestHistories = Histories.TestCase
Histories.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
