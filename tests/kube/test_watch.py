"""A watch says what is there and what changes, and after any interruption again what is there."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from virtnet.api.meta import object_key
from virtnet.kube import transport, watching
from virtnet.kube.client import Cluster, Kind, NotFound, Rejected
from virtnet.kube.kinds import NODES
from virtnet.kube.watching import ListRequest
from virtnet.lab.control_plane import ControlPlane

CONFIG_MAPS = Kind("", "v1", "configmaps")

Body = dict[str, Any]
Change = tuple[str, dict[str, Any]]


def config_map(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


async def following(changes: AsyncGenerator[Change]) -> tuple[str, Any]:
    """The next change: its type, and the names that it is about. The parts of a list come with their end."""
    listed: list[Body] = []
    async with asyncio.timeout(20):
        async for change, found in changes:
            if change == "SYNC":
                assert found["keys"] == [object_key(item) for item in listed]
                return change, [item["metadata"]["name"] for item in listed]
            if change != "LISTED":
                return change, found["metadata"]["name"]
            listed += found["items"]
    raise AssertionError("a watch does not end")


async def test_it_lists_then_tells_every_change(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, config_map("old"), namespace)
    async with aclosing(cluster.watch(CONFIG_MAPS, namespace)) as changes:
        assert await following(changes) == ("SYNC", ["old"])
        await cluster.create(CONFIG_MAPS, config_map("new"), namespace)
        await cluster.patch(CONFIG_MAPS, "old", {"data": {"key": "1"}}, namespace)
        await cluster.delete(CONFIG_MAPS, "new", namespace)
        assert [await following(changes) for _ in range(3)] == [
            ("ADDED", "new"),
            ("MODIFIED", "old"),
            ("DELETED", "new"),
        ]


async def test_it_tells_only_what_was_selected(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, config_map("red", colour="red"), namespace)
    async with aclosing(cluster.watch(CONFIG_MAPS, namespace, labels="colour=blue", fields="metadata.name!=b")) as seen:
        assert await following(seen) == ("SYNC", [])
        for name in ("b", "c"):
            await cluster.create(CONFIG_MAPS, config_map(name, colour="blue"), namespace)
        assert await following(seen) == ("ADDED", "c")
        await cluster.patch(CONFIG_MAPS, "c", {"metadata": {"labels": {"colour": "red"}}}, namespace)
        assert await following(seen) == ("DELETED", "c")


async def test_a_watch_that_the_server_ends_goes_on_where_it_was(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "WATCH_SECONDS", 1.3)
    async with aclosing(cluster.watch(CONFIG_MAPS, namespace)) as changes:
        assert await following(changes) == ("SYNC", [])
        later = asyncio.ensure_future(following(changes))
        finished, _ = await asyncio.wait({later}, timeout=2.5)
        assert not finished, "nothing has happened, so there is nothing to tell"
        await cluster.create(CONFIG_MAPS, config_map("new"), namespace)
        assert await later == ("ADDED", "new")


async def test_a_lost_connection_loses_no_change(cluster: Cluster, wired: Cluster, wire: Any, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, config_map("old"), namespace)
    async with aclosing(wired.watch(CONFIG_MAPS, namespace)) as changes:
        assert await following(changes) == ("SYNC", ["old"])
        await cluster.delete(CONFIG_MAPS, "old", namespace)
        assert await following(changes) == ("DELETED", "old")
        wire.freeze()
        await cluster.create(CONFIG_MAPS, config_map("new"), namespace)
        wire.cut()
        wire.thaw()
        assert await following(changes) == ("SYNC", ["new"])


async def test_a_peer_that_falls_silent_is_left(
    cluster: Cluster, wired: Cluster, wire: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 1.0)
    async with aclosing(wired.watch(CONFIG_MAPS, namespace)) as changes:
        assert await following(changes) == ("SYNC", [])
        wire.freeze()
        await cluster.create(CONFIG_MAPS, config_map("new"), namespace)
        first = asyncio.ensure_future(following(changes))
        await asyncio.wait({first}, timeout=2)
        wire.cut()  # what the frozen wire holds is lost with it
        wire.thaw()
        assert await first == ("SYNC", ["new"])


async def test_a_kind_that_is_not_there_is_told_at_once(cluster: Cluster) -> None:
    with pytest.raises(NotFound):
        await anext(cluster.watch(Kind("example.com", "v1", "nonsenses")))


async def test_a_missing_role_is_told_at_once(api_server: ControlPlane) -> None:
    async with await Cluster.connect(str(api_server.kubeconfig_of("nobody"))) as nobody:
        with pytest.raises(Rejected, match='User "nobody" cannot list resource "nodes"'):
            await anext(nobody.watch(NODES))


class Restarted:
    """A server that forgets the moment of a list after its first part, and takes a config map away meanwhile."""

    async def pages(self, _: ListRequest) -> AsyncGenerator[tuple[list[dict[str, Any]], str]]:
        yield [config_map("gone"), config_map("kept")], "5"
        yield [config_map("kept"), config_map("new")], "9"

    async def lines(self, path: str, **_: Any) -> AsyncGenerator[dict[str, Any]]:
        raise NotImplementedError
        yield {}


async def test_a_list_that_begins_anew_counts_from_there() -> None:
    async with aclosing(watching.follow(Restarted(), ListRequest(CONFIG_MAPS))) as changes:
        found = [await anext(changes) for _ in range(3)]
    assert [change for change, _ in found] == ["LISTED", "LISTED", "SYNC"]
    assert found[-1][1] == {"keys": ["kept", "new"], "metadata": {"resourceVersion": "9"}}
