"""What the demonstration applies: plain manifests, as a person writes them."""

from typing import Any

NAMESPACE = "demo"
Body = dict[str, Any]


def namespace() -> Body:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def subnet() -> Body:
    return {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "Subnet",
        "metadata": {"name": "blue", "namespace": NAMESPACE},
        "spec": {"cidrs": ["10.10.0.0/24"], "excludes": ["10.10.0.2-10.10.0.9"]},
    }


def nad() -> Body:
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "blue-net", "namespace": NAMESPACE},
        "spec": {"config": '{"cniVersion":"1.1.0","name":"blue-net","type":"virtnet-cni","subnet":"blue"}'},
    }


def vm(name: str, *, node: str = "", address: str = "") -> Body:
    """A VM without addresses, or with one that it asks for; on one node, or wherever there is room."""
    where = {"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}
    ask = {"annotations": {"network.kubevirt.io/addresses": f'{{"blue": ["{address}"]}}'}} if address else {}
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
                        "devices": {"interfaces": [{"name": "blue", "bridge": {}}]},
                        "memory": {"guest": "128Mi"},
                    },
                    "networks": [{"name": "blue", "multus": {"networkName": "blue-net"}}],
                },
            },
        },
    }


def probe(node: str) -> Body:
    """An ordinary pod with a NIC on the same Subnet."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "probe",
            "namespace": NAMESPACE,
            "annotations": {"k8s.v1.cni.cncf.io/networks": "blue-net"},
        },
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "probe", "image": "probe", "command": ["sleep", "infinity"]}],
        },
    }
