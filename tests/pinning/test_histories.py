"""Leases over random histories: VMs come, run, go and come back, while webhooks and controller die at any write.

The pinner and the reconciler are the real ones, each with its own late view of an API server that is only as real as
they need it: names are unique, versions and uids are compared, a status is a part of its own.
"""

import copy
import json
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.pinning.api_server import NS, Clock, nics_of, pod_of
from tests.pinning.inputs import vm
from tests.pinning.processes import LEASES, NAMES, Processes
from virtnet.api import AddressLease
from virtnet.api.lease import lease_name
from virtnet.api.names import PINNED, port_name
from virtnet.api.records import Attachment
from virtnet.controllers.ownership import RESERVED_FOR
from virtnet.kube.kinds import PODS, VMIS, VMS

NICS = (("blue", "blue-net"), ("more", "blue-net"))
ADDRESSES = tuple(f"10.0.0.{n}" for n in range(2, 7))


class Histories(Processes):
    """The people and machinery that use them, and what must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.given_up: set[tuple[str, str]] = set()
        """Ports and addresses that a write was to take from them which was never made."""

    @rule(
        name=st.sampled_from(NAMES),
        nics=st.integers(1, 2),
        ask=st.none() | st.sampled_from(ADDRESSES),
        number=st.integers(0, 1),
        end=st.sampled_from(["made", "made", "made later", "made later", "refused by others", "dry run"]),
    )
    def create(self, name: str, nics: int, ask: str | None, number: int, end: str) -> None:
        annotations = {"virtnet.dev/addresses": json.dumps({"blue": [ask]})} if ask else {}
        self._admit(vm(name, networks=NICS[:nics], annotations=annotations), number, end)

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
            before = self.server.version
            self._admit(new, number, "made", old)
            if self.server.version != before and self._vm(name) == old and not self._pods(name):
                self.given_up |= self._without_lease(name)

    def _without_lease(self, name: str) -> set[tuple[str, str]]:
        """Ports of a VM, and addresses of theirs that no lease says they hold.

        A stopped VM's NIC gives a lease up before another one has it: where admission dies in between, nobody has it
        until the controller makes it anew, or another VM is the first.
        """
        leases = {one["spec"]["address"]: AddressLease.parse(one).spec.holder.key for one in self.server.all(LEASES)}
        held = {(port, address) for (address, _), ports in self.holders().items() for port in ports}
        ports = {f"{NS}/{port_name(name, network)}" for network, _ in NICS}
        return {(port, address) for port, address in held if port in ports and leases.get(address) != port}

    @rule(name=st.sampled_from(NAMES))
    def save(self, name: str) -> None:
        if body := self._vm(name):
            self.backups[name] = body

    @rule(name=st.sampled_from(NAMES))
    def start(self, name: str) -> None:
        if (body := self._vm(name)) and not self._pods(name):
            self.pods += 1
            self._quietly(self.server.create(VMIS, {"metadata": {"name": name}}, NS))
            self._quietly(self.server.create(PODS, pod_of(body, self.pods), NS))

    @rule(name=st.sampled_from(NAMES))
    def stop(self, name: str) -> None:
        for pod in self._pods(name):
            self._quietly(self.server.delete(PODS, pod["metadata"]["name"], NS))
            self._quietly(self.server.delete(VMIS, name, NS))

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
        self.controller_sees_all(LEASES)
        self.reconcile()
        self.admitted.clear()
        Clock.moment += RESERVED_FOR + timedelta(seconds=1)
        self.reconcile()

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
        for (address, ref), every in self.holders().items():
            lease = leases.get(lease_name(address, ref))
            holder = lease.spec.holder.key if lease else ""
            ports = {port for port in every if port == holder or (port, address) not in self.given_up}
            if not ports:
                continue
            assert len(ports) == 1, f"{address} is held by {ports}"
            assert lease is not None, f"{address} of {ports} has no lease"
            assert {lease.spec.holder.key} == ports


TestHistories = Histories.TestCase
Histories.TestCase.settings = settings(max_examples=40, stateful_step_count=50)
