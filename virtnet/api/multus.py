"""What virtnet reads of Multus: NetworkAttachmentDefinitions and a pod's selection of them (multi-net-spec)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.api.names import CNI_TYPE
from virtnet.api.references import SubnetRef

NETWORKS = "k8s.v1.cni.cncf.io/networks"
_SHORT = re.compile(r"(?:(?P<namespace>[^/@\s]+)/)?(?P<name>[^/@\s]+)(?:@(?P<interface>[^/@\s]+))?")


class InvalidNetwork(ValueError):  # noqa: N818 - says what it is
    """A NetworkAttachmentDefinition or selection that virtnet cannot follow; the text says what to change."""


@dataclass(frozen=True)
class Selection:
    """One network that a pod asks for."""

    nad: str
    """``namespace/name``."""
    interface: str
    mac: str = ""
    addresses: tuple[str, ...] = ()
    default_route: bool = False
    """Whether the pod's default route goes through this network."""


def qualified(name: str, namespace: str) -> str:
    """``namespace/name`` of a NAD named from within a namespace."""
    return name if "/" in name else f"{namespace}/{name}"


def subnet_of_nad(body: Mapping[str, Any]) -> SubnetRef | None:
    """The Subnet that a NAD of virtnet names; None for a NAD of another plugin.

    Raises InvalidNetwork when it is virtnet's and names none, or both, or is not JSON.
    """
    metadata = body["metadata"]
    where = f"NetworkAttachmentDefinition {metadata['namespace']}/{metadata['name']}"
    text = (body.get("spec") or {}).get("config") or ""
    try:
        config = json.loads(text) if text else {}
    except ValueError as error:
        if CNI_TYPE not in text:
            return None
        raise InvalidNetwork(f"{where}: spec.config is not JSON ({error})") from error
    plugins = config.get("plugins", [config]) if isinstance(config, dict) else []
    ours = next((p for p in plugins if isinstance(p, dict) and p.get("type") == CNI_TYPE), None)
    if ours is None:
        return None
    subnet, cluster = ours.get("subnet", ""), ours.get("clusterSubnet", "")
    names = [name for name in (subnet, cluster) if name]
    if len(names) != 1 or not isinstance(names[0], str):
        raise InvalidNetwork(f'{where}: spec.config must name one Subnet, as "subnet" or "clusterSubnet"')
    if subnet:
        return SubnetRef(kind="Subnet", namespace=metadata["namespace"], name=subnet)
    return SubnetRef(kind="ClusterSubnet", name=cluster)


def selections(text: str, namespace: str) -> tuple[Selection, ...]:
    """The networks of a pod's annotation, in either form: JSON, or ``namespace/name@interface`` with commas.

    Interfaces that are not named are ``net1``, ``net2`` and so on, as Multus names them. Raises InvalidNetwork.
    """
    text = text.strip()
    if not text:
        return ()
    if text.startswith("["):
        return tuple(_long(element, n, namespace) for n, element in enumerate(_elements(text), 1))
    return tuple(_short(element.strip(), n, namespace) for n, element in enumerate(text.split(","), 1))


def _elements(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidNetwork(f"annotation {NETWORKS} is not JSON ({error})") from error
    return list(found)


def _long(element: Any, number: int, namespace: str) -> Selection:
    if not isinstance(element, dict) or not isinstance(element.get("name"), str):
        raise InvalidNetwork(f"annotation {NETWORKS}: element {number} has no name")
    return Selection(
        nad=f"{element.get('namespace') or namespace}/{element['name']}",
        interface=element.get("interface") or f"net{number}",
        mac=element.get("mac") or "",
        addresses=tuple(element.get("ips") or ()),
        default_route=bool(element.get("default-route")),
    )


def _short(element: str, number: int, namespace: str) -> Selection:
    match = _SHORT.fullmatch(element)
    if match is None:
        raise InvalidNetwork(f"annotation {NETWORKS}: {element!r} is not of the form namespace/name@interface")
    return Selection(
        nad=f"{match['namespace'] or namespace}/{match['name']}", interface=match["interface"] or f"net{number}"
    )
