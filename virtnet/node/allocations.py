"""Which devices the kubelet has allotted to a pod: its pod-resources API, v1 (k8s.io/kubelet/pkg/apis/podresources).

Whoever writes a NetworkAttachmentDefinition may have named any device of the node. The kubelet alone knows whose it is.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc import aio

from virtnet.node.journal import Entry
from virtnet.node.request import CniError
from virtnet.protobuf import Malformed, field, strings

POD_RESOURCES = "pod-resources/kubelet.sock"
"""Its socket, in the kubelet's directory."""
SECONDS = 5.0
"""That an answer may take."""
LARGEST = 64 << 20
"""Bytes of an answer, which is about all pods of the node where the kubelet cannot tell of one."""

_OPTIONS = [("grpc.max_receive_message_length", LARGEST)]
_LIST, _GET = "/v1.PodResourcesLister/List", "/v1.PodResourcesLister/Get"
_UNANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


class KubeletSilent(Exception):  # noqa: N818 - says what is the matter
    """The kubelet does not tell which devices pods have."""


@dataclass(frozen=True)
class Allocations:
    """What the kubelet of this node says."""

    socket: Path

    async def check(self, entry: Entry) -> None:
        """Raises CniError where the NIC's device is not its pod's, or nobody can say."""
        try:
            devices = await self._devices(entry.pod_namespace, entry.pod_name)
        except (aio.AioRpcError, Malformed) as error:
            raise CniError(
                CniError.TRY_AGAIN,
                f"the kubelet does not tell which devices pod {entry.pod} has: {_said(error)}",
                f"it is tried again; does the kubelet serve {self.socket}, and is its directory mounted?",
            ) from error
        if entry.device not in devices:
            raise CniError(
                CniError.NETWORK,
                f"device {entry.device} is not allotted to pod {entry.pod}; the kubelet has given it "
                f"{', '.join(sorted(devices)) or 'none'}",
                "take deviceID out of the NetworkAttachmentDefinition: Multus writes it, of the resource in its "
                "annotation k8s.v1.cni.cncf.io/resourceName",
            )

    async def check_served(self) -> None:
        """Raises CniError where no device could be proven to be a pod's."""
        try:
            async with asyncio.timeout(SECONDS):
                _, writer = await asyncio.open_unix_connection(self.socket)
        except OSError as error:
            raise CniError(
                CniError.UNAVAILABLE,
                f"the kubelet does not answer at {self.socket}, so nobody can tell which devices pods have: "
                f"{error.strerror or 'no answer'}",
                "does the kubelet serve it, and is its directory mounted?",
            ) from error
        writer.close()

    async def pods(self) -> dict[str, str]:
        """The pod, namespace/name, of each device that is allotted to one. Raises KubeletSilent."""
        try:
            async with aio.insecure_channel(f"unix:{self.socket}", options=_OPTIONS) as kubelet:
                return pods_of(await _call(kubelet, _LIST, b""))
        except (aio.AioRpcError, Malformed) as error:
            raise KubeletSilent(f"the kubelet at {self.socket} does not tell: {_said(error)}") from error

    async def _devices(self, namespace: str, name: str) -> frozenset[str]:
        """Raises AioRpcError and Malformed."""
        async with aio.insecure_channel(f"unix:{self.socket}", options=_OPTIONS) as kubelet:
            try:
                asked = field(1, name) + field(2, namespace)
                answer = await _call(kubelet, _GET, asked)
            except aio.AioRpcError as error:
                if error.code() in _UNANSWERED:
                    raise
                # It does not know such a method, has it switched off, or does not know the pod: one word for all three.
                answer = await _call(kubelet, _LIST, b"")
        return devices_of(answer, namespace, name)


async def _call(kubelet: aio.Channel, method: str, asked: bytes) -> bytes:
    call: aio.UnaryUnaryMultiCallable[bytes, bytes] = kubelet.unary_unary(method)
    return await call(asked, timeout=SECONDS)


def devices_of(answer: bytes, namespace: str, name: str) -> frozenset[str]:
    """The ids of a pod's devices in an answer to List, or to Get, which has one pod at most. Raises Malformed."""
    return frozenset(device for device, *pod in _allotted(answer) if pod == [namespace, name])


def pods_of(answer: bytes) -> dict[str, str]:
    """The pod, namespace/name, of each device in an answer to List. Raises Malformed."""
    return {device: f"{namespace}/{name}" for device, namespace, name in _allotted(answer)}


def _allotted(answer: bytes) -> Iterator[tuple[str, str, str]]:
    """Each device, with namespace and name of its pod."""
    for pod in _each(answer, 1):
        for container in _each(pod, 3):
            for resource in _each(container, 2):
                for device in _each(resource, 2):
                    yield device.decode("utf-8", "replace"), _text(pod, 2), _text(pod, 1)


def _said(error: aio.AioRpcError | Malformed) -> str:
    return (error.details() or str(error.code())) if isinstance(error, aio.AioRpcError) else str(error)


def _each(message: bytes, number: int) -> Iterator[bytes]:
    return (value for found, value in strings(message) if found == number)


def _text(message: bytes, number: int) -> str:
    return dict(strings(message)).get(number, b"").decode("utf-8", "replace")
