"""The node's part in handoffs, and what it publishes: its own NodeNetwork, read and answered."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog

from virtnet.api import NodeNetwork, NodeNetworkStatus, set_condition
from virtnet.api.meta import Metadata
from virtnet.api.node_network import NodeHandoffStatus
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, ApiError
from virtnet.node.attach import Attacher
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

NODES = kinds.of(NodeNetwork)
REFRESH_SECONDS = 30.0


class NodePart:
    """Follows the node's own NodeNetwork. The only writer of its status."""

    def __init__(self, cluster: Cluster, node: str, attacher: Attacher, vswitch: VSwitch) -> None:
        self._cluster = cluster
        self._node = node
        self._attacher = attacher
        self._vswitch = vswitch
        self._known: NodeNetwork | None = None
        self._look = asyncio.Event()
        vswitch.on_change(self._look.set)

    async def run(self) -> None:
        """Watch, act and publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="own NodeNetwork")
            group.create_task(self._act(), name="handoffs")

    async def _watch(self) -> None:
        async for change, body in self._cluster.watch(NODES, fields=f"metadata.name={self._node}"):
            items = body["items"] if change == "SYNC" else [body]
            if change == "DELETED" or not items:
                self._known = None
            else:
                self._known = NodeNetwork.parse(items[0])
            self._look.set()

    async def _act(self) -> None:
        """Level-triggered: whatever woke us, do what the object says, then say what is so."""
        while True:
            try:
                async with asyncio.timeout(REFRESH_SECONDS):
                    await self._look.wait()
            except TimeoutError:
                log.debug("looking again, as from time to time")
            self._look.clear()
            try:
                await self._once()
            except (ApiError, OvnError) as error:
                log.warning("to be retried", error=str(error))
                await asyncio.sleep(1)
                self._look.set()

    async def _once(self) -> None:
        if self._known is None:
            await self._create()
            return
        released = await self._release(self._known)
        status = self._status(self._known, released)
        if status != self._known.status:
            patch = _merge_patch(self._known.status, status)
            body = await self._cluster.patch(NODES, self._node, {"status": patch}, subresource="status")
            self._known = NodeNetwork.parse(body)

    async def _create(self) -> None:
        manifest = NodeNetwork(metadata=Metadata(name=self._node)).manifest()
        try:
            self._known = NodeNetwork.parse(await self._cluster.create(NODES, manifest))
        except AlreadyExists:
            self._known = NodeNetwork.parse(await self._cluster.get(NODES, self._node))
        self._look.set()

    async def _release(self, known: NodeNetwork) -> dict[str, NodeHandoffStatus]:
        """Let go of the ports whose guests run elsewhere by now; all that were let go for a handoff in course."""
        answers = {}
        for port, handoff in known.spec.handoffs.items():
            if handoff.role != "Source" or not handoff.release:
                continue
            for entry in self._attacher.journal.of_port(port):
                if entry.migration != handoff.migration and not entry.released:
                    await self._attacher.release(entry)
            before = known.status.handoffs.get(port)
            if before is not None and before.migration == handoff.migration:
                answers[port] = before
            else:
                answers[port] = NodeHandoffStatus(migration=handoff.migration, released_at=datetime.now(UTC))
        return answers

    def _status(self, known: NodeNetwork, handoffs: dict[str, NodeHandoffStatus]) -> NodeNetworkStatus:
        up, datapath = self._vswitch.up, self._vswitch.datapath
        reason, message = "Ready", ""
        if not up:
            reason, message = "OpenVSwitchAway", "Open vSwitch does not answer"
        elif not datapath:
            reason, message = "NoBridge", f"there is no bridge {self._vswitch.bridge}; is ovn-controller running?"
        return NodeNetworkStatus(
            chassis=self._vswitch.system_id if up else known.status.chassis,
            encap_ips=self._vswitch.encap_ips if up else known.status.encap_ips,
            datapath=datapath if up else known.status.datapath,
            ports=len(self._attacher.journal),
            handoffs=handoffs,
            conditions=set_condition(
                known.status.conditions,
                "Ready",
                status=reason == "Ready",
                reason=reason,
                message=message,
                generation=known.metadata.generation,
            ),
        )


def _merge_patch(before: NodeNetworkStatus, after: NodeNetworkStatus) -> dict[str, Any]:
    """The whole status, and None for handoffs that are over."""
    patch = after.model_dump(mode="json", by_alias=True)
    patch["handoffs"] |= dict.fromkeys(before.handoffs.keys() - after.handoffs.keys())
    return patch
