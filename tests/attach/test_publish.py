"""What the node daemon does first, whatever becomes of its requests to the API server."""

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from virtnet.api import NodeNetwork
from virtnet.kube.backoff import LONGEST_PAUSE, Backoff
from virtnet.kube.errors import AlreadyExists, Unavailable
from virtnet.node.publish import OwnNodeNetwork


def nothing(*_: Any) -> None: ...


class Gates:
    """Those of a node at which a guest has arrived."""

    here = "/proc/self/ns/net"
    on_open = staticmethod(nothing)

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self.shut = nothing

    def on_shut(self, callback: Any) -> None:
        self.shut = callback

    async def follow(self, *_: Any) -> None:
        self.told.set()


async def never(*_: Any) -> None:
    await asyncio.Event().wait()


def own_of(cluster: Any, gates: Gates | None = None) -> OwnNodeNetwork:
    part = SimpleNamespace(
        on_change=nothing, follow=nothing, arrived=nothing, external_ids={}, encap_ips=(), note=nothing
    )
    return OwnNodeNetwork(
        cluster,
        "n1",
        SimpleNamespace(journal=()),  # type: ignore[arg-type]
        part,  # type: ignore[arg-type]
        asked=part,  # type: ignore[arg-type]
        gates=gates or Gates(),  # type: ignore[arg-type]
        tunnel=part,  # type: ignore[arg-type]
        announcer=part,  # type: ignore[arg-type]
        underlays=part,  # type: ignore[arg-type]
        ovn_run_dir=Path("/nowhere"),
    )


async def test_a_gate_does_not_wait_for_an_api_server_that_hangs() -> None:
    """Another guest leaves at the same time, for which the API server has to be asked once more."""
    gates = Gates()
    own = own_of(SimpleNamespace(get=never, patch=never), gates)
    own._known = NodeNetwork.parse(
        {
            "metadata": {"name": "n1"},
            "spec": {
                "handoffs": {
                    "demo/leaves": {"migration": "m1", "role": "Source", "pod": "p", "release": True},
                    "demo/comes": {"migration": "m2", "role": "Target"},
                }
            },
        }
    )
    looks = asyncio.create_task(own._once())
    async with asyncio.timeout(10):
        await gates.told.wait()
    looks.cancel()


class Away:
    """An API server that answers nothing."""

    def __init__(self, asked: int) -> None:
        """``asked``: how often until ``enough``."""
        self.asked, self.enough = asked, asyncio.Event()

    async def create(self, *_: Any) -> Any:
        self.asked -= 1
        if not self.asked:
            self.enough.set()
        raise Unavailable("connection refused")


async def attempts(own: OwnNodeNetwork, away: Away) -> None:
    own._look.set()
    acts = asyncio.create_task(own._act())
    async with asyncio.timeout(10):
        await away.enough.wait()
    acts.cancel()


async def test_an_api_server_that_comes_back_does_not_get_the_status_of_all_nodes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[list[float]] = []
    for _ in range(2):
        away, rests = Away(9), list[float]()
        own = own_of(away)

        async def rest(seconds: float, own: OwnNodeNetwork = own, rests: list[float] = rests) -> None:
            rests.append(seconds)
            own._look.set()
            await asyncio.sleep(0)

        monkeypatch.setattr(own, "_rest", rest)
        await attempts(own, away)
        pauses.append(rests)
    for one, another in zip(*pauses, strict=False):
        assert one != another
    first, *_, last = pauses[0]
    assert 10 * first < last <= 1.2 * LONGEST_PAUSE


async def test_a_node_that_hears_the_api_server_again_does_not_wait_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "after_failure", lambda _: 3600)
    away = Away(2)
    own = own_of(away)
    asyncio.get_running_loop().call_later(0.01, own._note, "LISTED", {"items": []})
    await attempts(own, away)


async def test_a_gate_that_is_shut_meanwhile_is_told_where_its_source_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its guest may come before the API server takes what it did not take."""
    monkeypatch.setattr(Backoff, "after_failure", lambda _: 3600)
    away, gates = Away(2), Gates()
    own = own_of(away, gates)
    asyncio.get_running_loop().call_later(0.01, gates.shut)
    await attempts(own, away)


class Newer(Away):
    """Its NodeNetwork says what this version does not know."""

    async def create(self, *_: Any) -> Any:
        raise AlreadyExists("n1")

    async def get(self, *_: Any) -> Any:
        with contextlib.suppress(Unavailable):
            await super().create()
        handoffs = {"demo/db.blue": {"migration": "m1", "role": "Onlooker"}}
        return {"metadata": {"name": "n1"}, "spec": {"handoffs": handoffs}}


async def test_a_newer_controller_does_not_end_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods are attached all the same."""
    monkeypatch.setattr(Backoff, "after_failure", lambda _: 0)
    newer = Newer(2)
    await attempts(own_of(newer), newer)
