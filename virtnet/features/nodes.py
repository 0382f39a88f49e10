"""What is kept of Nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.api.meta import annotations_of, labels_of, object_key
from virtnet.api.names import TUNNEL_ADDRESS
from virtnet.api.workloads import node_addresses


@dataclass(frozen=True)
class NodeLabels:
    """A Node: its labels, by which physical networks select it, and its addresses."""

    name: str
    labels: Mapping[str, str]
    addresses: tuple[str, ...] = ()
    """Its own, and that of its tunnels where an annotation names one."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "NodeLabels":
        tunnel = annotations_of(body).get(TUNNEL_ADDRESS)
        return cls(object_key(body), labels_of(body), (*node_addresses(body), *([tunnel] if tunnel else ())))
