"""What the demonstration applies: plain manifests, as a person writes them."""

import json
from typing import Any

from virtnet.api.names import NIC
from virtnet.api.nic_kinds import VHOSTUSER
from virtnet.lab.dpdk import LABEL

NAMESPACE = "demo"
Body = dict[str, Any]


def namespace() -> Body:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def subnet() -> Body:
    return {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "Subnet",
        "metadata": {"name": "blue", "namespace": NAMESPACE},
        "spec": {"cidrs": ["10.10.0.0/24", "fd10:10::/64"], "excludes": ["10.10.0.2-10.10.0.9"]},
    }


def nad(name: str = "blue-net", **subnet: str) -> Body:
    """``subnet`` or ``clusterSubnet``: which one it leads to."""
    config = {"cniVersion": "1.1.0", "name": name, "type": "virtnet-cni", **(subnet or {"subnet": "blue"})}
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"config": json.dumps(config)},
    }


def provider_network() -> Body:
    """The lab's physical network; the NIC that reaches it has another name on node3."""
    nics = {"defaultNic": "phys1", "customNics": [{"nic": "enp9s0", "nodes": ["node3"]}]}
    return {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "ProviderNetwork",
        "metadata": {"name": "rack"},
        "spec": nics,
    }


def lan() -> Body:
    """VLAN 100 of the physical network, where a machine outside is the gateway."""
    return {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "ClusterSubnet",
        "metadata": {"name": "lan"},
        "spec": {
            "cidrs": ["172.31.100.0/24"],
            "ranges": ["172.31.100.100-172.31.100.199"],
            "providerNetwork": "rack",
            "vlan": 100,
        },
    }


def vm(name: str, *, node: str = "", address: str = "", network: str = "blue", vhost_user: bool = False) -> Body:
    """A VM without addresses, or with one that it asks for; on one node, or wherever there is room.

    One with a vhost-user NIC is on nodes that can have it, and admission chooses the binding of its interface.
    """
    where = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    ask = {"annotations": {"network.kubevirt.io/addresses": f'{{"blue": ["{address}"]}}'}} if address else {}
    binding: Body = {"bridge": {}}
    if vhost_user:
        where = {"nodeSelector": {LABEL: "true"}}
        ask = {"annotations": {NIC: json.dumps({network: VHOSTUSER})}}
        binding = {}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "runStrategy": "Always",
            "template": {
                "metadata": ask,
                "spec": {
                    **where,
                    "domain": {
                        "devices": {"interfaces": [{"name": network, **binding}]},
                        "memory": {"guest": "128Mi"},
                    },
                    "networks": [{"name": network, "multus": {"networkName": f"{network}-net"}}],
                },
            },
        },
    }


def probe(node: str, *, name: str = "probe", network: str = "blue") -> Body:
    """An ordinary pod with a NIC on a VM's Subnet."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {"k8s.v1.cni.cncf.io/networks": f"{network}-net"},
        },
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "probe", "image": "probe", "command": ["sleep", "infinity"]}],
        },
    }
