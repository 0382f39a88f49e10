"""What kubelet, device plugins and users of the pod-resources API tell each other (``v1beta1``, ``v1``)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from virtnet.protobuf import field, numbers, numeric_field, strings

HEALTHY = "Healthy"
ContainerDevices = Mapping[str, Mapping[str, Iterable[str]]]
"""Ids by container and resource."""


@dataclass(frozen=True)
class RegisterRequest:
    """A device plugin that is there."""

    version: str
    endpoint: str
    """Its socket, in the directory of kubelet's own."""
    resource: str

    @classmethod
    def read(cls, message: bytes) -> "RegisterRequest":
        """Raises Malformed and UnicodeDecodeError."""
        found = dict(strings(message))
        return cls(*(found.get(number, b"").decode() for number in (1, 2, 3)))


@dataclass(frozen=True)
class Device:
    """One that a device plugin offers."""

    id: str
    health: str
    numa_node: int | None

    @classmethod
    def read(cls, message: bytes) -> "Device":
        found = dict(strings(message))
        nodes = [dict(numbers(node)).get(1, 0) for _, node in strings(found.get(3, b""))]
        return cls(found.get(1, b"").decode(), found.get(2, b"").decode(), nodes[0] if nodes else None)


def read_devices(message: bytes) -> Iterator[Device]:
    """Of a ListAndWatchResponse. Raises Malformed and UnicodeDecodeError."""
    return (Device.read(device) for number, device in strings(message) if number == 1)


def allocate_request(ids: Iterable[str]) -> bytes:
    """For one container."""
    return field(1, b"".join(field(1, id_) for id_ in ids))


def read_get_request(message: bytes) -> tuple[str, str]:
    """Namespace and name. Raises Malformed and UnicodeDecodeError."""
    found = dict(strings(message))
    return found.get(2, b"").decode(), found.get(1, b"").decode()


def pod_resources(namespace: str, name: str, containers: ContainerDevices) -> bytes:
    """A pod's devices, one by one as kubelet has them."""
    said = field(1, name) + field(2, namespace)
    for container, resources in containers.items():
        devices = (field(2, container_devices(resource, id_)) for resource, ids in resources.items() for id_ in ids)
        said += field(3, field(1, container) + b"".join(devices))
    return said


def container_devices(resource: str, id_: str, numa_node: int | None = None) -> bytes:
    topology = b"" if numa_node is None else field(3, field(1, numeric_field(1, numa_node)))
    return field(1, resource) + field(2, id_) + topology
