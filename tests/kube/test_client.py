"""What every verb does against a real API server, and what it raises."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from virtnet.api import AddressLease, NodeNetwork
from virtnet.kube import client, transport
from virtnet.kube.client import (
    AlreadyExists,
    Cluster,
    Conflict,
    Kind,
    NotFound,
    Rejected,
    Unavailable,
)
from virtnet.kube.kinds import EVENTS, LEASES, NADS, NAMESPACES, NODES, PODS, VMIMS, VMIS, VMS, of
from virtnet.lab.control_plane import ControlPlane, free_port

CONFIG_MAPS = Kind("", "v1", "configmaps")


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def node_network(name: str) -> dict[str, Any]:
    return {"apiVersion": "virtnet.dev/v1alpha1", "kind": "NodeNetwork", "metadata": {"name": name}}


async def test_an_object_is_created_read_and_deleted(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create(CONFIG_MAPS, config_map("a", key="1"), namespace)
    assert await cluster.get(CONFIG_MAPS, "a", namespace) == made
    await cluster.delete(CONFIG_MAPS, "a", namespace)
    with pytest.raises(NotFound, match='configmaps "a" not found'):
        await cluster.get(CONFIG_MAPS, "a", namespace)
    with pytest.raises(NotFound):
        await cluster.delete(CONFIG_MAPS, "a", namespace)


async def test_a_name_is_given_once(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, config_map("a"), namespace)
    with pytest.raises(AlreadyExists, match='configmaps "a" already exists'):
        await cluster.create(CONFIG_MAPS, config_map("a"), namespace)


async def test_a_dry_run_leaves_nothing(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, config_map("a"), namespace, dry_run=True)
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, "a", namespace)


async def test_a_merge_patch_sets_and_removes_fields(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, config_map("a", stays="1", goes="2"), namespace)
    patched = await cluster.patch(CONFIG_MAPS, "a", {"data": {"goes": None, "comes": "3"}}, namespace)
    assert patched["data"] == {"stays": "1", "comes": "3"}


async def test_a_patch_with_a_resource_version_is_conditional(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create(CONFIG_MAPS, config_map("a"), namespace)
    version = made["metadata"]["resourceVersion"]
    condition = {"metadata": {"resourceVersion": version}}
    await cluster.patch(CONFIG_MAPS, "a", {**condition, "data": {"key": "1"}}, namespace)
    with pytest.raises(Conflict):
        await cluster.patch(CONFIG_MAPS, "a", {**condition, "data": {"key": "2"}}, namespace)


async def test_a_replacement_needs_the_latest_resource_version(cluster: Cluster, namespace: str) -> None:
    made = await cluster.create(CONFIG_MAPS, config_map("a"), namespace)
    await cluster.replace(CONFIG_MAPS, "a", {**made, "data": {"key": "1"}}, namespace)
    with pytest.raises(Conflict, match="the object has been modified"):
        await cluster.replace(CONFIG_MAPS, "a", {**made, "data": {"key": "2"}}, namespace)


@pytest.mark.parametrize("which", ["uid", "resource_version"])
async def test_a_deletion_is_of_the_object_that_was_meant(cluster: Cluster, namespace: str, which: str) -> None:
    first = await cluster.create(CONFIG_MAPS, config_map("a"), namespace)
    await cluster.delete(CONFIG_MAPS, "a", namespace)
    second = await cluster.create(CONFIG_MAPS, config_map("a"), namespace)
    key = {"uid": "uid", "resource_version": "resourceVersion"}[which]
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, "a", namespace, **{which: first["metadata"][key]})
    await cluster.delete(CONFIG_MAPS, "a", namespace, **{which: second["metadata"][key]})


async def test_status_is_written_through_its_subresource(cluster: Cluster, namespace: str) -> None:
    kind, name = of(NodeNetwork), namespace  # cluster-scoped: the namespace's name serves as a unique one
    await cluster.create(kind, node_network(name))
    unchanged = await cluster.patch(kind, name, {"status": {"chassis": "ignored"}})
    assert "chassis" not in unchanged.get("status", {})
    patched = await cluster.patch(kind, name, {"status": {"chassis": "c1"}}, subresource="status")
    patched["status"]["chassis"] = "c2"
    replaced = await cluster.replace(kind, name, patched, subresource="status")
    assert replaced["status"]["chassis"] == "c2"


async def test_server_side_apply_creates_then_owns_its_fields(cluster: Cluster, namespace: str) -> None:
    await cluster.apply(CONFIG_MAPS, "a", config_map("a", key="1"), namespace, manager="one")
    with pytest.raises(Conflict, match="conflict with"):
        await cluster.apply(CONFIG_MAPS, "a", config_map("a", key="2"), namespace, manager="two")
    applied = await cluster.apply(CONFIG_MAPS, "a", config_map("a", key="2"), namespace, manager="two", force=True)
    assert applied["data"] == {"key": "2"}


async def test_what_the_schema_refuses_is_rejected_with_the_servers_words(cluster: Cluster, namespace: str) -> None:
    lease = {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "AddressLease",
        "metadata": {"name": namespace},
        "spec": {"address": "10.0.0.5"},
    }
    with pytest.raises(Rejected, match=r"spec\.subnet: Required value") as refused:
        await cluster.create(of(AddressLease), lease)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


async def test_a_list_has_the_objects_of_one_moment_page_by_page(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"m{number}" for number in range(7)]
    await asyncio.gather(*(cluster.create(CONFIG_MAPS, config_map(name), namespace) for name in names))
    monkeypatch.setattr(client, "PAGE", 3)
    items, version = await cluster.list(CONFIG_MAPS, namespace)
    assert [item["metadata"]["name"] for item in items] == names
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "ConfigMap")}
    assert int(version) >= max(int(item["metadata"]["resourceVersion"]) for item in items)


async def test_a_list_selects_by_labels_and_fields(cluster: Cluster, namespace: str) -> None:
    for name, colour in (("a", "blue"), ("b", "blue"), ("c", "red")):
        body = config_map(name)
        body["metadata"]["labels"] = {"example.com/colour": colour}
        await cluster.create(CONFIG_MAPS, body, namespace)
    items, _ = await cluster.list(
        CONFIG_MAPS, namespace, labels="example.com/colour in (blue)", fields="metadata.name!=a"
    )
    assert [item["metadata"]["name"] for item in items] == ["b"]


async def test_no_namespace_lists_all_of_them(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, config_map("a"), namespace)
    items, _ = await cluster.list(CONFIG_MAPS, fields="metadata.name=a")
    assert namespace in {item["metadata"]["namespace"] for item in items}


async def test_an_event_is_kept_with_its_object(cluster: Cluster, namespace: str) -> None:
    about = await cluster.create(CONFIG_MAPS, config_map("a"), namespace)
    await cluster.event(about, reason="Pinned", message="x" * 2000, warning=True, component="controller")
    (event,), _ = await cluster.list(EVENTS, namespace)
    assert event["regarding"]["uid"] == about["metadata"]["uid"]
    assert (event["reason"], event["type"], event["reportingController"]) == (
        "Pinned",
        "Warning",
        "virtnet.dev/controller",
    )
    assert len(event["note"]) == 1024


async def test_an_event_on_a_cluster_scoped_object_lies_in_default(cluster: Cluster, namespace: str) -> None:
    about = await cluster.create(of(NodeNetwork), node_network(namespace))
    await cluster.event(about, reason="Ready", message="it is", component="node")
    events, _ = await cluster.list(EVENTS, "default", fields="reason=Ready")
    assert about["metadata"]["uid"] in {event["regarding"].get("uid") for event in events}


async def test_an_event_is_recorded_whatever_the_length_of_the_name(cluster: Cluster, namespace: str) -> None:
    about = await cluster.create(CONFIG_MAPS, config_map("a" * 199 + "." + "b" * 53), namespace)
    await cluster.event(about, reason="Pinned", message="it is", component="controller")
    assert len((await cluster.list(EVENTS, namespace))[0]) == 1


async def test_an_event_that_cannot_be_recorded_harms_nobody(cluster: Cluster) -> None:
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "no-such-namespace"}}
    with capture_logs() as logs:
        await cluster.event(about, reason="Any", message="any", component="test")
    ((text, problem),) = [(entry["event"], entry["problem"]) for entry in logs]
    assert text == "event not recorded"
    assert 'namespaces "no-such-namespace" not found' in problem


async def test_a_manifest_names_its_collection(cluster: Cluster) -> None:
    assert await cluster.kind_of("v1", "Pod") == PODS
    assert await cluster.kind_of("kubevirt.io/v1", "VirtualMachine") == VMS
    assert await cluster.kind_of("virtnet.dev/v1alpha1", "NodeNetwork") == of(NodeNetwork)
    with pytest.raises(NotFound, match="no kind Nonsense in v1"):
        await cluster.kind_of("v1", "Nonsense")


@pytest.mark.parametrize("kind", [PODS, NODES, NAMESPACES, EVENTS, LEASES, VMS, VMIS, VMIMS, NADS], ids=str)
async def test_every_named_kind_is_served(cluster: Cluster, kind: Kind) -> None:
    items, version = await cluster.list(kind)
    assert int(version) > 0
    assert {item["apiVersion"] for item in items} <= {f"{kind.group}/{kind.version}".removeprefix("/")}


async def test_scope_and_namespace_must_agree(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="has cluster scope"):
        await cluster.get(NODES, "node1", "demo")
    with pytest.raises(ValueError, match="needs a namespace"):
        await cluster.get(PODS, "db")


async def test_nobody_there_is_unavailable(api_server: ControlPlane, tmp_path: Path) -> None:
    kubeconfig = api_server.kubeconfig.read_text().replace(str(api_server.port), str(free_port()))
    (tmp_path / "config").write_text(kubeconfig)
    async with await Cluster.connect(str(tmp_path / "config")) as nobody:
        with pytest.raises(Unavailable, match=r"https://127\.0\.0\.1:\d+: GET /api/v1/nodes: "):
            await nobody.list(NODES)


async def test_no_answer_in_time_is_unavailable(wired: Cluster, wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "ANSWER_SECONDS", 0.3)
    wire.freeze()
    with pytest.raises(Unavailable, match="no answer in time"):
        await wired.list(NODES)


async def test_no_configuration_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="does not exist"):
        await Cluster.connect()
    (tmp_path / "none").write_text("clusters: {")
    with pytest.raises(Unavailable, match="no way to reach an API server"):
        await Cluster.connect()
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="in-cluster account"):
        await Cluster.connect()


async def test_the_environment_names_the_cluster(api_server: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig))
    async with await Cluster.connect() as cluster:
        assert cluster.server == api_server.server
        await cluster.list(NAMESPACES)
