"""Validating Subnets: what the CRD's own rules cannot say, because it takes arithmetic or other objects."""

from collections.abc import Mapping
from typing import Any

from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.addressing.wants import Refused
from virtnet.api import ClusterSubnet, Subnet
from virtnet.api.lease import lease_name
from webhooks.cache import Cache, vpc_of


def parse(body: Mapping[str, Any]) -> Subnet | ClusterSubnet:
    return Subnet.parse(body) if body["kind"] == "Subnet" else ClusterSubnet.parse(body)


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

    def check(self, body: Mapping[str, Any], old: Mapping[str, Any] | None) -> None:
        """A Subnet that is created or changed. Raises Refused."""
        subnet = parse(body)
        if old is not None and parse(old).spec == subnet.spec:
            return
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
        for gateway in (pool.gateway for pool in pools):
            lease = self._cache.leases.get(lease_name(str(gateway), subnet.ref))
            if lease is not None:
                raise Refused(f"{subnet.ref}: gateway {gateway} is held by {lease.holder}; choose another", code=409)
        vpc = self._vpc(subnet)
        if vpc and subnet.namespace not in vpc:
            raise Refused(
                f"{subnet.ref}: {subnet.spec.vpc.kind} {subnet.spec.vpc.name} does not allow namespace "
                f"{subnet.namespace}; ask its owner, or name another Vpc",
                code=403,
            )

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
