"""VMs and pods that a Subnet names and that do not exist: they may come later, or were misspelt."""

from collections.abc import Iterator, Sequence

import structlog

from virtnet.features.sources import AnySubnet
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.kube.kinds import PODS, VMIS, VMS, Kind
from webhooks.together import together

log = structlog.get_logger()

MOST_ASKED = 16
"""Names of one field, so that a long list costs no more than a short one."""

MACHINES = (VMS, VMIS)


async def absent_owners(cluster: Cluster, new: AnySubnet, old: AnySubnet | None) -> list[str]:
    """What the owner of a Subnet should know of those that it names newly."""
    before = dict(_named(old)) if old is not None else {}
    try:
        found = [await _absent(cluster, new, field, names, before.get(field, ())) for field, names in _named(new)]
    except ApiError as error:
        log.warning("not asked whom a Subnet names", subnet=str(new.ref), error=str(error))
        return []
    return [line for line in found if line]


def _named(subnet: AnySubnet) -> Iterator[tuple[str, tuple[str, ...]]]:
    spec = subnet.spec
    yield "reservations", tuple(one.vm for one in spec.reservations)
    yield "routers", spec.routers
    yield "portSecurity.exempt", spec.port_security.exempt
    yield "vlanTrunks.vms", tuple(vm for trunk in spec.vlan_trunks for vm in trunk.vms)


async def _absent(cluster: Cluster, subnet: AnySubnet, field: str, names: Sequence[str], before: Sequence[str]) -> str:
    """The warning of one field; empty where all are there."""
    asked = [name for name in dict.fromkeys(names) if name not in before][:MOST_ASKED]
    kinds = MACHINES if field == "reservations" else (*MACHINES, PODS)
    there = await together(_exists(cluster, kinds, subnet.namespace, name) for name in asked)
    absent = [name for name, exists in zip(asked, there, strict=True) if not exists]
    if not absent:
        return ""
    what = "VM" if field == "reservations" else "VM or pod"
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    return (
        f"{subnet.ref}: {field}: there is no {what} {', '.join(absent[:3])}{more} yet; create it, or name it as it is "
        "called"
    )


async def _exists(cluster: Cluster, kinds: Sequence[Kind], namespace: str, name: str) -> bool:
    """``name``: with its namespace, where that is not the Subnet's."""
    place, _, own = name.rpartition("/")
    for kind in kinds:
        if await cluster.exists(kind, own, place or namespace):
            return True
    return False
