"""Whether a Subnet hands out one more address to a NIC."""

from virtnet.addressing.pools import most_reserved
from virtnet.addressing.requests import NicRequest, Refused
from virtnet.kube.client import Cluster
from webhooks.cache import Cache
from webhooks.taking_back import take_back


async def refuse_one_more(nic: NicRequest, address: str, cluster: Cluster, cache: Cache, *, dry_run: bool) -> None:
    """Raises Refused where a NIC gets no address that it has not held; a stored VM keeps what it has.

    What its namespace holds for VMs and pods that never came is taken back before that.
    """
    subnet = cache.subnet(nic.subnet)
    if subnet is None or address in nic.settled:
        return
    if subnet.deleting:  # it goes with its last user
        raise Refused(
            f"{nic.subnet} is being deleted, and hands out no more addresses; use another Subnet, or make it anew "
            "when it is gone",
            code=409,
        )
    namespace, pools = nic.holder.namespace, cache.pools(subnet)
    most = most_reserved(pools, shared=nic.subnet.kind == "ClusterSubnet")
    reservations = cache.leases.reservations
    families = [pool.family for pool in pools] or ["MAC"]
    while reservations.count(namespace, nic.subnet, families) >= most:  # say for want of quota: others shall have some
        overdue = reservations.overdue(nic.subnet, families, namespace)
        if await take_back(cluster, cache.leases, overdue, dry_run=dry_run) is None:
            raise Refused(
                f"{nic.subnet}: namespace {namespace} holds {most} addresses for VMs and pods that are not there yet, "
                "or never were; make those, or wait a minute until they are free again",
                code=429,
            )
        if dry_run:
            return
