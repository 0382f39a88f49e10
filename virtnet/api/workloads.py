"""What virtnet reads of Kubernetes' own kinds: pods, what makes them, nodes, Services' networks, the leader's Lease."""

from collections.abc import Mapping
from typing import Any

from virtnet.api.meta import controller_of

Body = Mapping[str, Any]


def owning_stateful_set(pod: Body) -> str:
    """The name of the StatefulSet that a pod is of; empty for any other pod."""
    return controller_of(pod, "apps", "StatefulSet")


def node_of(pod: Body) -> str:
    """The name of the node that a pod is placed on; empty before it is."""
    return pod["spec"].get("nodeName") or ""


def has_ended(pod: Body) -> bool:
    """Whether all of a pod's containers have ended for good."""
    return _phase(pod) in ("Succeeded", "Failed")


def is_starting(pod: Body) -> bool:
    """Whether not all of a pod's containers have started yet."""
    return _phase(pod) == "Pending"


def _phase(pod: Body) -> str:
    return (pod.get("status") or {}).get("phase") or ""


def ordinals_of(stateful_set: Body) -> range:
    """The ordinals of the pods that a StatefulSet is to have."""
    spec = stateful_set["spec"]
    first = (spec.get("ordinals") or {}).get("start") or 0
    return range(first, first + spec.get("replicas", 1))


def template_annotations(stateful_set: Body) -> Mapping[str, str]:
    """The annotations that a StatefulSet gives its pods."""
    template = stateful_set["spec"].get("template") or {}
    return (template.get("metadata") or {}).get("annotations") or {}


def template_labels(workload: Body) -> Mapping[str, str]:
    """The labels that a workload gives its pods, or a VM its instances; what is no text is left out."""
    found = _within(workload, "spec", "template", "metadata", "labels")
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, Mapping) else {}


def template_spec(workload: Body) -> object:
    """The spec that a workload gives its pods, or a VM its instances, of whatever type it is."""
    return _within(workload, "spec", "template", "spec")


def _within(body: Body, *path: str) -> object:
    found: object = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def internal_ip(node: Body) -> str:
    """A Node's first InternalIP; empty where it has none."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    return next((one["address"] for one in addresses if one.get("type") == "InternalIP"), "")


def node_addresses(node: Body) -> tuple[str, ...]:
    """A Node's addresses of every kind, but for names."""
    addresses = (node.get("status") or {}).get("addresses") or ()
    return tuple(one["address"] for one in addresses if one.get("type", "").endswith("IP"))


def service_cidrs(service_cidr: Body) -> tuple[str, ...]:
    """The networks of a ServiceCIDR."""
    return tuple((service_cidr.get("spec") or {}).get("cidrs") or ())


def lease_holder(lease: Body) -> str:
    """Who holds a Lease; empty for nobody."""
    return lease["spec"].get("holderIdentity") or ""
