"""Validating Subnets: what the CRD's own rules cannot say, because it takes arithmetic or other objects."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, home, pools_of
from virtnet.addressing.wants import Refused
from virtnet.api import ClusterSubnet, Subnet
from virtnet.api.addresses import Address, is_mac
from virtnet.api.lease import lease_name
from webhooks.cache import Cache, vpc_of


def parse(body: Mapping[str, Any]) -> Subnet | ClusterSubnet:
    return Subnet.parse(body) if body["kind"] == "Subnet" else ClusterSubnet.parse(body)


def claimed(pools: Iterable[Pool]) -> Iterator[tuple[str, Address]]:
    """The addresses that nothing but the network itself may have, and what for."""
    for pool in pools:
        yield "gateway", pool.gateway
        yield from (("address of the router or the querier", address) for address in pool.own)


def shared(one: Subnet | ClusterSubnet, other: Subnet | ClusterSubnet) -> str:
    """What two Subnets have in common that must not have an address twice; empty for nothing."""
    if vpc_of(one) == vpc_of(other):
        return "Vpc"
    segments = [(s.spec.provider_network, s.spec.vlan) for s in (one, other)]
    return "VLAN" if one.spec.underlay and segments[0] == segments[1] else ""


class SubnetChecker:
    """Refuses Subnets that could not be served, or whose going would hurt."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def check(self, body: Mapping[str, Any], old: Mapping[str, Any] | None) -> list[str]:
        """A Subnet that is created or changed: what its owner should know. Raises Refused."""
        subnet = parse(body)
        if old is not None and parse(old).spec == subnet.spec:
            return []
        try:
            pools = pools_of(subnet)
        except InvalidSubnet as error:
            raise Refused(f"{subnet.ref}: {error}") from error
        for other in (*self._cache.subnets, *self._cache.cluster_subnets):
            where = shared(subnet, other)
            common = subnet.spec.overlaps(other.spec) if other.ref != subnet.ref and where else None
            if common is not None:
                raise Refused(
                    f"{subnet.ref}: {common[0]} overlaps {common[1]} of {other.ref} in the same {where}; "
                    f"choose another network or another {where}",
                    code=409,
                )
        for field, address in claimed(pools):
            lease = self._cache.leases.get(lease_name(str(address), subnet.ref))
            if lease is not None:
                raise Refused(f"{subnet.ref}: {field} {address} is held by {lease.holder}; choose another", code=409)
        vpc = self._vpc(subnet)
        if vpc and subnet.namespace not in vpc:
            raise Refused(
                f"{subnet.ref}: {subnet.spec.vpc.kind} {subnet.spec.vpc.name} does not allow namespace "
                f"{subnet.namespace}; ask its owner, or name another Vpc",
                code=403,
            )
        return list(self._left_behind(subnet, pools, parse(old))) if old is not None else []

    def _left_behind(
        self, subnet: Subnet | ClusterSubnet, pools: Sequence[Pool], before: Subnet | ClusterSubnet
    ) -> Iterator[str]:
        """Of addresses in use that a change takes out of the pools: their holders keep them."""
        try:
            earlier = pools_of(before)
        except InvalidSubnet:  # written by an earlier version, or while nobody checked; this change mends it
            return
        left = [
            lease
            for lease in self._cache.leases.of(str(subnet.ref))
            if not is_mac(lease.address)
            and home(lease.address, earlier)[0].offers(lease.address)
            and not home(lease.address, pools)[0].offers(lease.address)
        ]
        kept = {address: vm for pool in pools for address, vm in pool.reservations.items()}
        others = [lease for lease in left if lease.address not in kept]
        if others:
            yield (
                f"{subnet.ref}: {len(others)} addresses in use are now excluded or outside of ranges, one of them "
                f"{others[0].address} of {others[0].holder}; their holders keep them"
            )
        for lease in left:
            vm = kept.get(lease.address)
            if vm is not None and not lease.holder.startswith(f"VM {vm}, "):
                yield f"{subnet.ref}: {lease.address}, now reserved for VM {vm}, stays with {lease.holder}"

    def _vpc(self, subnet: Subnet | ClusterSubnet) -> tuple[str, ...]:
        """The namespaces that the Vpc allows; empty for all, also while it does not exist yet."""
        if subnet.spec.vpc.kind == "Vpc" or not subnet.namespace:
            return ()
        found = self._cache.cluster_vpcs.get(subnet.spec.vpc.name)
        return found.spec.allowed_namespaces if found else ()

    def check_deletion(self, body: Mapping[str, Any]) -> None:
        """A Subnet that is deleted. Raises Refused while somebody has an address of it."""
        subnet = parse(body)
        leases = self._cache.leases.of(str(subnet.ref))
        if leases:
            raise Refused(
                f"{subnet.ref} is in use: {len(leases)} leases, one of them {leases[0].address} of "
                f"{leases[0].holder}; delete its VMs first",
                code=409,
            )
