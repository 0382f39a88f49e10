"""What the two nodes of a handoff are asked to do. The only writer of it."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog

from virtnet.api import HandoffPath, NodeHandoff, NodeNetwork
from virtnet.controllers.store import Store
from virtnet.handoff.journal import Journal
from virtnet.handoff.machine import Decision
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound

log = structlog.get_logger()

NODES = kinds.of(NodeNetwork)
REPORT_RETRY = timedelta(seconds=1)

Parts = dict[str, NodeHandoff | None]
"""By Port; None: its handoff is over."""


class Asks:
    """Compares what nodes are to do with what they have been asked for, and asks for the rest."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        tunnel_keys: Callable[[str], tuple[int, int] | None],
        again: Callable[[str, timedelta], None],
    ) -> None:
        """``tunnel_keys(port)``: what tunnels call its switch and itself. ``again(key, delay)``: look again then."""
        self._cluster = cluster
        self._store = store
        self._tunnel_keys = tunnel_keys
        self._again = again

    async def ask(self, ports: set[str], decisions: Mapping[str, Decision]) -> None:
        """Tell the nodes of each handoff their part, and take it back when it is over."""
        wanted: dict[str, dict[str, NodeHandoff]] = {}
        for port, decision in decisions.items():
            journal = Journal.read(decision.options.journal)
            if journal is not None:
                source, target = self._parts(port, journal, release=bool(decision.release))
                wanted.setdefault(journal.source, {})[port] = source
                wanted.setdefault(journal.target, {})[port] = target
        changes = {node.name: _changes(node, wanted.get(node.name, {}), ports) for node in self._store.nodes}
        await asyncio.gather(*(self._ask(node, parts) for node, parts in changes.items() if parts))

    def _parts(self, port: str, journal: Journal, *, release: bool) -> tuple[NodeHandoff, NodeHandoff]:
        there, back = self._paths(port, journal)
        uid, arrived = journal.migration, journal.ready is not None
        return (
            NodeHandoff(migration=uid, role="Source", pod=journal.pod, release=release, path=there),
            NodeHandoff(migration=uid, role="Target", open=arrived, path=back),
        )

    def _paths(self, port: str, journal: Journal) -> tuple[HandoffPath | None, HandoffPath | None]:
        """From the source to the target and back; None where there is no gate, or OVN's tunnels are not known."""
        keys = self._tunnel_keys(port)
        nodes = [self._store.nodes.get(name) for name in (journal.source, journal.target)]
        if journal.gateless or keys is None or not all(node and node.status.encap_ips for node in nodes):
            return None, None
        known = (node.spec.handoffs.get(port) for node in nodes if node)
        tokens = (one.path.token for one in known if one and one.path and one.migration == journal.migration)
        token = next(tokens, None) or secrets.token_hex(16)
        back, there = (
            HandoffPath(remote=node.status.encap_ips[0], datapath=keys[0], port=keys[1], token=token)
            for node in nodes
            if node
        )
        return there, back

    async def _ask(self, node: str, parts: Parts) -> None:
        handoffs = {port: part and part.model_dump(mode="json", by_alias=True) for port, part in parts.items()}
        try:
            body = await self._cluster.patch(NODES, node, {"spec": {"handoffs": handoffs}})
        except NotFound:
            return
        except ApiError as error:
            log.warning("node not asked yet", node=node, error=str(error))
            for port in parts:
                self._again(f"Port/{port}", REPORT_RETRY)
            return
        self._store.nodes.put(body)


def _changes(node: NodeNetwork, wanted: Mapping[str, NodeHandoff], ports: set[str]) -> Parts:
    """What a node has not been asked for yet, and which of these ports' handoffs are over for it."""
    fresh: Parts = {port: part for port, part in wanted.items() if node.spec.handoffs.get(port) != part}
    return fresh | dict.fromkeys(ports & node.spec.handoffs.keys() - wanted.keys())
