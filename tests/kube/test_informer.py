"""An informer's cache is what the API server has, whatever becomes of the server, of our roles and of the kind."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from virtnet.kube.cache import ObjectCache
from virtnet.kube.client import Cluster, Kind, NotFound
from virtnet.kube.informer import Informer, KindState
from virtnet.kube.kinds import CRDS, NODES
from virtnet.lab import manifests
from virtnet.lab.control_plane import ControlPlane

CONFIG_MAPS = Kind("", "v1", "configmaps")
GROUP = "test.virtnet.dev"

Body = dict[str, Any]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.01)


@asynccontextmanager
async def informing(cluster: Cluster, kind: Kind, **options: Any) -> AsyncIterator[Informer[str]]:
    """An informer of what a field ``key`` of each object's ``data`` says."""
    informer = Informer(cluster, kind, ObjectCache[str](lambda body: body["data"]["key"]), **options)
    task = asyncio.create_task(informer.run())
    yield informer
    assert not task.done(), "an informer does not end"
    task.cancel()
    await asyncio.wait({task})


def config_map(name: str, key: str = "1") -> Body:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": key}}


@pytest.fixture
def kind(namespace: str) -> Kind:
    """A kind of this test's own, not defined yet."""
    return Kind(f"{namespace}.{GROUP}", "v1", "widgets", namespaced=False)


def widget(kind: Kind, name: str, key: str = "1") -> Body:
    return {
        "apiVersion": f"{kind.group}/{kind.version}",
        "kind": "Widget",
        "metadata": {"name": name},
        "data": {"key": key},
    }


async def define(cluster: Cluster, kind: Kind) -> None:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": str(kind)},
        "spec": {
            "group": kind.group,
            "names": {"plural": kind.plural, "kind": "Widget"},
            "scope": "Cluster",
            "versions": [
                {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
    await manifests.apply(cluster, [body])


async def undefine(cluster: Cluster, kind: Kind) -> None:
    await cluster.delete(CRDS, str(kind))


async def undefined(cluster: Cluster, kind: Kind) -> None:
    """Wait until the definition is gone."""
    async with asyncio.timeout(30):
        while True:
            try:
                await cluster.get(CRDS, str(kind), metadata_only=True)
            except NotFound:
                return
            await asyncio.sleep(0.05)


async def test_it_tells_every_change_with_what_was_before(cluster: Cluster, namespace: str) -> None:
    changes_seen: list[tuple[str | None, str | None]] = []
    await cluster.create(CONFIG_MAPS, config_map(namespace), "default")
    fields = f"metadata.name={namespace}"
    async with informing(
        cluster, CONFIG_MAPS, fields=fields, changed=lambda old, new: changes_seen.append((old, new))
    ) as informer:
        await informer.synced.wait()
        await cluster.patch(CONFIG_MAPS, namespace, {"data": {"key": "2"}}, "default")
        await cluster.delete(CONFIG_MAPS, namespace, "default")
        await until(lambda: len(changes_seen) == 3)
    assert changes_seen == [(None, "1"), ("1", "2"), ("2", None)]


@pytest.mark.parametrize("required", [False, True])
async def test_a_kind_may_come_later(cluster: Cluster, kind: Kind, *, required: bool) -> None:
    async with informing(cluster, kind, required=required) as informer:
        await until(lambda: informer.state is KindState.NOT_SERVED)
        assert informer.message == f"the API server does not serve {kind}; is its definition applied?"
        assert informer.synced.is_set() is not required
        await define(cluster, kind)
        await until(lambda: informer.state is KindState.SERVED)
        assert informer.synced.is_set()
        await cluster.create(kind, widget(kind, "a"))
        await until(lambda: informer.cache.get("a"))
        await cluster.delete(kind, "a")
        await until(lambda: not informer.cache.objects)


async def test_a_role_may_come_later(api_server: ControlPlane, cluster: Cluster, namespace: str) -> None:
    group = "rbac.authorization.k8s.io"
    bindings = Kind(group, "v1", "clusterrolebindings", namespaced=False)
    async with await Cluster.connect(str(api_server.kubeconfig_of("nobody"))) as nobody:
        seen: list[KindState] = []
        informer: Informer[str]
        async with informing(nobody, NODES, observed=lambda: seen.append(informer.state)) as informer:
            await until(lambda: informer.state is KindState.FORBIDDEN)
            assert 'User "nobody" cannot list resource "nodes"' in informer.message
            assert not informer.synced.is_set()
            body = {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": namespace},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"apiGroup": group, "kind": "User", "name": "nobody"}],
            }
            await cluster.create(bindings, body)
            try:
                await informer.synced.wait()
            finally:
                await cluster.delete(bindings, namespace)
        assert seen == [KindState.FORBIDDEN, KindState.SERVED]


async def test_nobody_has_deleted_what_goes_with_its_definition(cluster: Cluster, kind: Kind) -> None:
    changes_seen: list[tuple[str | None, str | None]] = []
    states: list[KindState] = []
    await define(cluster, kind)
    for name in ("a", "b", "c"):
        await cluster.create(kind, widget(kind, name, name))
    informer: Informer[str]
    async with informing(
        cluster,
        kind,
        changed=lambda old, new: changes_seen.append((old, new)),
        observed=lambda: states.append(informer.state),
    ) as informer:
        await informer.synced.wait()
        await cluster.delete(kind, "c")
        await until(lambda: "c" not in informer.cache.objects)
        changes_seen.clear()
        await undefine(cluster, kind)
        await until(lambda: informer.state is KindState.NOT_SERVED)
        assert sorted(informer.cache) == ["a", "b"]
        assert changes_seen == []
        await undefined(cluster, kind)
        await define(cluster, kind)
        await cluster.create(kind, widget(kind, "a", "a"))
        await until(lambda: informer.state is KindState.SERVED)
        await until(lambda: informer.cache.uids.keys() == {"a"})
        assert informer.cache.lost - {"a"} == {"b"}, "c was deleted by somebody"
        await cluster.create(kind, widget(kind, "b", "b"))
        await until(lambda: not informer.cache.lost)
        assert sorted(informer.cache) == ["a", "b"]
    assert states[0] is KindState.SERVED
    assert states[-2:] == [KindState.NOT_SERVED, KindState.SERVED]


async def test_a_definition_that_waits_for_a_finalizer_takes_no_object_with_it(cluster: Cluster, kind: Kind) -> None:
    await define(cluster, kind)
    held = widget(kind, "held")
    held["metadata"]["finalizers"] = [f"{GROUP}/held"]
    await cluster.create(kind, held)
    await cluster.create(kind, widget(kind, "free"))
    async with informing(cluster, kind) as informer:
        await informer.synced.wait()
        await undefine(cluster, kind)
        await until(lambda: informer.state is KindState.TERMINATING)
        assert len(informer.cache) == 2
        await cluster.patch(kind, "held", {"metadata": {"finalizers": None}})
        await until(lambda: informer.state is KindState.NOT_SERVED)
        assert len(informer.cache) == 2


async def test_a_definition_replaced_while_nobody_watched_is_noticed(
    cluster: Cluster, wired: Cluster, wire: Any, kind: Kind
) -> None:
    await define(cluster, kind)
    await cluster.create(kind, widget(kind, "a"))
    async with informing(wired, kind) as informer:
        await informer.synced.wait()
        wire.freeze()
        await undefine(cluster, kind)
        await undefined(cluster, kind)
        await define(cluster, kind)
        wire.cut()
        wire.thaw()
        await until(lambda: not informer.cache.objects)
        assert informer.cache.lost == {"a"}


async def test_an_etcd_that_is_restored_takes_back_what_came_after(
    own_api_server: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, saved = own_api_server.state / "etcd", tmp_path_factory.mktemp("saved") / "etcd"

    async def restart(*, change: Callable[[], object]) -> None:
        own_api_server.stop()
        change()
        # In this thread: what `ControlPlane.local` starts dies with the thread that started it.
        own_api_server.etcd.start()
        own_api_server.apiserver.start()
        await asyncio.to_thread(own_api_server.wait_until_ready)

    def restore() -> None:
        shutil.rmtree(data)
        shutil.copytree(saved, data)

    async with await Cluster.connect(str(own_api_server.kubeconfig)) as cluster:

        async def create(name: str) -> Body:
            return await cluster.create(CONFIG_MAPS, config_map(name), "default")

        async def change(name: str) -> Body:
            return await cluster.patch(CONFIG_MAPS, name, {"data": {"key": "2"}}, "default")

        for name in ("changes", "goes", "is-buried"):
            await create(name)
        await restart(change=lambda: shutil.copytree(data, saved))
        async with informing(cluster, CONFIG_MAPS) as informer:
            cache = informer.cache
            await informer.synced.wait()
            await cluster.delete(CONFIG_MAPS, "goes", "default")
            buried = await cluster.get(CONFIG_MAPS, "is-buried", "default")
            await cluster.delete(CONFIG_MAPS, "is-buried", "default")
            cache.discard_deleted("default/is-buried", buried["metadata"]["uid"])
            await create("comes")
            await change("changes")
            await until(lambda: cache.get("default/comes") and "default/goes" not in cache.objects)
            cache.put(await create("is-written-by-us"))
            await until(lambda: cache.get("default/changes") == "2")

            await restart(change=restore)
            known = {f"default/{name}": "1" for name in ("changes", "goes", "is-buried")}
            await until(lambda: {key: one for key, one in cache.objects.items() if key.startswith("default/")} == known)
            await change("changes")
            await until(lambda: cache["default/changes"] == "2")
