"""The client while the API server and etcd die and come back, and while etcd forgets."""

import asyncio
import http.client
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, closing
from typing import Any

import pytest

from virtnet.api.meta import object_key
from virtnet.kube import client
from virtnet.kube.client import Cluster, Kind, Unavailable
from virtnet.kube.transport import Transport, configuration
from virtnet.kube.watching import ListRequest, follow
from virtnet.lab.control_plane import ControlPlane

CONFIG_MAPS = Kind("", "v1", "configmaps")


@pytest.fixture
async def cluster(own_api_server: ControlPlane) -> AsyncIterator[Cluster]:
    """Of the server that is killed here, not of the one that all tests share."""
    async with await Cluster.connect(str(own_api_server.kubeconfig)) as connected:
        yield connected


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def names(changes: AsyncGenerator[tuple[str, Any]], wanted: str) -> list[str]:
    """The names in the next change of this type."""
    async with asyncio.timeout(30):
        async for change, found in changes:
            if change == wanted:
                keys = found["keys"] if change == "SYNC" else [object_key(found)]
                return [key.rpartition("/")[2] for key in keys]
    raise AssertionError("a watch does not end")


async def restart(server: ControlPlane) -> None:
    # In this thread: what `ControlPlane.local` starts dies with the thread that started it.
    server.etcd.start()
    server.apiserver.start()
    await asyncio.to_thread(server.wait_until_ready)


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_watch_outlives_the_api_server(
    cluster: Cluster, namespace: str, own_api_server: ControlPlane, how: str
) -> None:
    async with aclosing(cluster.watch(CONFIG_MAPS, namespace)) as changes:
        assert await names(changes, "SYNC") == []
        await cluster.create(CONFIG_MAPS, config_map("before"), namespace)
        assert await names(changes, "ADDED") == ["before"]
        getattr(own_api_server.apiserver, how)()
        with pytest.raises(Unavailable):
            await cluster.get(CONFIG_MAPS, "before", namespace)
        await restart(own_api_server)
        assert await names(changes, "SYNC") == ["before"]
        await cluster.create(CONFIG_MAPS, config_map("after"), namespace)
        assert await names(changes, "ADDED") == ["after"]


async def test_what_was_written_outlives_etcd(cluster: Cluster, namespace: str, own_api_server: ControlPlane) -> None:
    await cluster.create(CONFIG_MAPS, config_map("kept"), namespace)
    own_api_server.etcd.kill()
    await restart(own_api_server)
    await cluster.get(CONFIG_MAPS, "kept", namespace)
    await cluster.create(CONFIG_MAPS, config_map("written"), namespace)


class FromLongAgo:
    """The real server, but the first list has a resourceVersion that it remembers no more."""

    def __init__(self, cluster: Cluster, version: str) -> None:
        self._cluster = cluster
        self._version = version

    async def pages(self, what: ListRequest) -> AsyncGenerator[tuple[list[dict[str, Any]], str]]:
        async for items, version in self._cluster.pages(what):
            listed, self._version = self._version or version, ""
            yield items, listed

    def lines(
        self, path: str, *, query: Mapping[str, str], seconds: float, silence: float
    ) -> AsyncGenerator[dict[str, Any]]:
        return self._cluster.lines(path, query=query, seconds=seconds, silence=silence)


async def test_an_expired_version_lists_again(cluster: Cluster, namespace: str, own_api_server: ControlPlane) -> None:
    _, before = await cluster.list(CONFIG_MAPS, namespace)
    await cluster.create(CONFIG_MAPS, config_map("old"), namespace)
    own_api_server.apiserver.kill()
    await restart(own_api_server)
    async with aclosing(follow(FromLongAgo(cluster, before), ListRequest(CONFIG_MAPS, namespace))) as changes:
        assert [(await anext(changes))[0] for _ in range(4)] == ["LISTED", "SYNC"] * 2
        await cluster.create(CONFIG_MAPS, config_map("new"), namespace)
        assert await names(changes, "ADDED") == ["new"]


def compact(server: ControlPlane, version: str) -> None:
    """Take from etcd how things were before this resourceVersion."""
    etcd = http.client.HTTPConnection("127.0.0.1", server.etcd_port)
    with closing(etcd):
        etcd.request("POST", "/v3/kv/compaction", json.dumps({"revision": version, "physical": True}))
        assert etcd.getresponse().status == http.client.OK


class Slow(Transport):
    """A way to the server so slow that between the first two pages of a list etcd forgets their moment."""

    server_to_forget: ControlPlane | None = None

    async def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await super().request(method, path, **options)
        if self.server_to_forget and answer.get("metadata", {}).get("continue"):
            server, self.server_to_forget = self.server_to_forget, None
            made = await super().request("POST", path, body=config_map("m9"))
            compact(server, made["metadata"]["resourceVersion"])
            server.apiserver.kill()  # it remembers for itself, too
            await restart(server)
        return answer


async def test_a_list_that_outlasts_etcds_memory_starts_again(
    cluster: Cluster, namespace: str, own_api_server: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await cluster.create(CONFIG_MAPS, config_map(f"m{number}"), namespace)
    monkeypatch.setattr(client, "PAGE", 2)
    transport = Slow(await configuration(str(own_api_server.kubeconfig)), agent="test")
    transport.server_to_forget = own_api_server
    async with Cluster(transport) as slow:
        items, _ = await slow.list(CONFIG_MAPS, namespace)
    assert transport.server_to_forget is None
    assert [item["metadata"]["name"] for item in items] == ["m0", "m1", "m2", "m3", "m4", "m9"]
