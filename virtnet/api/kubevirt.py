"""What virtnet reads of a VirtualMachine manifest: its NICs and what it asks for them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from virtnet.api.addresses import canonical
from virtnet.api.multus import qualified
from virtnet.api.names import ADDRESSES, KUBEVIRT_ADDRESSES, ROUTES, pod_interface
from virtnet.api.routes import RouteRequest, read_requests

Body = Mapping[str, Any]
T = TypeVar("T")

MIGRATION_JOB_UID = "kubevirt.io/migrationJobUID"
"""Label of a migration's target pod. It stays on it for good: on a pod that is created it means "target"."""


LEFT_OUT = "default"
"""The network that KubeVirt adds where a VM names none."""


class InvalidRequest(ValueError):  # noqa: N818 - says what it is
    """An annotation that cannot be understood; the text says which, and what to write instead."""


@dataclass(frozen=True)
class Nic:
    """One NIC on a Multus network."""

    network: str
    nad: str
    """``namespace/name``."""
    mac: str
    """As the manifest has it; empty where it has none."""
    default: bool = False
    """Whether it takes the place of the pod network."""
    translated: bool = False
    """Whether the pod itself has the addresses, and KubeVirt translates them for the guest (masquerade, passt)."""

    @property
    def interface(self) -> str:
        """Its interface in the launcher pod."""
        return "eth0" if self.default else pod_interface(self.network)


def owning_instance(pod: Body) -> str:
    """The name of the VirtualMachineInstance that a pod runs; empty for any other pod."""
    for owner in pod["metadata"].get("ownerReferences") or ():
        ours = owner["kind"] == "VirtualMachineInstance" and owner["apiVersion"].startswith("kubevirt.io/")
        if owner.get("controller") and ours:
            return str(owner["name"])
    return ""


def as_vm(instance: Body) -> Body:
    """A VirtualMachineInstance in the form of a VirtualMachine that would have made it."""
    return {
        "metadata": {**instance["metadata"], "annotations": {}},
        "spec": {"template": {"metadata": instance["metadata"], "spec": instance["spec"]}},
    }


def template(vm: Body) -> Body:
    return (vm.get("spec") or {}).get("template") or {}


def interfaces(vm: Body) -> list[dict[str, Any]]:
    domain = (template(vm).get("spec") or {}).get("domain") or {}
    return list((domain.get("devices") or {}).get("interfaces") or [])


def nics(vm: Body, pod_network: str = "") -> tuple[Nic, ...]:
    """The NICs on Multus networks, but for those that are to be unplugged or are so already (``state: absent``).

    ``pod_network``: the NAD of the cluster's pod network, where that is virtnet's, too. A network without an interface
    is none; KubeVirt refuses it anyway.
    """
    by_name = {one.get("name"): one for one in interfaces(vm) if one.get("state") != "absent"}
    if pod_network and left_to_kubevirt(vm):
        return (Nic(LEFT_OUT, pod_network, "", default=True),)
    found = []
    for network in (template(vm).get("spec") or {}).get("networks") or ():
        name, multus = network.get("name"), network.get("multus") or {}
        nad = qualified(multus["networkName"], vm["metadata"]["namespace"]) if multus.get("networkName") else ""
        if "pod" in network:
            nad = pod_network
        if name in by_name and nad:
            interface = by_name[name]
            default = "pod" in network or bool(multus.get("default"))
            translated = any(binding in interface for binding in ("masquerade", "passtBinding"))
            found.append(Nic(name, nad, interface.get("macAddress") or "", default, translated))
    return tuple(found)


def left_to_kubevirt(vm: Body) -> bool:
    """Whether it says nothing of networks, so that KubeVirt gives its VMI a NIC on the pod network."""
    spec = template(vm).get("spec") or {}
    devices = (spec.get("domain") or {}).get("devices") or {}
    return not (spec.get("networks") or devices.get("interfaces") or devices.get("autoattachPodInterface") is False)


def has_pod_network(vm: Body) -> bool:
    """Whether it has a NIC on the pod network, or on one in its place."""
    networks = (template(vm).get("spec") or {}).get("networks") or ()
    return any("pod" in network or (network.get("multus") or {}).get("default") for network in networks)


def requested_addresses(vm: Body, stored: Body | None = None) -> dict[str, tuple[str, ...]]:
    """Network name -> addresses that the manifest asks for.

    A request that the stored manifest has already may outlive its network: KubeVirt itself removes an unplugged NIC
    from the VM, and leaves the annotations alone. Raises InvalidRequest for any other network that is not there, for an
    annotation of another form, and where two of them contradict each other.
    """
    return _requested(vm, stored, (ADDRESSES, KUBEVIRT_ADDRESSES), _addresses)


def asked_of_virtnet(vm: Body, stored: Body | None = None) -> frozenset[str]:
    """The NICs that something is newly asked for by virtnet's own annotation, which no other plugin hears.

    What was admitted once may stay, as above; so may what is asked for a NIC that is to be unplugged. Raises
    InvalidRequest.
    """
    there = {one.get("name") for one in interfaces(vm) if one.get("state") != "absent"}
    own = _texts(vm, (ADDRESSES,))
    before = _texts(stored, (ADDRESSES,)) if stored else {}
    fresh = (network for key, text in own.items() if text != before.get(key) for network in _addresses(key, text))
    return frozenset(network for network in fresh if network in there)


def requested_routes(vm: Body, stored: Body | None = None) -> dict[str, tuple[RouteRequest, ...]]:
    """Network name -> routes that the manifest asks for. As with addresses. Raises InvalidRequest."""
    return _requested(vm, stored, (ROUTES,), routes_in)


def _requested(
    vm: Body,
    stored: Body | None,
    annotations: tuple[str, ...],
    read: Callable[[str, str | None], dict[str, tuple[T, ...]]],
) -> dict[str, tuple[T, ...]]:
    texts, before = _texts(vm, annotations), _texts(stored, annotations) if stored else {}
    names = {nic["name"] for nic in (template(vm).get("spec") or {}).get("networks") or ()}
    wanted: dict[str, tuple[str, tuple[T, ...]]] = {}
    for key, text in texts.items():
        for network, asked in read(key, text).items():
            if network not in names and text == before.get(key):
                continue
            if network not in names:
                raise InvalidRequest(f"annotation {key}: the VM has no network {network}; it has {_listed(names)}")
            first, already = wanted.setdefault(network, (key, asked))
            ours, others = ([canonical(str(one)) for one in some] for some in (asked, already))
            if set(ours) != set(others):
                raise InvalidRequest(
                    f"NIC {network}: {first} asks for {', '.join(others)}, and {key} for {', '.join(ours)}; "
                    "keep one of them"
                )
    return {network: asked for network, (_, asked) in wanted.items()}


def _texts(vm: Body, annotations: tuple[str, ...]) -> dict[str, str | None]:
    """The annotations that ask for something, by what people call them. KubeVirt's own is the template's."""
    own = vm["metadata"].get("annotations") or {}
    inner = (template(vm).get("metadata") or {}).get("annotations") or {}
    return {name: own.get(name) for name in annotations if name != KUBEVIRT_ADDRESSES} | {
        f"{name} of the template": inner.get(name) for name in annotations
    }


def routes_in(key: str, text: str | None) -> dict[str, tuple[RouteRequest, ...]]:
    """What an annotation asks for, by network or interface. Raises InvalidRequest."""
    form = f'annotation {key} must be JSON like {{"blue": [{{"destination": "192.168.0.0/16"}}]}}'
    found = _object(text, form)
    try:
        return {network: read_requests(routes) for network, routes in found.items() if routes}
    except ValueError as error:
        raise InvalidRequest(f"annotation {key}: {error}") from error


def _addresses(key: str, text: str | None) -> dict[str, tuple[str, ...]]:
    form = f'annotation {key} must be JSON like {{"blue": ["10.0.0.5"]}}'
    found = _object(text, form)
    for network, addresses in found.items():
        if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
            raise InvalidRequest(f"{form}: {network} has no list of addresses")
    return {network: tuple(addresses) for network, addresses in found.items() if addresses}


def _object(text: str | None, form: str) -> dict[str, Any]:
    """Raises InvalidRequest, which tells the form, for what is no JSON object."""
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{form}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(form)
    return found


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
