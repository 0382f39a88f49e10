"""The reconciler of rows, where one of many keys cannot be decided or written: the others do not wait for it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from tests.topology.samples import VPC, port, subnet
from virtnet.api import Resource
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.rows import Rows
from virtnet.controllers.store import Store
from virtnet.ovn.errors import Fenced
from virtnet.ovn.fake import FakeDatabase, FakeNorthbound

BLUE = subnet("blue")
KEYS = frozenset({f"ClusterVpc/{VPC.key}", "Subnet/demo/blue", "Port/demo/a.net", "Port/demo/b.net", "Port/demo/c.net"})


def put(store: Store, resource: Resource) -> None:
    body = resource.manifest()
    body["metadata"] |= {"uid": resource.key, "resourceVersion": "1"}
    body["metadata"] |= {"creationTimestamp": datetime(2026, 1, 1, tzinfo=UTC).isoformat()}
    store.table(type(resource)).put(body)


def nowhere(_: str) -> None:
    """Where OVN has bound a port: nowhere yet."""


def rows(northbound: FakeNorthbound, binding: Callable[[str], None] = nowhere) -> Rows:
    store = Store()
    for one in (VPC, BLUE, *(port(BLUE, number, f"{name}.net") for number, name in enumerate("abc", 10))):
        put(store, one)
    return Rows(
        SimpleNamespace(),  # type: ignore[arg-type]  # no node is in the store, so that nothing is asked of the API server
        store,
        northbound,
        SimpleNamespace(binding=binding, tunnel_keys=nowhere),  # type: ignore[arg-type]
        ended=lambda *_: asyncio.sleep(0),
        again=lambda *_: None,
        written=lambda _: None,
        committed=Metrics().transactions,
    )


async def test_a_port_that_nobody_thought_of_holds_up_no_other() -> None:
    def binding(key: str) -> None:
        if key == "demo/b.net":
            raise KeyError("nobody thought of this")

    northbound = FakeNorthbound()
    assert await rows(northbound, binding).reconcile(KEYS) == {"Port/demo/b.net"}
    assert {row.key.origin for row in northbound.observed()} == KEYS - {"Port/demo/b.net"}


async def test_who_is_fenced_writes_nothing_more() -> None:
    database = FakeDatabase()
    FakeNorthbound(database)  # has the lock
    with pytest.raises(Fenced):
        await rows(FakeNorthbound(database)).reconcile(KEYS)
    assert not database.rows
