"""What virtnet reads of a VirtualMachine manifest: its NICs and what it asks for them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.api.addresses import canonical
from virtnet.api.multus import qualified
from virtnet.api.names import ADDRESSES, KUBEVIRT_ADDRESSES, pod_interface

Body = Mapping[str, Any]

MIGRATION_JOB_UID = "kubevirt.io/migrationJobUID"
"""Label of a migration's target pod. It stays on it for good: on a pod that is created it means "target"."""


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
    index: int
    """Its place in spec.template.spec.domain.devices.interfaces."""
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
    by_name = {one.get("name"): (n, one) for n, one in enumerate(interfaces(vm)) if one.get("state") != "absent"}
    found = []
    for network in (template(vm).get("spec") or {}).get("networks") or ():
        name, multus = network.get("name"), network.get("multus") or {}
        nad = qualified(multus["networkName"], vm["metadata"]["namespace"]) if multus.get("networkName") else ""
        if "pod" in network:
            nad = pod_network
        if name in by_name and nad:
            index, interface = by_name[name]
            default = "pod" in network or bool(multus.get("default"))
            translated = any(binding in interface for binding in ("masquerade", "passtBinding"))
            found.append(Nic(name, nad, interface.get("macAddress") or "", index, default, translated))
    return tuple(found)


def requested_addresses(vm: Body, stored: Body | None = None) -> dict[str, tuple[str, ...]]:
    """Network name -> addresses that the manifest asks for.

    A request that the stored manifest has already may outlive its network: KubeVirt itself removes an unplugged NIC
    from the VM, and leaves the annotations alone. Raises InvalidRequest for any other network that is not there, for an
    annotation of another form, and where two of them contradict each other.
    """
    texts, before = _requests(vm), _requests(stored) if stored else {}
    names = {nic["name"] for nic in (template(vm).get("spec") or {}).get("networks") or ()}
    wanted: dict[str, tuple[str, tuple[str, ...]]] = {}
    for key, text in texts.items():
        for network, addresses in _addresses(key, text).items():
            if network not in names and text == before.get(key):
                continue
            if network not in names:
                raise InvalidRequest(f"annotation {key}: the VM has no network {network}; it has {_listed(names)}")
            first, already = wanted.setdefault(network, (key, addresses))
            if set(map(canonical, already)) != set(map(canonical, addresses)):
                raise InvalidRequest(
                    f"NIC {network}: {first} asks for {', '.join(already)}, and {key} for {', '.join(addresses)}; "
                    "keep one of them"
                )
    return {network: addresses for network, (_, addresses) in wanted.items()}


def _requests(vm: Body) -> dict[str, str | None]:
    """The annotations that ask for addresses, by what people call them."""
    own = vm["metadata"].get("annotations") or {}
    inner = (template(vm).get("metadata") or {}).get("annotations") or {}
    return {
        ADDRESSES: own.get(ADDRESSES),
        f"{ADDRESSES} of the template": inner.get(ADDRESSES),
        f"{KUBEVIRT_ADDRESSES} of the template": inner.get(KUBEVIRT_ADDRESSES),
    }


def _addresses(key: str, text: str | None) -> dict[str, tuple[str, ...]]:
    if not text:
        return {}
    form = f'annotation {key} must be JSON like {{"blue": ["10.0.0.5"]}}'
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{form}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(form)
    for network, addresses in found.items():
        if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
            raise InvalidRequest(f"{form}: {network} has no list of addresses")
    return {network: tuple(addresses) for network, addresses in found.items() if addresses}


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
