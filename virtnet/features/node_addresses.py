"""The addresses that nodes have: MACs on physical networks, and those of tunnels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from virtnet.api import NodeNetwork
from virtnet.api.grammar import HOST_IP
from virtnet.engine.collection import Collection
from virtnet.topology.names import chassis_mac


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """Those of one node."""

    node: str
    nics: frozenset[tuple[str, str]]
    """ProviderNetwork and MAC."""
    routers: frozenset[tuple[str, str]]
    """The same of OVN's routers, which speak there by a MAC of the node's own."""
    tunnels: tuple[str, ...]

    @classmethod
    def of_node(cls, node: NodeNetwork) -> Self:
        status = node.status
        nics = {(name, one.mac_address.lower()) for name, one in status.provider_networks.items() if one.mac_address}
        routers = {(name, chassis_mac(status.chassis, name)) for name in status.provider_networks if status.chassis}
        tunnels = tuple(filter(HOST_IP.permits, status.encap_ips))
        return cls(node.name, frozenset(nics), frozenset(routers), tunnels)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        return cls.of_node(NodeNetwork.parse(body))


NODE_ADDRESSES: Collection[NodeAddresses] = Collection(
    "NodeAddresses", indexes={"mac": lambda one: one.nics | one.routers}
)
