"""What the rows of NICs go by of workloads: a collection of its own, so that nothing else of them concerns NICs."""

from collections.abc import Mapping
from typing import NamedTuple

from virtnet.engine.collection import Collection, Projection
from virtnet.engine.keys import ObjectKey
from virtnet.features.group_requests import NO_ADDRESSES, NO_GROUPS, NO_LABELS
from virtnet.features.workloads import Pod, Vm, VmInstance


class WorkloadPart(NamedTuple):
    """Of a VM, its instance, or an ordinary pod."""

    labels: Mapping[str, str] = NO_LABELS
    security_groups: Mapping[str, tuple[str, ...]] = NO_GROUPS
    """Network -> names of groups."""
    allowed_addresses: Mapping[str, tuple[str, ...]] = NO_ADDRESSES
    """Network -> CIDRs that its NIC is to send from besides."""


WORKLOADS: Collection[WorkloadPart] = Collection("WorkloadPart")


def _part(key: ObjectKey, workload: Vm | Pod) -> dict[ObjectKey, WorkloadPart]:
    found = WorkloadPart(workload.labels, workload.security_groups, workload.allowed_addresses)
    return {key: found} if found != WorkloadPart() else {}


def _instance_part(key: ObjectKey, instance: VmInstance) -> dict[ObjectKey, WorkloadPart]:
    return {key: WorkloadPart(instance.labels)}


WORKLOAD = Projection(WORKLOADS, _part)
INSTANCE = Projection(WORKLOADS, _instance_part)
