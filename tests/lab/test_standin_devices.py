"""The stand-in's kubelet deals devices of real device plugins, its Multus gives them to networks."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from grpc import aio

from tests.lab.kubelet_api import DevicePlugin, allocatable, devices_of, healthy, owners
from tests.lab.standin_demo import Demo
from tests.lab.standin_lab import StandinLab
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NADS, NODES, PODS, VMS
from virtnet.lab.standin import device_info
from virtnet.lab.standin.devices import NoDevices, allot
from virtnet.lab.standin.multus import RESOURCE

PLUGIN = """#!/usr/bin/python3 -IS
import json, os, sys
config, command = json.load(sys.stdin), os.environ["CNI_COMMAND"]
with open(config["log"], "a") as log:
    print(json.dumps({"command": command, **config}), file=log)
file = config.get("runtimeConfig", {}).get("CNIDeviceInfoFile")
if command == "ADD":
    if file and "tells" in config:
        open(file, "w").write(json.dumps(config["tells"]))
    print(json.dumps({"cniVersion": "1.0.0", "interfaces": [{"name": os.environ["CNI_IFNAME"], "sandbox": os.environ["CNI_NETNS"]}]}))
"""
Object = dict[str, Any]


def pod_of(name: str = "p", node: str = "node1", **limits: str) -> Object:
    """A pod; ``limits``: of its containers in order."""
    containers = [
        {"name": container, "image": "none", "resources": {"limits": json.loads(text)}}
        for container, text in (limits or {"c": "{}"}).items()
    ]
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": {}},
        "spec": {"containers": containers, **({"nodeName": node} if node else {})},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"c": '{"x/vf": "1"}'}, {"c": {"x/vf": ["a"]}}),
        ({"c": '{"x/vf": "2"}'}, {"c": {"x/vf": ["a", "c"]}}),
        (
            {"c": '{"x/vf": "1"}', "d": '{"x/vf": "1", "y/z": "1"}'},
            {"c": {"x/vf": ["a"]}, "d": {"x/vf": ["c"], "y/z": ["q"]}},
        ),
        ({"c": '{"cpu": "1", "devices.kubevirt.io/tun": "1", "x/vf": "0"}'}, {}),
        ({"c": '{"x/vf": "3"}'}, "requested number of devices unavailable for x/vf. Requested: 3, Available: 2"),
        ({"c": '{"x/none": "1"}'}, "cannot allocate unregistered device x/none"),
    ],
)
def test_what_a_pod_gets(limits: dict[str, str], found: dict[str, Any] | str) -> None:
    try:
        assert allot(pod_of(**limits), {"x/vf": ["c", "b", "a"], "y/z": ["q"]}, {("x/vf", "b"), ("y/z", "c")}) == found
    except NoDevices as problem:
        assert str(problem) == found  # noqa: PT017 - one table


class Devices:
    """A namespace, two Nodes, and a device plugin on the first."""

    def __init__(self, demo: Demo, standin: StandinLab, plugin: DevicePlugin) -> None:
        self.demo, self.standin, self.plugin = demo, standin, plugin
        self.log = standin.state / f"{demo.namespace}.log"

    @property
    def socket(self) -> Path:
        return self.standin.state / "node1/pod-resources/kubelet.sock"

    async def network(self, name: str, **config: Any) -> None:
        body = {
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": self.demo.namespace, "annotations": {RESOURCE: self.plugin.resource}},
            "spec": {"config": json.dumps({"cniVersion": "1.0.0", "name": name, **config})},
        }  # fmt: skip
        await self.demo.cluster.create(NADS, body, self.demo.namespace)

    def one(self, **config: Any) -> Object:
        return {"type": "tell-cni", "log": str(self.log), **config}

    async def pod(self, name: str, count: int, *networks: str, node: str = "node1") -> None:
        body = pod_of(name, node, c=json.dumps({self.plugin.resource: str(count)}))
        body["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = ",".join(networks)
        await self.demo.cluster.create(PODS, body, self.demo.namespace)

    async def delete(self, name: str) -> None:
        await self.demo.cluster.delete(PODS, name, self.demo.namespace)
        await self.demo.gone("Pod", name)

    def told(self, command: str) -> list[Object]:
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line for line in lines if line["command"] == command]

    async def until_offered(self, count: int) -> None:
        await until(self.demo.cluster, lambda: self._offered(count))

    async def _offered(self, count: int) -> bool:
        node = await self.demo.cluster.get(NODES, "node1")
        return bool(node.get("status", {}).get("allocatable", {}).get(self.plugin.resource) == str(count))


async def until(cluster: Cluster, holds: Callable[[], Awaitable[bool]]) -> None:
    async for _, _ in cluster.watch(NODES):
        if await holds():
            return


@pytest.fixture
async def devices(standin: StandinLab, demo: Demo) -> AsyncIterator[Devices]:
    for name in ("node1", "node2"):
        await demo.cluster.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    plugin_file = standin.state / "bin" / "tell-cni"
    plugin_file.write_text(PLUGIN)
    plugin_file.chmod(0o755)
    plugin = DevicePlugin(standin.state / "node1/device-plugins", f"lab/vf-{token_hex(4)}")
    async with plugin.serving():
        await plugin.offer(**healthy(["vf-b", "vf-a", "vf-c"]))
        made = Devices(demo, standin, plugin)
        await made.until_offered(3)
        yield made
    for pod in await demo.pods():
        await made.delete(pod["metadata"]["name"])
    for name in ("node1", "node2"):
        await demo.cluster.delete(NODES, name)


async def test_networks_get_a_pods_devices_in_order(devices: Devices) -> None:
    described = {"type": "pci", "version": "1.1.0", "pci": {"pci-address": "vf-b"}}
    dp = device_info.ROOT / "dp" / f"{devices.plugin.resource.replace('/', '-')}-vf-a-device.json"
    dp.parent.mkdir(parents=True, exist_ok=True)
    dp.write_text(json.dumps({"type": "pci", "version": "1.0.0", "pci": {"pci-address": "vf-a"}}))
    capabilities = {"capabilities": {"deviceID": True, "CNIDeviceInfoFile": True}}
    await devices.network("one", **devices.one())
    await devices.network("two", plugins=[devices.one(**capabilities, tells=described), devices.one(last=True)])
    await devices.pod("p", 2, "one", "two@vf9")
    pod = await devices.demo.phase("Pod", "Running", "p")
    dp.unlink()
    first, second, chained = devices.told("ADD")
    assert [(one["deviceID"], one["pciBusID"], one["name"]) for one in (first, second, chained)] == [
        ("vf-a", "vf-a", "one"), ("vf-b", "vf-b", "two"), ("vf-b", "vf-b", "two"),
    ]  # fmt: skip
    assert "runtimeConfig" not in first | chained
    path = second["runtimeConfig"]["CNIDeviceInfoFile"]
    assert second["runtimeConfig"]["deviceID"] == "vf-b"
    assert path.startswith("/var/run/k8s.cni.cncf.io/devinfo/cni/two-")
    assert path.endswith("_vf9")
    assert chained["prevResult"]["interfaces"][0]["name"] == "vf9"
    status = json.loads(pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"])
    assert [one.get("device-info", {}).get("pci") for one in status] == [
        None,
        {"pci-address": "vf-a"},
        {"pci-address": "vf-b"},
    ]
    assert await owners(devices.socket) == {"p": {devices.plugin.resource: ["vf-a", "vf-b"]}}
    assert await devices_of(devices.socket, devices.demo.namespace, "p") == ["vf-a", "vf-b"]
    assert devices.plugin.allocated == [["vf-a", "vf-b"]]
    await devices.delete("p")
    assert [one.get("last", False) for one in devices.told("DEL")] == [True, False, False]
    assert device_info.read(path) is None
    assert await owners(devices.socket) == {}


async def test_pods_wait_for_devices(devices: Devices) -> None:
    """Where the scheduler chooses; whom it does not ask is refused by the node."""
    await devices.plugin.offer(vf_a="Healthy", vf_b="Unhealthy")
    await devices.until_offered(1)
    assert await allocatable(devices.socket) == {"vf-a": [1]}
    await devices.pod("first", 1)
    await devices.demo.phase("Pod", "Running", "first")
    await devices.pod("waiting", 1, node="")
    await devices.demo.until(lambda _, kind, thing: kind == "Pod" and unschedulable(thing, "waiting"))
    await devices.pod("forced", 1)
    refused = await devices.demo.phase("Pod", "Failed", "forced")
    assert refused["status"]["reason"] == "UnexpectedAdmissionError"
    assert refused["status"]["message"] == (
        "Pod was rejected: Allocate failed due to requested number of devices unavailable for "
        f"{devices.plugin.resource}. Requested: 1, Available: 0, which is unexpected"
    )
    await devices.delete("first")
    await devices.demo.phase("Pod", "Running", "waiting")
    assert (await owners(devices.socket))["waiting"] == {devices.plugin.resource: ["vf-a"]}


def unschedulable(pod: Object, name: str) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return pod["metadata"]["name"] == name and any(one.get("reason") == "Unschedulable" for one in conditions)


async def test_a_plugin_may_refuse_and_go(devices: Devices) -> None:
    devices.plugin.refuses = "not this one"
    await devices.pod("p", 1)
    refused = await devices.demo.phase("Pod", "Failed", "p")
    assert "rpc error: code = UNKNOWN desc = not this one" in refused["status"]["message"]
    await devices.plugin.offer()
    await devices.until_offered(0)
    with pytest.raises(aio.AioRpcError, match="is not supported by kubelet"):
        await devices.plugin.register(version="v1")
    with pytest.raises(aio.AioRpcError, match="not found"):
        await devices_of(devices.socket, devices.demo.namespace, "nobody")


async def test_devices_outlive_the_stand_in(devices: Devices) -> None:
    await devices.pod("p", 1)
    await devices.demo.phase("Pod", "Running", "p")
    devices.standin.process.kill()
    devices.standin.process.start()
    await devices.until_offered(0)
    assert await owners(devices.socket) == {"p": {devices.plugin.resource: ["vf-a"]}}
    await devices.plugin.register()
    await devices.until_offered(3)
    await devices.pod("q", 1)
    await devices.demo.phase("Pod", "Running", "q")
    assert devices.plugin.allocated == [["vf-a"], ["vf-b"]]


async def test_a_vms_pod_asks_for_the_devices_of_its_networks(devices: Devices) -> None:
    await devices.network("fast", **devices.one())
    await devices.plugin.offer()
    await devices.until_offered(0)
    networks = [{"name": name, "multus": {"networkName": "fast"}} for name in ("a", "b")]
    interfaces = [{"name": "a", "sriov": {}}, {"name": "b", "bridge": {}}]
    spec = {"domain": {"devices": {"interfaces": interfaces}, "memory": {"guest": "128Mi"}}, "networks": networks}
    body = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "vm1"},
        "spec": {"runStrategy": "Always", "template": {"spec": spec}},
    }  # fmt: skip
    await devices.demo.cluster.create(VMS, body, devices.demo.namespace)
    pod = await devices.demo.until(
        lambda _, kind, thing: kind == "Pod" and unschedulable(thing, thing["metadata"]["name"])
    )
    resources = pod["spec"]["containers"][0]["resources"]
    assert resources["limits"][devices.plugin.resource] == resources["requests"][devices.plugin.resource] == "2"
    await devices.demo.cluster.delete(VMS, "vm1", devices.demo.namespace)
    await devices.demo.gone("VirtualMachine", "vm1")
