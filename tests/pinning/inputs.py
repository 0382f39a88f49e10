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
CHECK, CHECK_NAD = "check", "check-nad"
CHECK_WARNS, PIN_VM_WARNS = WARNINGS = (f"{CHECK}, which warns", f"{PIN_VM}, which warns")
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
    subresource: str = ""


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
    once_heard: bool = False
    """Whether it is refused, or warned of, only once the webhook's watches have told it of what was written before."""


def vm(
    name: str = "db",
    *,
    networks: tuple[tuple[Any, Any], ...] = BLUE,
    macs: Mapping[str, Any] | None = None,
    bindings: Mapping[str, Body] | None = None,
    annotations: Mapping[str, str] | None = None,
    template: Mapping[str, str] | None = None,
) -> Body:
    """A VM manifest as people write it. ``networks``: name and NAD of each NIC."""
    interfaces = [
        {
            "name": n,
            **(bindings or {}).get(n, {"bridge": {}}),
            **({"macAddress": macs[n]} if macs and n in macs else {}),
        }
        for n, _ in networks
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


def instance(name: str = "db") -> Body:
    """That a VM runs."""
    spec: Body = {"domain": {"devices": {}}}
    kind = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def asking(
    *addresses: str, name: str = "db", network: str = "blue", networks: tuple[tuple[str, str], ...] = BLUE
) -> Body:
    return vm(name, networks=networks, annotations={ADDRESSES: json.dumps({network: addresses})})


def routing(**routes: list[dict[str, Any]]) -> Body:
    """A VM that asks for routes of its networks."""
    return vm(annotations={ROUTES: json.dumps(routes)})


def bringing(**nic: Any) -> Body:
    """A VM that says what it would have been pinned to."""
    subnet = {"kind": "Subnet", "namespace": "NS", "name": "blue"}
    whole = {"nad": "NS/blue-net", "subnet": subnet, "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.5"], **nic}
    return vm(annotations={PINNED: json.dumps({"vm": "NS/db", "nics": {"blue": whole}})})


def wanting(**options: Any) -> Body:
    """A change of a VM: what its NIC wants DHCP to tell its guest."""
    interfaces = [{"name": "blue", "bridge": {}, "dhcpOptions": options}]
    return {"spec": {"template": {"spec": {"domain": {"devices": {"interfaces": interfaces}}}}}}


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


def site(name: str = "NS", **spec: Any) -> Body:
    """A ClusterSubnet whose guests the site gives their addresses."""
    return lan("", name, **{"providerNetwork": "NS", "vlan": 200, "dhcp": {"enabled": False}, **spec})


def network(name: str = "NS", nic: str = "NSnic", **spec: Any) -> Body:
    kind = {"apiVersion": API_VERSION, "kind": "ProviderNetwork"}
    return {**kind, "metadata": {"name": name}, "spec": {"defaultNic": nic, **spec}}


def nic_policy(nics: Body | None = None, vfs: int | None = 4, **more: Any) -> Body:
    spec = {"nics": {"names": ["ens1f0"]} if nics is None else nics, **({} if vfs is None else {"vfs": vfs}), **more}
    return {"apiVersion": API_VERSION, "kind": "NicPolicy", "metadata": {"name": "NS"}, "spec": spec}


def vpc(kind: str, **spec: Any) -> Body:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "NS"}, "spec": spec}


def user(network_attachment_definition: str) -> Body:
    """The Port of VM ``db``, whose NIC is in Subnet ``blue`` by a NAD."""
    spec = {
        "owner": {"kind": "VirtualMachine", "name": "db"},
        "network": "blue",
        "networkAttachmentDefinition": f"NS/{network_attachment_definition}",
        "subnet": {"kind": "Subnet", "namespace": "NS", "name": "blue"},
        "macAddress": "02:00:00:00:00:01",
        "addresses": ["10.0.0.5"],
    }
    return {"apiVersion": API_VERSION, "kind": "Port", "metadata": {"name": "db.blue"}, "spec": spec}


def going(kind: str, name: str, **spec: Any) -> Body:
    """An object that stays when it is deleted, for somebody else's finalizer."""
    metadata = {"name": name, "finalizers": ["example.com/backup"]}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def policy(kind: str, name: str, **spec: Any) -> Body:
    """One that limits nothing."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def node(name: str = "NS", address: str = "") -> Body:
    status = {"addresses": [{"type": "InternalIP", "address": address}] if address else []}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"site": "NS"}}, "status": status}


def node_network(**status: Any) -> tuple[Body | Change, ...]:
    """What a node tells of itself."""
    body = {"apiVersion": API_VERSION, "kind": "NodeNetwork", "metadata": {"name": "NS"}}
    return body, Change("NodeNetwork", "NS", {"status": status}, subresource="status")


def long(start: str) -> str:
    return start + "9" * (LONG - len(start))
