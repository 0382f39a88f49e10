"""What virtnet reads of Multus: NetworkAttachmentDefinitions and a pod's selection of them (multi-net-spec)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Any

from pydantic import ValidationError

from virtnet.api.addresses import MOST_ADDRESSES
from virtnet.api.fields import Fields, WrongType
from virtnet.api.meta import annotations_of, object_key
from virtnet.api.names import CNI_TYPE, MOST_NICS, ROUTES, is_name
from virtnet.api.nic_kinds import is_nic_kind
from virtnet.api.references import SubnetRef
from virtnet.api.routes import DEFAULTS, RouteRequest, read_requests

NETWORKS = "k8s.v1.cni.cncf.io/networks"
"""On a pod: the networks that it has besides the pod network."""

DEFAULT_NETWORK = "v1.multus-cni.io/default-network"
"""On a pod: the network that takes the place of the pod network."""

POD_INTERFACE = "eth0"
"""A pod's interface on its pod network."""

NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"
"""On a pod: the networks that it has got. Multus writes it when the sandbox is made, and with every NIC that comes or
goes later.
"""

RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"
"""On a NAD: the resource of a device plugin, of which a pod has a device for its NIC."""

CLAIM = "ipam-claim-reference"
"""In a selection: the IPAMClaim that keeps account of the network's addresses. ipam-extensions writes it."""

_SHORT = re.compile(r"(?:(?P<namespace>[^/@\s]+)/)?(?P<name>[^/@\s]+)(?:@(?P<interface>[^/@\s]+))?")


@dataclass(frozen=True)
class NadNetwork:
    """What a NAD of virtnet says."""

    subnet: SubnetRef
    routes: tuple[RouteRequest, ...] = ()
    """For every NIC that uses it."""
    nic: str = ""
    """The kind of NICs that use it; empty where it says none."""
    resource: str = ""
    """Of which its NICs have devices; empty for none."""
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


@dataclass(frozen=True)
class AttachedNetwork:
    """One network that Multus says a pod has got."""

    nad: str
    """``namespace/name``, or another plugin's own name for it."""
    interface: str
    """Empty where the CNI result named none."""

    def is_of(self, interface: str, nad: str) -> bool:
        """Whether it is a pod's NIC on this interface, by a NAD."""
        return self.interface == interface if self.interface else self.nad == nad


def attached_networks(text: str | None) -> tuple[AttachedNetwork, ...] | None:
    """What a pod's network-status says; None where there is none yet, or it cannot be understood."""
    try:
        found = json.loads(text) if text else None
        return tuple(AttachedNetwork(one["name"], one.get("interface") or "") for one in found) if found else None
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None


def qualified(name: str, namespace: str) -> str:
    """``namespace/name`` of a NAD named from within a namespace."""
    return name if "/" in name else f"{namespace}/{name}"


def nad_title(body: Mapping[str, Any]) -> str:
    """What people call a NAD, of its body."""
    return f"NetworkAttachmentDefinition {object_key(body)}"


def network_of_nad(body: Mapping[str, Any]) -> NadNetwork | None:
    """What a NAD of virtnet says; None for a NAD of another plugin.

    Raises InvalidNetwork when it is virtnet's and names no Subnet, or two, or is not JSON, and for routes of no form.
    """
    where = nad_title(body)
    try:
        text = Fields(body).object("spec").text("config")
    except WrongType as error:
        raise InvalidNetwork(f"{where}: {error}") from error
    config = _config(text, where)
    ours = next((plugin for plugin in _plugins(config) if plugin.get("type") == CNI_TYPE), None)
    if ours is None:
        return None
    subnet = _subnet_ref(ours, body["metadata"]["namespace"], where)
    try:
        routes = read_requests([] if ours.get("routes") is None else ours["routes"], destination="dst", gateway="gw")
    except ValueError as error:
        raise InvalidNetwork(f"{where}: spec.config: {error}") from error
    if any(route.destination in DEFAULTS for route in routes):
        raise InvalidNetwork(
            f"{where}: spec.config: routes: the default route is chosen by whoever has several NICs: a pod by "
            f"default-route in its selection of networks, a VM by its annotation {ROUTES}"
        )
    nic = "" if ours.get("nic") is None else ours["nic"]
    if nic != "" and not is_nic_kind(nic):
        raise InvalidNetwork(f'{where}: spec.config: nic must be a NIC kind such as "veth"')
    persistent = ours.get("allowPersistentIPs", config.get("allowPersistentIPs"))
    if not isinstance(persistent, bool | None):
        raise InvalidNetwork(f"{where}: spec.config: allowPersistentIPs must be true or false")
    resource = annotations_of(body).get(RESOURCE_NAME) or ""
    return NadNetwork(subnet, routes, nic, resource, persistent=persistent is True)


def _config(text: str, where: str) -> Any:
    """A CNI configuration; None for one that is no JSON, and not virtnet's. Raises InvalidNetwork."""
    try:
        return json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        if CNI_TYPE not in text:
            return None
        raise InvalidNetwork(f"{where}: spec.config is not JSON ({error})") from error


def _subnet_ref(plugin: Mapping[str, Any], namespace: str, where: str) -> SubnetRef:
    """The Subnet that a CNI configuration names. Raises InvalidNetwork."""
    named = {key: plugin[key] for key in ("subnet", "clusterSubnet") if plugin.get(key)}
    if len(named) != 1:
        raise InvalidNetwork(f'{where}: spec.config must name one Subnet, as "subnet" or "clusterSubnet"')
    ((key, name),) = named.items()
    nameless = InvalidNetwork(f"{where}: spec.config: {key} {name!r} cannot be a Subnet's name")
    try:
        if key == "subnet":
            subnet = SubnetRef(kind="Subnet", namespace=namespace, name=name)
        else:
            subnet = SubnetRef(kind="ClusterSubnet", name=name)
    except ValidationError as error:
        raise nameless from error
    if "." in name or not is_name(name):
        raise nameless
    return subnet


def _plugins(config: Any) -> list[dict[str, Any]]:
    """The plugins of a CNI configuration, which is one of them or a list."""
    listed = config.get("plugins", [config]) if isinstance(config, dict) else []
    return [plugin for plugin in listed if isinstance(plugin, dict)] if isinstance(listed, list) else []


def chosen(pod: Mapping[str, Any], pod_network: str = "") -> tuple[Selection, ...]:
    """The networks that a pod has through Multus. Raises InvalidNetwork.

    ``pod_network``: the NAD of the cluster's pod network, where that is virtnet's. The default route goes through
    ``eth0`` unless another network is asked to have it.
    """
    namespace = pod["metadata"]["namespace"]
    networks, default = networks_of(pod)
    others = selections(networks, namespace)
    route = not any(one.default_route for one in others)
    own = pod_network and not (pod.get("spec") or {}).get("hostNetwork")
    first = selections(default or (pod_network if own else ""), namespace)
    return (*(replace(one, interface=POD_INTERFACE, default_route=route) for one in first), *others)


def networks_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """The two annotations by which a pod, or the template of one, selects networks; empty where it has none."""
    annotations = annotations_of(body)
    return annotations.get(NETWORKS) or "", annotations.get(DEFAULT_NETWORK) or ""


def selections(text: str, namespace: str) -> tuple[Selection, ...]:
    """The networks of a pod's annotation, in either form: JSON, or ``namespace/name@interface`` with commas.

    Interfaces that are not named are ``net1``, ``net2`` and so on, as Multus names them. Raises InvalidNetwork.
    """
    text = text.strip()
    if not text:
        return ()
    is_json = text.startswith("[")
    elements = _elements(text) if is_json else text.split(",")
    if len(elements) > MOST_NICS:
        raise InvalidNetwork(f"annotation {NETWORKS}: {len(elements)} networks; choose at most {MOST_NICS}")
    if is_json:
        return tuple(_long(element, n, namespace) for n, element in enumerate(elements, 1))
    return tuple(_short(element.strip(), n, namespace) for n, element in enumerate(elements, 1))


def _elements(text: str) -> list[Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidNetwork(f"annotation {NETWORKS} is not JSON ({error})") from error
    return list(found)


def _long(element: Any, number: int, namespace: str) -> Selection:
    if not isinstance(element, dict) or not element.get("name"):
        raise InvalidNetwork(f"annotation {NETWORKS}: element {number} has no name")
    texts = {}
    for key in ("name", "namespace", "interface", "mac", CLAIM):
        texts[key] = "" if element.get(key) is None else element[key]
        if not isinstance(texts[key], str):
            raise InvalidNetwork(f"annotation {NETWORKS}: element {number}: {key} must be a string")
    for key, example in (("ips", "10.0.0.5/24"), ("default-route", "10.0.0.1")):
        listed = [] if element.get(key) is None else element[key]
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise InvalidNetwork(f'annotation {NETWORKS}: element {number}: {key} must be a list like ["{example}"]')
        if len(listed) > MOST_ADDRESSES:
            raise InvalidNetwork(
                f"annotation {NETWORKS}: element {number}: {key} has {len(listed)} addresses; write two"
            )
    return Selection(
        nad=f"{texts['namespace'] or namespace}/{texts['name']}",
        interface=texts["interface"] or f"net{number}",
        mac=texts["mac"],
        addresses=tuple(element.get("ips") or ()),
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
