"""Tells every node which of its NICs to plug in, and sums up how that went. The only writer of both."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from virtnet.api import (
    NodeFailure,
    NodeNetwork,
    NodeProviderNetwork,
    ProviderNetwork,
    ProviderNetworkStatus,
    set_condition,
)
from virtnet.controllers.store import Store
from virtnet.controllers.worker import each
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound, Rejected
from virtnet.kube.table import Table
from virtnet.topology.physical import assign

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""How often to look although nothing has been told."""

COALESCE_SECONDS, RETRY_SECONDS = 0.1, 1.0
ABSENT_SECONDS = 5.0
KEPT_FAILURES = 256
WAITING = "Waiting"
COMPONENT = "virtnet-controller"


def labels_of(body: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """A Node's name and labels: all that is kept of it."""
    return body["metadata"]["name"], body["metadata"].get("labels") or {}


class ProviderNetworks:
    """Level-triggered: compares what should be with what is there, as often as something may have changed."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster = cluster
        self._store = store
        self._nodes: Table[tuple[str, dict[str, str]]] = Table(labels_of)
        self._look = asyncio.Event()

    def nudge(self) -> None:
        """A ProviderNetwork, or what a node says of them, has changed."""
        self._look.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="watch nodes")
            group.create_task(self._work(), name="provider networks")

    async def _watch(self) -> None:
        while True:
            try:
                async for change, body in self._cluster.watch(kinds.NODES):
                    if self._nodes.note(change, body) or change == "SYNC":
                        self.nudge()
            except (Rejected, NotFound) as error:  # the role may come after us
                log.warning("not allowed to watch nodes", error=str(error))
                await asyncio.sleep(ABSENT_SECONDS)

    async def _work(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()
            await asyncio.sleep(COALESCE_SECONDS)  # many nodes answer at once
            self._look.clear()
            if not self._nodes.synced:
                continue
            if await self.reconcile(dict(self._nodes)):
                await asyncio.sleep(RETRY_SECONDS)
                self.nudge()

    async def reconcile(self, nodes: Mapping[str, Mapping[str, str]]) -> frozenset[str]:
        """Write what differs; returns the nodes and networks for which that could not be done now.

        They hold up no others: a node's object may be refused for as long as somebody does not mend it.
        """
        networks = {network.name: network for network in self._store.provider_networks}
        assignment = assign(list(networks.values()), nodes)

        async def tell(node: str) -> None:
            known = self._store.nodes.get(node)
            if known is not None:
                await self._tell(known, assignment.nics[node])

        async def sum_up(network: str) -> None:
            await self._sum_up(networks[network], assignment.nics, assignment.clashes.get(network, []))

        return await each(assignment.nics, tell) | await each(networks, sum_up)

    async def _tell(self, node: NodeNetwork, nics: Mapping[str, str]) -> None:
        told = node.spec.provider_networks
        if told is not None and {name: part.nic for name, part in told.items()} == nics:
            return
        patch: dict[str, Any] = {name: {"nic": nic} for name, nic in nics.items()}
        patch |= dict.fromkeys((told or {}).keys() - nics.keys())
        kind = kinds.of(NodeNetwork)
        body = await self._cluster.patch(kind, node.name, {"spec": {"providerNetworks": patch}})
        self._store.nodes.put(body)

    async def _sum_up(
        self, network: ProviderNetwork, nics: Mapping[str, Mapping[str, str]], clashes: Sequence[NodeFailure]
    ) -> None:
        name = network.name
        said = {
            node.name: node.status.provider_networks[name]
            for node in self._store.nodes
            if name in node.status.provider_networks
        }
        wanted = {node: by_network[name] for node, by_network in nics.items() if name in by_network}
        status = summary(network, wanted, said, clashes)
        if status == network.status:
            return
        kind = kinds.of(ProviderNetwork)
        patch = {"status": status.model_dump(mode="json", by_alias=True)}
        body = await self._cluster.patch(kind, name, patch, subresource="status")
        self._store.provider_networks.put(body)
        before = {(failure.node, failure.reason) for failure in network.status.failures}
        for failure in status.failures:
            if failure.reason != WAITING and (failure.node, failure.reason) not in before:
                message = f"{failure.node}: {failure.message}"
                await self._cluster.event(
                    body, reason=failure.reason, message=message, warning=True, component=COMPONENT
                )


def summary(
    network: ProviderNetwork,
    nics: Mapping[str, str],
    said: Mapping[str, NodeProviderNetwork],
    clashes: Sequence[NodeFailure],
) -> ProviderNetworkStatus:
    """How a ProviderNetwork is doing. By node: the NIC that it is to use, and what it has answered."""
    answers = {node: _failure(node, nic, said.get(node)) for node, nic in sorted(nics.items())}
    ready = tuple(node for node, failure in answers.items() if failure is None)
    failures = (*clashes, *filter(None, answers.values()))
    if failures:
        more = f"; and on {len(failures) - 1} more" if len(failures) > 1 else ""
        reason, message = failures[0].reason, f"{failures[0].node}: {failures[0].message}{more}"
    elif ready:
        reason, message = "Plugged", ""
    else:
        reason, message = "NoNodes", "no node has this network: see nodeSelector and excludeNodes"
    generation = network.metadata.generation
    return network.status.model_copy(
        update={
            "nodes": len(ready) + len(failures),
            "ready": len(ready),
            "ready_nodes": ready,
            "failures": failures[:KEPT_FAILURES],
            "conditions": set_condition(
                network.status.conditions,
                "Ready",
                status=reason == "Plugged",
                reason=reason,
                message=message,
                generation=generation,
            ),
            "observed_generation": generation,
        }
    )


def _failure(node: str, nic: str, said: NodeProviderNetwork | None) -> NodeFailure | None:
    """Why a node does not have the network on the NIC that it is to use; None where it has."""
    if said is None or (said.ready and said.nic != nic):
        message = f"virtnet-node on {node} has not answered yet; does its pod run there?"
        return NodeFailure(node=node, nic=nic, reason=WAITING, message=message)
    return None if said.ready else NodeFailure(node=node, nic=nic, reason=said.reason, message=said.message)
