"""What the controller would write to OVN now, for people who look before it does, or in its place.

The same code as the controller's, once and from one list of every kind. Handoffs are left as they stand: only who
watches a migration from its beginning to its end may move a port.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

from virtnet.api import GROUP
from virtnet.controllers.informers import sources
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.rows import Rows
from virtnet.controllers.store import Store
from virtnet.handoff.facts import Facts
from virtnet.handoff.machine import Decision, decide
from virtnet.handoff.options import ChassisOptions
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound
from virtnet.topology.transaction import Transaction

LOCK = "virtnet"


@dataclass(frozen=True)
class Preview:
    """One look at a cluster and its OVN."""

    northbound: OvsdbNorthbound
    rows: Rows

    @classmethod
    @asynccontextmanager
    async def of(cls, cluster: Cluster, northbound: str, southbound: str, *, lock: str = "") -> AsyncIterator[Self]:
        """With ``lock``, stand in line for the right to write. Raises ApiError and OvnError."""
        store = Store()
        async with OvsdbNorthbound(northbound, lock=lock) as nb, Southbound(southbound) as sb:
            await fill(cluster, store)
            rows = Rows(
                cluster,
                store,
                nb,
                sb,
                ended=lambda *_: asyncio.sleep(0),
                again=lambda *_: None,
                written=lambda _: None,
                committed=Metrics().transactions,
                decide=stand,
            )
            yield cls(nb, rows)

    async def transaction(self) -> Transaction:
        operations, _ = await self.rows.plan(self.rows.everything())
        return Transaction(operations)


async def fill(cluster: Cluster, store: Store) -> None:
    """List everything once. A kind of others that is not served has no objects. Raises ApiError."""
    for kind, table, selectors in sources(store):
        try:
            items, _ = await cluster.list(kind, **selectors)
        except NotFound:
            if kind.group == GROUP:
                raise
            continue
        for body in items:
            table.put(body)


def stand(facts: Facts) -> Decision:
    """A port where it is: one in a handoff keeps its options and journal, and none is begun."""
    if facts.options.journal:
        return Decision(options=facts.options)
    decision = decide(facts)
    if not decision.options.journal:
        return decision
    return replace(decision, options=ChassisOptions(requested=decision.options.requested[:1]))
