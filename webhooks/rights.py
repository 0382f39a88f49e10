"""The rights of the webhook's service account: what its checks watch follows from the features."""

from itertools import groupby
from typing import Any

from virtnet.api import AddressLease, NodeNetwork
from virtnet.api.port_mirror import ClusterPortMirror
from virtnet.kube import kinds
from virtnet.kube.kinds import CRDS, EVENTS, IPAM_CLAIMS, NADS, NAMESPACES, NODES, PODS, SERVICE_CIDRS, VMIS, VMS, Kind
from virtnet.kube.watched import BY_WEBHOOK

ACCOUNT = {"name": "virtnet-webhook", "namespace": "virtnet"}
_WATCH = ("list", "watch")
_READ = ("get", *_WATCH)
_NEVER_BY_NAME = (NODES, SERVICE_CIDRS, kinds.of(NodeNetwork), kinds.of(ClusterPortMirror))
"""What checks look for among all of these."""
_FURTHER = (
    (CRDS, ("get",)),  # whether an object was deleted, or went with the definition of its kind
    (NADS, _READ),
    (NAMESPACES, _READ),
    (IPAM_CLAIMS, ("get",)),
    (VMS, ("get",)),
    (VMIS, ("get",)),
    (PODS, ("get",)),  # whether one has come that addresses are held for
    (kinds.of(AddressLease), ("create", "patch", "delete")),
    (EVENTS, ("create",)),  # of VMs whose launcher pods are refused
)


def rights() -> list[dict[str, Any]]:
    """The account, its role and their binding."""
    api, name = "rbac.authorization.k8s.io", {"name": ACCOUNT["name"]}
    watched = ((one.kind, _WATCH if one.kind in _NEVER_BY_NAME else _READ) for one in BY_WEBHOOK)
    granted = sorted({*watched, *_FURTHER}, key=_order)
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": ACCOUNT},
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", **name},
            "subjects": [{"kind": "ServiceAccount", **ACCOUNT}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "ClusterRole",
            "metadata": name,
            "rules": [
                {"apiGroups": [group], "resources": [kind.plural for kind, _ in members], "verbs": list(verbs)}
                for (group, verbs), members in groupby(granted, lambda one: (one[0].group, one[1]))
            ],
        },
    ]


def _order(granted: tuple[Kind, tuple[str, ...]]) -> tuple[str, tuple[str, ...], str]:
    kind, verbs = granted
    return kind.group, verbs, kind.plural
