"""The pod-resources and device plugin APIs as protobuf's own runtime has them, from the fields of kubelet's .proto files;
and a device plugin by them.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from virtnet.lab.standin.protobuf_messages import INT64, MESSAGE, STRING, define

_POD_RESOURCES = define(
    "v1",
    {
        "NUMANode": [("ID", 1, INT64, False, "")],
        "TopologyInfo": [("nodes", 1, MESSAGE, True, "NUMANode")],
        "ContainerDevices": [
            ("resource_name", 1, STRING, False, ""), ("device_ids", 2, STRING, True, ""), ("topology", 3, MESSAGE, False, "TopologyInfo"),
        ],
        "ContainerResources": [("name", 1, STRING, False, ""), ("devices", 2, MESSAGE, True, "ContainerDevices")],
        "PodResources": [
            ("name", 1, STRING, False, ""), ("namespace", 2, STRING, False, ""), ("containers", 3, MESSAGE, True, "ContainerResources"),
        ],
        "ListPodResourcesResponse": [("pod_resources", 1, MESSAGE, True, "PodResources")],
        "GetPodResourcesRequest": [("pod_name", 1, STRING, False, ""), ("pod_namespace", 2, STRING, False, "")],
        "GetPodResourcesResponse": [("pod_resources", 1, MESSAGE, False, "PodResources")],
        "AllocatableResourcesResponse": [("devices", 1, MESSAGE, True, "ContainerDevices")],
    },
)  # fmt: skip
_DEVICE_PLUGIN = define(
    "v1beta1",
    {
        "RegisterRequest": [("version", 1, STRING, False, ""), ("endpoint", 2, STRING, False, ""), ("resource_name", 3, STRING, False, "")],
        "NUMANode": [("ID", 1, INT64, False, "")],
        "TopologyInfo": [("nodes", 1, MESSAGE, True, "NUMANode")],
        "Device": [("ID", 1, STRING, False, ""), ("health", 2, STRING, False, ""), ("topology", 3, MESSAGE, False, "TopologyInfo")],
        "ListAndWatchResponse": [("devices", 1, MESSAGE, True, "Device")],
        "ContainerAllocateRequest": [("devicesIDs", 1, STRING, True, "")],
        "AllocateRequest": [("container_requests", 1, MESSAGE, True, "ContainerAllocateRequest")],
    },
)  # fmt: skip

Owners = dict[str, dict[str, list[str]]]
"""Ids by pod and resource."""


async def call(socket: Path, method: str, request: bytes = b"") -> bytes:
    async with aio.insecure_channel(f"unix:{socket}") as channel:
        unary: Any = channel.unary_unary(method)
        return bytes(await unary(request, wait_for_ready=True, timeout=60))


async def owners(socket: Path) -> Owners:
    """Which pod has which devices."""
    answer = await call(socket, "/v1.PodResourcesLister/List")
    found: Owners = {}
    for pod in _POD_RESOURCES["ListPodResourcesResponse"].FromString(answer).pod_resources:
        for container in pod.containers:
            for devices in container.devices:
                found.setdefault(pod.name, {}).setdefault(devices.resource_name, []).extend(devices.device_ids)
    return found


async def devices_of(socket: Path, namespace: str, name: str) -> list[str]:
    """The devices of one pod."""
    asked = _POD_RESOURCES["GetPodResourcesRequest"](pod_name=name, pod_namespace=namespace).SerializeToString()
    answer = await call(socket, "/v1.PodResourcesLister/Get", asked)
    pod = _POD_RESOURCES["GetPodResourcesResponse"].FromString(answer).pod_resources
    return [id_ for container in pod.containers for devices in container.devices for id_ in devices.device_ids]


async def allocatable(socket: Path) -> dict[str, list[int]]:
    """All healthy devices, with their NUMA nodes."""
    answer = await call(socket, "/v1.PodResourcesLister/GetAllocatableResources")
    found = _POD_RESOURCES["AllocatableResourcesResponse"].FromString(answer).devices
    return {one.device_ids[0]: [node.ID for node in one.topology.nodes] for one in found}


class DevicePlugin:
    """Offers devices of one resource."""

    def __init__(self, directory: Path, resource: str) -> None:
        self._directory = directory
        self.resource = resource
        self.allocated: list[list[str]] = []
        self.refuses = ""
        self._said: dict[str, str] = {}
        self._news = asyncio.Condition()

    async def offer(self, **health: str) -> None:
        """Devices, each with its health; others are gone."""
        async with self._news:
            self._said = {name.replace("_", "-"): one for name, one in health.items()}
            self._news.notify_all()

    async def register(self, **changes: str) -> None:
        said = {"version": "v1beta1", "endpoint": self._endpoint, "resource_name": self.resource, **changes}
        request = _DEVICE_PLUGIN["RegisterRequest"](**said).SerializeToString()
        await call(self._directory / "kubelet.sock", "/v1beta1.Registration/Register", request)

    @property
    def _endpoint(self) -> str:
        return f"{self.resource.replace('/', '-')}.sock"

    async def _watched(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        while True:
            known = self._said
            devices = [
                {"ID": id_, "health": health, "topology": {"nodes": [{"ID": 1}]}} for id_, health in known.items()
            ]
            yield _DEVICE_PLUGIN["ListAndWatchResponse"](devices=devices).SerializeToString()
            async with self._news:
                await self._news.wait_for(partial(self._differs, known))

    def _differs(self, known: dict[str, str]) -> bool:
        return self._said != known

    async def _allocate(self, request: bytes, context: aio.ServicerContext[bytes, bytes]) -> bytes:
        if self.refuses:
            await context.abort(grpc.StatusCode.UNKNOWN, self.refuses)
        asked = _DEVICE_PLUGIN["AllocateRequest"].FromString(request).container_requests
        self.allocated += [list(one.devicesIDs) for one in asked]
        return b""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Registered, until it ends."""
        server = aio.server()
        handlers: dict[str, Any] = {
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._watched),
            "Allocate": grpc.unary_unary_rpc_method_handler(self._allocate),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", handlers)])
        self._directory.mkdir(parents=True, exist_ok=True)
        server.add_insecure_port(f"unix:{self._directory / self._endpoint}")
        await server.start()
        try:
            await self.register()
            yield
        finally:
            await server.stop(grace=0)


def healthy(ids: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys((id_.replace("-", "_") for id_ in ids), "Healthy")
