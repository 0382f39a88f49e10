"""The node's own NodeNetwork: creates it, follows its spec, and is the only writer of its status."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from virtnet.api import (
    HandoffSupport,
    NicPolicyOnNode,
    NodeHandoffStatus,
    NodeNetwork,
    NodeNetworkStatus,
    set_condition,
)
from virtnet.api.meta import Condition, Metadata
from virtnet.api.node_devices import SwitchDpdk
from virtnet.api.node_network import CHASSIS_MISSING, MOST_FORMER_CHASSIS
from virtnet.api.strings import check
from virtnet.kube import kinds
from virtnet.kube.backoff import Backoff
from virtnet.kube.cache import ObjectCache
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, ApiError, NotFound
from virtnet.kube.informer import Informer
from virtnet.node.attach import Attacher
from virtnet.node.devices.watch import Devices
from virtnet.node.guest_addresses import GuestAddresses
from virtnet.node.handoff.assignments import Assignments
from virtnet.node.handoff.node_handoffs import NodeHandoffs
from virtnet.node.links import mtu_at
from virtnet.node.netns import inside
from virtnet.node.nic_policies.reconciler import NicPolicyReconciler
from virtnet.node.providers.reconciler import ProviderNetworkReconciler
from virtnet.node.router_messages import RouterMessages
from virtnet.node.tunnel import TunnelAddress
from virtnet.node.underlays import Underlays
from virtnet.ovn.errors import OvnError
from virtnet.ovn.ovn_controller import controller_version
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

NODES = kinds.of(NodeNetwork)
REFRESH_SECONDS = 30.0
COALESCE_SECONDS = 1.0
"""A burst of new pods is one change of the status."""


class OwnNodeNetwork:
    """Follows the spec and publishes the status."""

    def __init__(
        self,
        cluster: Cluster,
        node: str,
        attacher: Attacher,
        vswitch: VSwitch,
        *,
        assignments: Assignments,
        handoffs: NodeHandoffs,
        tunnel: TunnelAddress,
        router_messages: RouterMessages,
        underlays: Underlays,
        guest_addresses: GuestAddresses,
        devices: Devices,
        dpdk: Callable[[], SwitchDpdk],
        policies: NicPolicyReconciler | None = None,
        networks: ProviderNetworkReconciler | None = None,
        ovn_run_dir: Path,
    ) -> None:
        self._cluster = cluster
        self._node = node
        self._attacher = attacher
        self._assignments = assignments
        self._handoffs = handoffs
        self._vswitch = vswitch
        self._known: NodeNetwork | None = None
        self._informer = Informer(
            cluster,
            NODES,
            ObjectCache(_read),
            self._note,
            fields=f"metadata.name={node}",
            listed=self._look_at_once,
        )
        self._look = asyncio.Event()
        self._heard = asyncio.Event()
        """Set when there is something that a guest may wait for, or the API server answers again."""
        self._later: asyncio.TimerHandle | None = None
        vswitch.on_change(self._look_later)
        self._tunnel = tunnel
        self._router_messages = router_messages
        handoffs.on_change(self._look_at_once, later=self._look_later)
        tunnel.on_change(self._look.set)
        self._underlays = underlays
        underlays.on_change(self._look.set)
        self._guest_addresses = guest_addresses
        guest_addresses.on_change(self._look_later)
        self._devices = devices
        self._dpdk = dpdk
        devices.on_change(self._look.set)
        self._policies = policies
        if policies is not None:
            policies.on_change(self._look.set)
        self._networks = networks
        self._ovn_run_dir, self._ovn_version, self._tunnel_mtu = ovn_run_dir, "", 0
        if networks is not None:
            networks.on_change(self._look.set)

    async def run(self) -> None:
        """Watch, act and publish until cancelled; outlasts an API server or a database that is away."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run(), name="own NodeNetwork")
            group.create_task(self._act(), name="handoffs")
            group.create_task(self._look_around(), name="OVN's version, tunnels' MTU")

    def _note(self, _: NodeNetwork | None, known: NodeNetwork | None) -> None:
        self._known = known
        self._assignments.replace(known.spec.handoffs if known is not None else {})
        if known is not None:
            self._router_messages.permit(known.spec.routers, known.spec.trunks)
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
            except (ApiError, OvnError, OSError, ValueError) as error:  # the last: is the controller newer?
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
                    self._handoffs.here, lambda netlink: mtu_at(netlink, next(iter(self._vswitch.encap_ips), ""))
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
        known = await self._handoffs.follow(known, self._refresh)
        if self._networks is not None:
            wanted = known.spec.provider_networks
            self._networks.want(None if wanted is None else {name: part.nic for name, part in wanted.items()})
        if self._policies is not None:
            self._policies.want(known.spec.nic_policies)
        status = self._status(known, self._handoffs.statuses(known), await self._handoffs.support())
        if status != known.status:
            patch = merge_patch(known.status, status)
            body = await self._cluster.patch(NODES, self._node, {"status": patch}, subresource="status")
            if self._known is known:  # else the watch has told something newer, perhaps that it is gone
                self._known = _read(body)

    async def _refresh(self) -> NodeNetwork:
        known = self._known = _read(await self._cluster.get(NODES, self._node))
        return known

    async def _create(self) -> None:
        manifest = NodeNetwork(metadata=Metadata(name=self._node)).manifest()
        try:
            self._known = NodeNetwork.parse(await self._cluster.create(NODES, manifest))
        except AlreadyExists:
            self._known = _read(await self._cluster.get(NODES, self._node))

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
        else:  # what the controller says, for OVN's databases are no node's to read
            for missing in known.status.conditions:
                if missing.type == CHASSIS_MISSING and missing.status == "True":
                    reason, message = missing.reason, missing.message
        dpdk = self._dpdk() if up else known.status.devices.dpdk
        return NodeNetworkStatus(
            chassis=vswitch.system_id if up else known.status.chassis,
            former_chassis=former_chassis(known.status, vswitch.system_id if up else ""),
            encap_ips=vswitch.encap_ips if up else known.status.encap_ips,
            datapath=datapath if up else known.status.datapath,
            ovn_version=self._ovn_version,
            tunnel_mtu=self._tunnel_mtu,
            ports=len(self._attacher.journal),
            handoffs=handoffs,
            handoff=support,
            provider_networks=self._networks.statuses if self._networks else {},
            nic_policies=self._policy_statuses(known),
            conflicts=self._underlays.conflicts,
            seen_addresses=self._guest_addresses.seen,
            devices=(self._devices.current or known.status.devices).model_copy(update={"dpdk": dpdk}),
            conditions=_conditions(
                known,
                Ready=(reason == "Ready", reason, message),
                Tunnel=(
                    not self._tunnel.problem,
                    "NotAsAsked" if self._tunnel.problem else "Set",
                    self._tunnel.problem,
                ),
                VhostUser=(dpdk.healthy, dpdk.reason or ("Served" if dpdk.healthy else "Unknown"), dpdk.message),
            ),
        )

    def _policy_statuses(self, known: NodeNetwork) -> dict[str, NicPolicyOnNode]:
        """What was said before, until the NICs have been looked at."""
        told = self._policies.statuses if self._policies is not None else {}
        return known.status.nic_policies if told is None else told


def _conditions(known: NodeNetwork, **found: tuple[bool, str, str]) -> tuple[Condition, ...]:
    """By type: whether it holds, its reason and its message."""
    conditions, generation = known.status.conditions, known.metadata.generation
    for type_, (status, reason, message) in found.items():
        conditions = set_condition(
            conditions, type_, status=status, reason=reason, message=message, generation=generation
        )
    return conditions


def former_chassis(known: NodeNetworkStatus, chassis: str) -> tuple[str, ...]:
    """The chassis names that a node has had before ``chassis``; empty: that is not known."""
    before = known.former_chassis
    if not chassis or chassis == known.chassis:
        return before
    was = known.chassis
    return tuple(one for one in (*before, was) if one and one != chassis)[-MOST_FORMER_CHASSIS:]


def merge_patch(before: NodeNetworkStatus, after: NodeNetworkStatus) -> dict[str, Any]:
    """The whole status, and None for what is over."""
    patch = after.model_dump(mode="json", by_alias=True)
    was = before.model_dump(mode="json", by_alias=True)
    for name in ("handoffs", "providerNetworks", "nicPolicies", "conflicts", "seenAddresses"):
        patch[name] |= dict.fromkeys(was[name].keys() - patch[name].keys())
    return patch


def _read(body: Mapping[str, Any]) -> NodeNetwork:
    """Raises ValueError where neither form nor strings are what a controller of this version writes."""
    known = NodeNetwork.parse(body)
    check(known.spec)
    return known
