"""What virtnet reads of Multus: NetworkAttachmentDefinitions and a pod's selection of them (multi-net-spec)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Any

from pydantic import ValidationError

from virtnet.api.names import CNI_TYPE, ROUTES, is_name
from virtnet.api.references import SubnetRef
from virtnet.api.routes import DEFAULTS, RouteRequest, read_requests

NETWORKS = "k8s.v1.cni.cncf.io/networks"
"""On a pod: the networks that it has besides the pod network."""

DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
"""On a pod: the network that takes the place of the pod network."""

CLAIM = "ipam-claim-reference"
"""In a selection: the IPAMClaim that keeps account of the network's addresses. ipam-extensions writes it."""

_SHORT = re.compile(r"(?:(?P<namespace>[^/@\s]+)/)?(?P<name>[^/@\s]+)(?:@(?P<interface>[^/@\s]+))?")


@dataclass(frozen=True)
class NadNetwork:
    """What a NAD of virtnet says."""

    subnet: SubnetRef
    routes: tuple[RouteRequest, ...] = ()
    """For every NIC that uses it."""
    persistent: bool = False
    """Whether IPAMClaims keep account of its addresses (``allowPersistentIPs``)."""


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
    ipam_claim: str = ""
    """Name of an IPAMClaim that keeps account of the addresses, in the pod's namespace."""

    @property
    def bare_addresses(self) -> tuple[str, ...]:
        """The requested addresses without the prefix length that Multus' form has; one of another form as it is."""
        return tuple(map(_bare, self.addresses))


def _bare(text: str) -> str:
    try:
        ip_interface(text)
    except ValueError:
        return text
    return text.partition("/")[0]


def qualified(name: str, namespace: str) -> str:
    """``namespace/name`` of a NAD named from within a namespace."""
    return name if "/" in name else f"{namespace}/{name}"


def network_of_nad(body: Mapping[str, Any]) -> NadNetwork | None:
    """What a NAD of virtnet says; None for a NAD of another plugin.

    Raises InvalidNetwork when it is virtnet's and names no Subnet, or two, or is not JSON, and for routes of no form.
    """
    metadata = body["metadata"]
    where = f"NetworkAttachmentDefinition {metadata['namespace']}/{metadata['name']}"
    text = (body.get("spec") or {}).get("config") or ""
    try:
        config = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        if CNI_TYPE not in text:
            return None
        raise InvalidNetwork(f"{where}: spec.config is not JSON ({error})") from error
    ours = next((plugin for plugin in _plugins(config) if plugin.get("type") == CNI_TYPE), None)
    if ours is None:
        return None
    named = {key: ours[key] for key in ("subnet", "clusterSubnet") if ours.get(key)}
    if len(named) != 1:
        raise InvalidNetwork(f'{where}: spec.config must name one Subnet, as "subnet" or "clusterSubnet"')
    ((key, name),) = named.items()
    namespace = metadata["namespace"] if key == "subnet" else ""
    nameless = InvalidNetwork(f"{where}: spec.config: {key} {name!r} cannot be a Subnet's name")
    try:
        subnet = SubnetRef(kind="Subnet" if key == "subnet" else "ClusterSubnet", namespace=namespace, name=name)
    except ValidationError as error:
        raise nameless from error
    if "." in name or not is_name(name):
        raise nameless
    try:
        routes = read_requests(ours.get("routes") or [], destination="dst", gateway="gw")
    except ValueError as error:
        raise InvalidNetwork(f"{where}: spec.config: {error}") from error
    if any(route.destination in DEFAULTS for route in routes):
        raise InvalidNetwork(
            f"{where}: spec.config: routes: the default route is chosen by whoever has several NICs: a pod by "
            f"default-route in its selection of networks, a VM by its annotation {ROUTES}"
        )
    return NadNetwork(
        subnet, routes, persistent=ours.get("allowPersistentIPs", config.get("allowPersistentIPs")) is True
    )


def _plugins(config: Any) -> list[dict[str, Any]]:
    """The plugins of a CNI configuration, which is one of them or a list."""
    listed = config.get("plugins", [config]) if isinstance(config, dict) else []
    return [plugin for plugin in listed if isinstance(plugin, dict)] if isinstance(listed, list) else []


def chosen(pod: Mapping[str, Any], pod_network: str = "") -> tuple[Selection, ...]:
    """The networks that a pod has through Multus. Raises InvalidNetwork.

    ``pod_network``: the NAD of the cluster's pod network, where that is virtnet's. The default route goes through
    ``eth0`` unless another network is asked to have it.
    """
    metadata = pod["metadata"]
    annotations, namespace = metadata.get("annotations") or {}, metadata["namespace"]
    others = selections(annotations.get(NETWORKS) or "", namespace)
    route = not any(one.default_route for one in others)
    own = pod_network and not (pod.get("spec") or {}).get("hostNetwork")
    first = selections(annotations.get(DEFAULT_NETWORK) or (pod_network if own else ""), namespace)
    return (*(replace(one, interface="eth0", default_route=route) for one in first), *others)


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
    except (ValueError, RecursionError) as error:
        raise InvalidNetwork(f"annotation {NETWORKS} is not JSON ({error})") from error
    return list(found)


def _long(element: Any, number: int, namespace: str) -> Selection:
    if not isinstance(element, dict) or not element.get("name"):
        raise InvalidNetwork(f"annotation {NETWORKS}: element {number} has no name")
    texts = {key: element.get(key) or "" for key in ("name", "namespace", "interface", "mac", CLAIM)}
    addresses = element.get("ips") or []
    for key, value in texts.items():
        if not isinstance(value, str):
            raise InvalidNetwork(f"annotation {NETWORKS}: element {number}: {key} must be a string")
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise InvalidNetwork(f'annotation {NETWORKS}: element {number}: ips must be a list like ["10.0.0.5/24"]')
    return Selection(
        nad=f"{texts['namespace'] or namespace}/{texts['name']}",
        interface=texts["interface"] or f"net{number}",
        mac=texts["mac"],
        addresses=tuple(addresses),
        default_route=bool(element.get("default-route")),
        ipam_claim=texts[CLAIM],
    )


def _short(element: str, number: int, namespace: str) -> Selection:
    match = _SHORT.fullmatch(element)
    if match is None:
        raise InvalidNetwork(f"annotation {NETWORKS}: {element!r} is not of the form namespace/name@interface")
    return Selection(
        nad=f"{match['namespace'] or namespace}/{match['name']}", interface=match["interface"] or f"net{number}"
    )
