"""What people write, as they write it, and how bad input is told of: by whom it is refused, and with which words.

``NS`` stands for the tenant's namespace.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.api.meta import API_VERSION
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ADDRESSES, PINNED, ROUTES

SCHEMA = "API server"
PIN_VM, MARK_POD = "pin-vm", "mark-pod"
CHECK_SUBNET, CHECK_PROVIDER_NETWORK, CHECK_NAD = "check-subnet", "check-provider-network", "check-nad"
WARNING = "check-subnet, which warns"
UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)

Body = dict[str, Any]
BLUE = (("blue", "blue-net"),)
LONG = 262_000
"""Bytes of an annotation, just below what the API server takes."""


@dataclass(frozen=True)
class Change:
    """A merge patch of an object; None: its deletion."""

    kind: str
    name: str
    patch: Body | None = None


@dataclass(frozen=True)
class Row:
    """One bad input."""

    given: str
    what: Body | Change
    by: str
    says: str
    """After what the API server puts before it."""
    code: int = 422
    after: tuple[Body | Change, ...] = ()
    """What was written before, and taken."""


def vm(
    name: str = "db",
    *,
    networks: tuple[tuple[str, str], ...] = BLUE,
    macs: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    template: Mapping[str, str] | None = None,
) -> Body:
    """A VM manifest as people write it. ``networks``: name and NAD of each NIC."""
    interfaces = [
        {"name": n, "bridge": {}, **({"macAddress": macs[n]} if macs and n in macs else {})} for n, _ in networks
    ]
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, **({"annotations": dict(annotations)} if annotations else {})},
        "spec": {
            "runStrategy": "Halted",
            "template": {
                "metadata": {"annotations": dict(template)} if template else {},
                "spec": {
                    "domain": {"devices": {"interfaces": interfaces}, "memory": {"guest": "128Mi"}},
                    "networks": [{"name": n, "multus": {"networkName": nad}} for n, nad in networks],
                },
            },
        },
    }


def asking(
    *addresses: str, name: str = "db", network: str = "blue", networks: tuple[tuple[str, str], ...] = BLUE
) -> Body:
    return vm(name, networks=networks, annotations={ADDRESSES: json.dumps({network: addresses})})


def routing(**routes: list[dict[str, str]]) -> Body:
    """A VM that asks for routes of its networks."""
    return vm(annotations={ROUTES: json.dumps(routes)})


def bringing(**nic: Any) -> Body:
    """A VM that says what it would have been pinned to."""
    subnet = {"kind": "Subnet", "namespace": "NS", "name": "blue"}
    whole = {"nad": "NS/blue-net", "subnet": subnet, "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.5"], **nic}
    return vm(annotations={PINNED: json.dumps({"vm": "NS/db", "nics": {"blue": whole}})})


def pod(networks: Any = "blue-net", name: str = "web") -> Body:
    """A pod as people write it. ``networks``: Multus' annotation, as text or as what becomes JSON."""
    text = networks if isinstance(networks, str) else json.dumps(networks)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {NETWORKS: text}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }


def pod_routing(**routes: list[dict[str, str]]) -> Body:
    """A pod that asks for routes of its interfaces."""
    body = pod()
    body["metadata"]["annotations"][ROUTES] = json.dumps(routes)
    return body


def nad(config: Any, name: str = "odd") -> Body:
    text = config if isinstance(config, str) else json.dumps({"type": "virtnet-cni", **config})
    kind = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
    return {**kind, "metadata": {"name": name}, "spec": {"config": text}}


def subnet(name: str = "odd", cidrs: str = "10.5.0.0/24", **spec: Any) -> Body:
    """In a Vpc of its own. ``cidrs``: one network, or one of each family with a space between."""
    whole = {"vpc": {"kind": "Vpc", "name": name[:63]}, "cidrs": cidrs.split(), **spec}
    return {"apiVersion": API_VERSION, "kind": "Subnet", "metadata": {"name": name}, "spec": whole}


def elsewhere(body: Body) -> Body:
    """In a namespace that is not the tenant's."""
    return {**body, "metadata": {**body["metadata"], "namespace": "default"}}


def lan(cidrs: str = "10.5.0.0/24", name: str = "NS", **spec: Any) -> Body:
    """A ClusterSubnet, in a ClusterVpc of its own."""
    whole = {"vpc": {"kind": "ClusterVpc", "name": name}, "cidrs": cidrs.split(), **spec}
    return {"apiVersion": API_VERSION, "kind": "ClusterSubnet", "metadata": {"name": name}, "spec": whole}


def network(name: str = "NS", nic: str = "NSnic", **spec: Any) -> Body:
    kind = {"apiVersion": API_VERSION, "kind": "ProviderNetwork"}
    return {**kind, "metadata": {"name": name}, "spec": {"defaultNic": nic, **spec}}


def vpc(kind: str, **spec: Any) -> Body:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "NS"}, "spec": spec}


def node(name: str = "NS") -> Body:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"site": "NS"}}}


def long(start: str) -> str:
    return start + "9" * (LONG - len(start))
