"""Whether a Subnet may be written: what its CRD's own rules cannot say, for it takes arithmetic or other objects."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.api.addresses import Address
from virtnet.api.lease import lease_name
from virtnet.engine.feature import Invalid
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.macs import twice
from virtnet.features.obstacles import PENDING, obstacles, vpc_of
from virtnet.features.reserved_networks import reserved
from virtnet.features.sources import LEASES, PROVIDER_NETWORKS, AnySubnet, segment, vpc_key
from virtnet.features.subnet_changes import change_warnings


def check_subnet(new: AnySubnet, old: AnySubnet | None, reader: Reader) -> Sequence[str]:
    """Refuse what could not be served, and warn of what its owner should know."""
    if old is not None and old.spec == new.spec:
        return ()
    warnings = []
    for found in obstacles(ObjectKey.of(new), reader):
        if found.code:
            raise Invalid(f"{new.ref}: {found.message}", code=found.code)
        if old is None and found.reason != PENDING:  # later, its condition says so
            warnings.append(f"{new.ref}: {found.message}")
    if old is None or old.spec.cidrs != new.spec.cidrs:
        for problem in reserved(new, reader):
            raise Invalid(f"{new.ref}: {problem}")
    _refuse_into_what_goes(new, old, reader)
    warnings += _told_nobody(new, old)
    pools = pools_of(new)
    _refuse_another_gateway(new, pools, old)
    _refuse_held(new, pools, old, reader)
    return (*warnings, *(change_warnings(new, pools, old, reader) if old is not None else ()))


def _told_nobody(new: AnySubnet, old: AnySubnet | None) -> Iterator[str]:
    """What DHCP is to tell though it is off."""
    dhcp = new.spec.dhcp
    if dhcp.enabled or (old is not None and old.spec.dhcp == dhcp):
        return
    options = {"bootFileName": dhcp.boot_file_name, "tftpServer": dhcp.tftp_server, "ntpServers": dhcp.ntp_servers}
    if named := [name for name, value in options.items() if value]:
        yield f"{new.ref}: dhcp: nobody is told {', '.join(named)}, for enabled is false; set it, or remove them"


def _refuse_into_what_goes(new: AnySubnet, old: AnySubnet | None, reader: Reader) -> None:
    """Nothing comes into a Vpc, or onto a ProviderNetwork, that waits for its last users."""
    going = []
    vpc = vpc_of(vpc_key(new), reader)
    if old is None and vpc is not None and vpc.deleting:
        going.append(f"{new.spec.vpc.kind} {vpc.key}")
    if new.spec.underlay and (old is None or old.spec.provider_network != new.spec.provider_network):
        network = reader.get(PROVIDER_NETWORKS, PROVIDER_NETWORKS.key(new.spec.provider_network))
        if network is not None and network.deleting:
            going.append(f"ProviderNetwork {network.name}")
    for one in going:
        raise Invalid(f"{new.ref}: {one} is being deleted; name another, or make it anew when it is gone", code=409)


def _refuse_another_gateway(new: AnySubnet, pools: Iterable[Pool], old: AnySubnet | None) -> None:
    """A network that becomes wider keeps its gateway: guests of both widths route by it."""
    if old is None or old.spec.cidrs == new.spec.cidrs:
        return
    with contextlib.suppress(InvalidSubnet):  # stored before it was checked
        for before in pools_of(old):
            for pool in pools:
                if pool.network.version == before.network.version and pool.gateway != before.gateway:
                    raise Invalid(
                        f"{new.ref}: cidrs: the gateway of {pool.network} would be {pool.gateway}; keep that of "
                        f"{before.network}, and write {before.gateway} into gateways"
                    )


def _refuse_held(new: AnySubnet, pools: Iterable[Pool], old: AnySubnet | None, reader: Reader) -> None:
    """Nothing of its own may be a NIC's, nor a MAC of it one that another on the same VLAN has."""
    for field, address in _own(pools):
        lease = reader.get(LEASES, LEASES.key(lease_name(str(address), new.ref)))
        if lease is not None:
            raise Invalid(f"{new.ref}: {field} {address} is held by {lease.holder}; choose another", code=409)
    if old is None or segment(old) != segment(new):
        for problem in twice(new, reader):
            raise Invalid(
                f"{new.ref}: {problem}, on the same VLAN; use another, or give one of them another MAC", code=409
            )


def _own(pools: Iterable[Pool]) -> Iterator[tuple[str, Address]]:
    """The addresses that nothing but the network itself may have, and what for."""
    for pool in pools:
        yield "gateway", pool.gateway
        yield from (("address of the router or the querier", address) for address in pool.own)
