"""A node's device manager, as kubelet has one: device plugins register with it and offer devices, pods get theirs, and
who may ask is told which pod has which (the pod-resources API).

Which devices pods have is in the records of their sandboxes, so that it outlives this process; what is offered is known
again as soon as the plugins, who watch the socket, have registered anew.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import structlog
from grpc import aio

from virtnet.lab.standin.device_messages import (
    HEALTHY,
    Device,
    RegisterRequest,
    allocate_request,
    container_devices,
    pod_resources,
    read_devices,
    read_get_request,
)
from virtnet.lab.standin.devices import Allotment, NoDevices, allot
from virtnet.lab.standin.kubevirt import Object
from virtnet.protobuf import Malformed
from virtnet.protobuf import field as protobuf_field

log = structlog.get_logger()

VERSION = "v1beta1"
PLUGIN = "/v1beta1.DevicePlugin"
SOCKET = "kubelet.sock"
ALLOCATE_SECONDS = 10

Context = aio.ServicerContext[bytes, bytes]
Method = Callable[[bytes, Context], Awaitable[bytes]]


@dataclass(frozen=True)
class PodDevices:
    """A pod that has devices."""

    namespace: str
    name: str
    devices: Allotment


@dataclass
class _Plugin:
    """One that has registered."""

    channel: aio.Channel
    following: asyncio.Task[None]
    devices: dict[str, Device] = field(default_factory=dict)


class DeviceManager:
    """One node's. ``pods``: those of the node that have devices."""

    def __init__(self, directory: Path, pods: Callable[[], Iterable[PodDevices]]) -> None:
        self.directory = directory
        self._pods = pods
        self._changed: Callable[[], None] = lambda: None
        self._plugins: dict[str, _Plugin] = {}
        self._servers: list[aio.Server] = []

    @property
    def plugin_directory(self) -> Path:
        """Where device plugins have their sockets, beside kubelet's."""
        return self.directory / "device-plugins"

    @property
    def pod_resources(self) -> Path:
        """The socket at which kubelet says which pod has which devices."""
        return self.directory / "pod-resources" / SOCKET

    def on_change(self, call: Callable[[], None]) -> None:
        """``call`` when devices come, go or change their health."""
        self._changed = call

    async def start(self) -> None:
        await self._serve(self.plugin_directory / SOCKET, "v1beta1.Registration", {"Register": self._register})
        services = {"List": self._list, "Get": self._get, "GetAllocatableResources": self._allocatable}
        await self._serve(self.pod_resources, "v1.PodResourcesLister", services)

    async def stop(self) -> None:
        for plugin in self._plugins.values():
            plugin.following.cancel()
            await plugin.channel.close()
        for server in self._servers:
            await server.stop(grace=0)

    def offered(self) -> dict[str, int]:
        """How many devices of each resource a pod may have, whoever has them now: what a Node says as allocatable."""
        return {name: len(self._healthy(name)) for name in self._plugins}

    async def allot(self, pod: Object) -> Allotment:
        """A pod's devices, which its plugins have made ready. Raises NoDevices."""
        given = (each for other in self._pods() for each in other.devices.values())
        taken = {(resource, id_) for resources in given for resource, ids in resources.items() for id_ in ids}
        found = allot(pod, {name: self._healthy(name) for name in self._plugins}, taken)
        for resources in found.values():
            for resource, ids in resources.items():
                await self._ready(resource, ids)
        return found

    def _healthy(self, resource: str) -> list[str]:
        devices = self._plugins[resource].devices.values()
        return sorted(device.id for device in devices if device.health == HEALTHY)

    async def _ready(self, resource: str, ids: Iterable[str]) -> None:
        channel = self._plugins[resource].channel
        allocate: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{PLUGIN}/Allocate")
        try:
            await allocate(allocate_request(ids), timeout=ALLOCATE_SECONDS)
        except aio.AioRpcError as error:
            raise NoDevices(f"rpc error: code = {error.code().name} desc = {error.details()}") from error

    async def _register(self, request: bytes, context: Context) -> bytes:
        try:
            asked = RegisterRequest.read(request)
        except (Malformed, UnicodeDecodeError) as error:
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if asked.version != VERSION:
            problem = f"requested API version {asked.version!r} is not supported by kubelet"
            await context.abort(grpc.StatusCode.UNKNOWN, f"{problem}. Supported versions are [{VERSION!r}]")
        if "/" in asked.endpoint or "/" not in asked.resource:
            await context.abort(grpc.StatusCode.UNKNOWN, f"the ResourceName {asked.resource!r} is invalid")
        before = self._plugins.get(asked.resource)
        if before is not None:
            before.following.cancel()
            await before.channel.close()
        channel = aio.insecure_channel(f"unix:{self.plugin_directory / asked.endpoint}")
        following = asyncio.create_task(self._follow(asked.resource, channel))
        self._plugins[asked.resource] = _Plugin(channel, following)
        return b""

    async def _follow(self, resource: str, channel: aio.Channel) -> None:
        """What a plugin offers, until it ends: then nothing of it is healthy."""
        listing: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"{PLUGIN}/ListAndWatch")
        try:
            async for message in listing(b""):
                self._offer(resource, {device.id: device for device in read_devices(message)})
        except (aio.AioRpcError, Malformed, UnicodeDecodeError) as error:
            log.warning("a device plugin is gone", resource=resource, problem=str(error))
        self._offer(resource, {})

    def _offer(self, resource: str, devices: dict[str, Device]) -> None:
        log.info("devices", resource=resource, offered=sorted(devices))
        self._plugins[resource].devices = devices
        self._changed()

    async def _list(self, request: bytes, context: Context) -> bytes:
        return b"".join(protobuf_field(1, pod_resources(pod.namespace, pod.name, pod.devices)) for pod in self._pods())

    async def _get(self, request: bytes, context: Context) -> bytes:
        try:
            namespace, name = read_get_request(request)
        except (Malformed, UnicodeDecodeError) as error:
            return await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        for pod in self._pods():
            if (pod.namespace, pod.name) == (namespace, name):
                return protobuf_field(1, pod_resources(namespace, name, pod.devices))
        return await context.abort(grpc.StatusCode.NOT_FOUND, f"pod {name} in namespace {namespace} not found")

    async def _allocatable(self, request: bytes, context: Context) -> bytes:
        return b"".join(
            protobuf_field(1, container_devices(resource, device.id, device.numa_node))
            for resource, plugin in self._plugins.items()
            for device in plugin.devices.values()
            if device.health == HEALTHY
        )

    async def _serve(self, socket: Path, service: str, methods: Mapping[str, Method]) -> None:
        await asyncio.to_thread(_make_room, socket)
        server = aio.server()
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        self._servers.append(server)


def _make_room(socket: Path) -> None:
    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
