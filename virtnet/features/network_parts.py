"""What network policies read of workloads beside their labels: a collection of its own, for it changes seldom."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from virtnet.api.multus import POD_INTERFACE
from virtnet.api.named_ports import NamedPort, PortNumbers, instance_networks, pod_ports
from virtnet.api.remembered import remembered
from virtnet.api.workloads import template_spec
from virtnet.engine.collection import Collection, Projection
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey

NO_PORTS: Mapping[str, PortNumbers] = {}


class NetworkPart(NamedTuple):
    """Of a VM, its instance, or an ordinary pod."""

    primary: str = ""
    """The network that is the pod network, or in its place."""
    ports: Mapping[str, PortNumbers] = NO_PORTS
    """Network -> the ports on it that have names; of a pod "", for it is all of them."""

    def number(self, network: str, port: NamedPort) -> int | None:
        """What a named port is on one network."""
        ports = self.ports.get(network) or self.ports.get("") or {}
        return ports.get(port)

    @classmethod
    def of_pod(cls, body: Mapping[str, Any]) -> "NetworkPart":
        ports = pod_ports(body)
        return cls(POD_INTERFACE, {"": ports}) if ports else OF_POD

    @classmethod
    def of_instance(cls, body: Mapping[str, Any]) -> "NetworkPart":
        return cls._of_spec(body.get("spec"))

    @classmethod
    def of_vm(cls, body: Mapping[str, Any]) -> "NetworkPart":
        return cls._of_spec(template_spec(body))

    @classmethod
    def _of_spec(cls, spec: object) -> "NetworkPart":
        found = cls(*instance_networks(spec)) if isinstance(spec, Mapping) else NOTHING
        return found if found.ports else _bare(found.primary)


NOTHING, OF_POD = NetworkPart(), NetworkPart(POD_INTERFACE)


@remembered(1024)
def _bare(primary: str) -> NetworkPart:
    """One object for all who have the same."""
    return NetworkPart(primary)


NETWORK_PARTS: Collection[NetworkPart] = Collection(
    "NetworkPart", indexes={"port": lambda part: {port for ports in part.ports.values() for port in ports}}
)


def _part(key: ObjectKey, workload: Any) -> dict[ObjectKey, NetworkPart]:
    return {key: workload.network_part} if workload.network_part != NOTHING else {}


def _instance_part(key: ObjectKey, instance: Any) -> dict[ObjectKey, NetworkPart]:
    return {key: instance.network_part}


NETWORK_PART = Projection(NETWORK_PARTS, _part)
INSTANCE_NETWORK_PART = Projection(NETWORK_PARTS, _instance_part)


def numbers_of(port: NamedPort, reader: Reader) -> frozenset[int]:
    """The numbers that a port of this name has anywhere; to be derived."""
    parts = reader.by(NETWORK_PARTS, "port", port)
    return frozenset(ports[port] for part in parts for ports in part.ports.values() if port in ports)
