"""Which devices a pod asks for, and which it gets. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from virtnet.lab.standin.kubevirt import Object

Allotment = dict[str, dict[str, list[str]]]
"""Ids by container and resource."""

KUBEVIRTS_OWN = "devices.kubevirt.io/"
"""Every node of a lab has these, without a plugin."""


class NoDevices(Exception):  # noqa: N818 - says what is the matter
    """A pod cannot have what it asks for; the message is kubelet's."""


def requested(container: Mapping[str, Any]) -> dict[str, int]:
    """The devices that a container asks for: resources with a domain's name in front, of which requests are limits."""
    limits = (container.get("resources") or {}).get("limits") or {}
    return {name: int(count) for name, count in limits.items() if is_device(name) and int(count)}


def is_device(resource: str) -> bool:
    domain, slash, _ = resource.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not resource.startswith(KUBEVIRTS_OWN)


def total(pod: Object) -> Counter[str]:
    """What a pod asks for with all of its containers."""
    return sum((Counter(requested(one)) for one in pod["spec"]["containers"]), Counter[str]())


def allot(pod: Object, healthy: Mapping[str, Iterable[str]], taken: AbstractSet[tuple[str, str]]) -> Allotment:
    """Devices that nobody has, for each container; in order, so that a test knows which. Raises NoDevices.

    ``taken``: resources and ids of those that others have.
    """
    free = {resource: [id_ for id_ in sorted(ids) if (resource, id_) not in taken] for resource, ids in healthy.items()}
    found: Allotment = {}
    for container in pod["spec"]["containers"]:
        for resource, count in requested(container).items():
            if resource not in free:
                raise NoDevices(f"cannot allocate unregistered device {resource}")
            if len(free[resource]) < count:
                raise NoDevices(
                    f"requested number of devices unavailable for {resource}. Requested: {count}, Available: "
                    f"{len(free[resource])}"
                )
            found.setdefault(container["name"], {})[resource] = free[resource][:count]
            del free[resource][:count]
    return found


def dealt(devices: Allotment) -> dict[str, list[str]]:
    """All of a pod's ids by resource, in the order in which Multus gives them to networks."""
    found: dict[str, list[str]] = {}
    for resources in devices.values():
        for resource, ids in resources.items():
            found[resource] = sorted([*found.get(resource, []), *ids])
    return found
