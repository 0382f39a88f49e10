"""The node's own NodeNetwork: made, read, answered. The daemon is the only writer of its status."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from virtnet.api import HandoffSupport, NodeHandoffStatus, NodeNetwork, NodeNetworkStatus, set_condition
from virtnet.api.meta import Metadata
from virtnet.kube import kinds
from virtnet.kube.backoff import Backoff
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, ApiError, NotFound
from virtnet.node.announce import Announcer
from virtnet.node.arrivals import Arrivals
from virtnet.node.asked import Asked
from virtnet.node.attach import Attacher
from virtnet.node.drains import Drains
from virtnet.node.gates import Gates
from virtnet.node.handoffs import Releases
from virtnet.node.links import mtu_at
from virtnet.node.netns import inside
from virtnet.node.providers.networks import ProviderNetworks
from virtnet.node.tunnel import Tunnel
from virtnet.node.underlays import Underlays
from virtnet.ovn.controller_version import controller_version
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

NODES = kinds.of(NodeNetwork)
REFRESH_SECONDS = 30.0
COALESCE_SECONDS = 1.0
"""A burst of new pods is one change of the status."""
NO_KIND_SECONDS = 5.0


class OwnNodeNetwork:
    """Follows the object and says what is so."""

    def __init__(
        self,
        cluster: Cluster,
        node: str,
        attacher: Attacher,
        vswitch: VSwitch,
        *,
        asked: Asked,
        gates: Gates,
        tunnel: Tunnel,
        announcer: Announcer,
        underlays: Underlays,
        networks: ProviderNetworks | None = None,
        ovn_run_dir: Path,
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._attacher = attacher
        self._asked = asked
        self._releases = Releases(attacher)
        self._gates = gates
        self._arrivals = Arrivals(gates.here, attacher.journal, self._look_now)
        self._drains = Drains(gates.here, attacher.journal, self._local, self._look_later)
        self._ungated: str | None = None
        """Why this kernel has no gates; None while nobody has tried."""
        self._vswitch = vswitch
        self._known: NodeNetwork | None = None
        self._look = asyncio.Event()
        self._heard = asyncio.Event()
        """Set when there is something that a guest may wait for, or the API server answers again."""
        self._later: asyncio.TimerHandle | None = None
        vswitch.on_change(self._look_later)
        self._tunnel = tunnel
        self._announcer = announcer
        gates.on_open(announcer.arrived)
        gates.on_open(lambda _: self._look.set())
        gates.on_shut(self._look_at_once)
        tunnel.on_change(self._look.set)
        self._underlays = underlays
        underlays.on_change(self._look.set)
        self._networks = networks
        self._ovn_run_dir, self._ovn_version, self._tunnel_mtu = ovn_run_dir, "", 0
        if networks is not None:
            networks.on_change(self._look.set)

    async def run(self) -> None:
        """Watch, act and publish until cancelled; outlasts an API server or a database that is away."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="own NodeNetwork")
            group.create_task(self._act(), name="handoffs")
            group.create_task(self._look_around(), name="OVN's version, tunnels' MTU")

    async def _watch(self) -> None:
        while True:
            try:
                async for change, body in self._cluster.watch(NODES, fields=f"metadata.name={self._node}"):
                    self._note(change, body)
            except ApiError as error:  # no such kind, or no rights: the manifests may come after us
                log.warning("cannot watch NodeNetworks", error=str(error))
                await asyncio.sleep(NO_KIND_SECONDS)

    def _note(self, change: str, body: dict[str, Any]) -> None:
        if change == "SYNC":
            return
        items = body["items"] if change == "LISTED" else [body]
        try:
            self._known = NodeNetwork.parse(items[0]) if items and change != "DELETED" else None
        except ValidationError as error:
            log.exception("NodeNetwork cannot be read; is the controller newer?", error=str(error))
        self._asked.note(self._known.spec.handoffs if self._known is not None else {})
        self._look_at_once()

    def _look_at_once(self) -> None:
        self._heard.set()
        self._look.set()

    def _look_later(self) -> None:
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._look_now)

    def _look_now(self) -> None:
        self._later = None
        self._look.set()

    async def _act(self) -> None:
        """Level-triggered: whatever woke us, do what the object says, then say what is so."""
        backoff = Backoff()
        while True:
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                log.debug("looking again, as from time to time")
            self._look.clear()
            self._heard.clear()
            try:
                await self._once()
                backoff.succeeded()
            except NotFound:
                log.info("own NodeNetwork is gone; made anew")
                self._known = None
                await self._rest(backoff.after_failure())
            except (ApiError, OvnError, OSError, ValidationError) as error:  # the last: is the controller newer?
                log.warning("to be retried", error=str(error))
                await self._rest(backoff.after_failure())

    async def _rest(self, seconds: float) -> None:
        """Before the next attempt; not once the API server is heard again, or a gate shut: a guest may wait for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        self._look.set()

    async def _look_around(self) -> None:
        """At what nobody tells of."""
        while True:
            before = self._ovn_version, self._tunnel_mtu
            try:
                self._tunnel_mtu = await inside(
                    self._gates.here, lambda netlink: mtu_at(netlink, next(iter(self._vswitch.encap_ips), ""))
                )
            except OSError as error:
                log.warning("the MTU of the tunnels' device cannot be read", error=str(error))
            self._ovn_version = await controller_version(self._ovn_run_dir)
            if before != (self._ovn_version, self._tunnel_mtu):
                self._look.set()
            await asyncio.sleep(REFRESH_SECONDS)

    async def _once(self) -> None:
        if self._known is None:
            await self._create()
        known = self._known
        if known is None:
            return
        # First what guests wait for: the API server, which is asked below, may take its time.
        await self._gates.follow(known.spec.handoffs, self._local())
        self._arrivals.follow(known.spec.handoffs)
        self._announcer.follow(known.spec.handoffs)
        leaving = self._releases.pending(known)
        if leaving:
            await self._drains.finish((port, part.migration) for port, part in leaving.items())
            # The watch may be behind, and what it says may be over: nothing can be let go of by mistake.
            known = self._known = NodeNetwork.parse(await self._cluster.get(NODES, self._node))
            await self._releases.let_go(known)
        if self._networks is not None:
            told = known.spec.provider_networks
            self._networks.want(None if told is None else {name: part.nic for name, part in told.items()})
        await self._drains.follow(known.spec.handoffs)
        if self._ungated is None:
            self._ungated = await self._gates.obstacle()
        undrained = self._drains.obstacle()
        support = HandoffSupport(
            gate=not self._ungated, gate_message=self._ungated, drain=not undrained, drain_message=undrained
        )
        answers = self._answers(known)
        status = self._status(known, answers, support)
        if status != known.status:
            patch = merge_patch(known.status, status)
            body = await self._cluster.patch(NODES, self._node, {"status": patch}, subresource="status")
            if self._known is known:  # else the watch has told something newer, perhaps that it is gone
                self._known = NodeNetwork.parse(body)

    def _answers(self, known: NodeNetwork) -> dict[str, NodeHandoffStatus]:
        answers = self._releases.answers(known) | self._gates.answers(known.spec.handoffs)
        for port, said in self._drains.answers(known.spec.handoffs).items():
            released = answers.get(port)
            count = {"carried": said.carried, "undrained": said.undrained}
            answers[port] = released.model_copy(update=count) if released is not None else said
        for port, said in self._arrivals.answers(known.spec.handoffs).items():
            gate = answers.get(port)
            answers[port] = said.model_copy(update={"opened_at": gate.opened_at}) if gate is not None else said
        return answers

    def _local(self) -> str:
        """The address of this node's tunnels; empty where there are none of Geneve."""
        ids = self._vswitch.external_ids
        geneve = "geneve" in ids.get("ovn-encap-type", "").split(",")
        return next(iter(self._vswitch.encap_ips), "") if geneve else ""

    async def _create(self) -> None:
        manifest = NodeNetwork(metadata=Metadata(name=self._node)).manifest()
        try:
            self._known = NodeNetwork.parse(await self._cluster.create(NODES, manifest))
        except AlreadyExists:
            self._known = NodeNetwork.parse(await self._cluster.get(NODES, self._node))

    def _status(
        self, known: NodeNetwork, handoffs: dict[str, NodeHandoffStatus], support: HandoffSupport
    ) -> NodeNetworkStatus:
        vswitch = self._vswitch
        up, datapath = vswitch.up, vswitch.datapath
        reason, message = "Ready", ""
        if not up:
            reason, message = "OpenVSwitchAway", "Open vSwitch does not answer; is ovsdb-server running?"
        elif not datapath:
            reason, message = "NoBridge", f"there is no bridge {vswitch.bridge}; is ovn-controller running?"
        elif not vswitch.system_id:
            reason = "NoChassis"
            message = "Open vSwitch has no external_ids:system-id, OVN's name for this node; set it, as ovs-ctl does"
        return NodeNetworkStatus(
            chassis=vswitch.system_id if up else known.status.chassis,
            encap_ips=vswitch.encap_ips if up else known.status.encap_ips,
            datapath=datapath if up else known.status.datapath,
            ovn_version=self._ovn_version,
            tunnel_mtu=self._tunnel_mtu,
            ports=len(self._attacher.journal),
            handoffs=handoffs,
            handoff=support,
            provider_networks=self._networks.statuses if self._networks else {},
            conflicts=self._underlays.conflicts,
            conditions=set_condition(
                set_condition(
                    known.status.conditions,
                    "Ready",
                    status=reason == "Ready",
                    reason=reason,
                    message=message,
                    generation=known.metadata.generation,
                ),
                "Tunnel",
                status=not self._tunnel.problem,
                reason="NotAsAsked" if self._tunnel.problem else "Set",
                message=self._tunnel.problem,
                generation=known.metadata.generation,
            ),
        )


def merge_patch(before: NodeNetworkStatus, after: NodeNetworkStatus) -> dict[str, Any]:
    """The whole status, and None for what is over."""
    patch = after.model_dump(mode="json", by_alias=True)
    was = before.model_dump(mode="json", by_alias=True)
    for name in ("handoffs", "providerNetworks", "conflicts"):
        patch[name] |= dict.fromkeys(was[name].keys() - patch[name].keys())
    return patch
