"""Who has virtual functions of a NIC: pods that one is attached to, or that the kubelet has allotted one. Pure."""

from collections.abc import Iterable, Mapping

from virtnet.node.journal import Entry
from virtnet.node.nic_policies.plan import PfNow


def users(now: PfNow, entries: Iterable[Entry], allotted: Mapping[str, str]) -> list[tuple[int, str, str]]:
    """Number and address of each virtual function that is in use, and its pod. ``allotted``: pods by device."""
    virtual = now.virtual or {}
    pods = {device: pod for device, pod in allotted.items() if device in virtual}
    pods |= {entry.device: entry.pod for entry in entries if entry.device in virtual}
    return sorted((virtual[device], device, pod) for device, pod in pods.items())
