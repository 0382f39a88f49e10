"""The kubelet's pod-resources API, with its messages as protobuf's own runtime writes them."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc import aio

Allotted = Mapping[str, Sequence[str]]
"""namespace/name of a pod -> its devices."""

_KIND = descriptor_pb2.FieldDescriptorProto
_FIELDS: dict[str, list[tuple[str, int, str]]] = {
    "ContainerDevices": [("resource_name", 1, ""), ("device_ids", 2, "*")],
    "ContainerResources": [("name", 1, ""), ("devices", 2, "ContainerDevices")],
    "PodResources": [("name", 1, ""), ("namespace", 2, ""), ("containers", 3, "ContainerResources")],
    "ListPodResourcesResponse": [("pod_resources", 1, "PodResources")],
    "GetPodResourcesRequest": [("pod_name", 1, ""), ("pod_namespace", 2, "")],
    "GetPodResourcesResponse": [("pod_resources", 1, "PodResources")],
}


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="podresources.proto", package="v1", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, of in fields:
            many = of and not name.startswith("Get")
            message.field.add(
                name=field,
                number=number,
                type=_KIND.TYPE_MESSAGE if of.isalnum() else _KIND.TYPE_STRING,
                type_name=f".v1.{of}" if of.isalnum() else None,
                label=_KIND.LABEL_REPEATED if many else _KIND.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"v1.{name}")) for name in _FIELDS}


MESSAGES = _messages()


def pod_resources(pod: str, devices: Sequence[str]) -> Any:
    """Of a pod with two containers, the first of which has the devices."""
    namespace, name = pod.split("/")
    resources = MESSAGES["ContainerDevices"](resource_name="example.com/vf", device_ids=devices)
    containers = [
        MESSAGES["ContainerResources"](name="compute", devices=[resources]),
        MESSAGES["ContainerResources"](name="sidecar"),
    ]
    return MESSAGES["PodResources"](name=name, namespace=namespace, containers=containers)


def listed(allotted: Allotted) -> bytes:
    every = [pod_resources(pod, devices) for pod, devices in allotted.items()]
    return bytes(MESSAGES["ListPodResourcesResponse"](pod_resources=every).SerializeToString())


class Kubelet:
    """Serves what a file says: its content may change at any time."""

    def __init__(self, allotted: Path, *, get: str = "on") -> None:
        """``get``: on; off, as its feature gate has it; or absent, as in an old one."""
        self._path = allotted
        self._get = get

    async def list(self, request: bytes, context: Any) -> bytes:
        return listed(self._allotted())

    async def get(self, request: bytes, context: Any) -> bytes:
        if self._get == "off":
            await context.abort(grpc.StatusCode.UNKNOWN, "PodResources API Get method disabled")
        asked = MESSAGES["GetPodResourcesRequest"].FromString(request)
        pod = f"{asked.pod_namespace}/{asked.pod_name}"
        devices = self._allotted().get(pod)
        if devices is None:
            await context.abort(grpc.StatusCode.UNKNOWN, f"pod {asked.pod_name} in namespace not found")
        answer = MESSAGES["GetPodResourcesResponse"](pod_resources=pod_resources(pod, devices or ()))
        return bytes(answer.SerializeToString())

    def _allotted(self) -> Allotted:
        found: Allotted = json.loads(self._path.read_text())
        return found

    @asynccontextmanager
    async def serving(self, socket: Path) -> AsyncIterator[None]:
        methods = {"List": self.list} | ({"Get": self.get} if self._get != "absent" else {})
        handlers: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        server = aio.server()
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers)])
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(grace=None)


async def serve(socket: Path, allotted: Path) -> None:
    """Until it is cancelled."""
    async with Kubelet(allotted).serving(socket):
        await asyncio.Event().wait()
