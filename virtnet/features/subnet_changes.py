"""What those who use a Subnet notice of a change of it: told at admission, with how many they are."""

from collections.abc import Iterator, Sequence

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, home, pools_of
from virtnet.api.addresses import is_mac
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.nads import NIC_USERS
from virtnet.features.sources import LEASES, AnySubnet
from virtnet.topology.switch import present_interfaces


def change_warnings(new: AnySubnet, pools: Sequence[Pool], old: AnySubnet, reader: Reader) -> Iterator[str]:
    """The warnings."""
    try:
        earlier = pools_of(old)
    except InvalidSubnet:  # written by an earlier version, or while nobody checked; this change mends it
        return
    held = [lease for lease in reader.by(LEASES, "subnet", ObjectKey.of(new)) if not is_mac(lease.address)]
    yield from _left_behind(new, pools, earlier, held)
    if held:
        yield from _gateways(new, pools, old, earlier, held)
        yield from _options(new, old, held)
        yield from _networks(new, pools, earlier, held)
    yield from _mtu(new, old, reader)


def _left_behind(
    new: AnySubnet, pools: Sequence[Pool], earlier: Sequence[Pool], held: Sequence[HeldAddress]
) -> Iterator[str]:
    """Of addresses in use that a change takes out of the pools: their holders keep them."""
    left = [
        lease
        for lease in held
        if home(lease.address, earlier)[0].offers(lease.address)
        and not home(lease.address, pools)[0].offers(lease.address)
    ]
    kept = {address: vm for pool in pools for address, vm in pool.reservations.items()}
    others = [lease for lease in left if lease.address not in kept]
    if others:
        yield (
            f"{new.ref}: {len(others)} addresses in use are now excluded or outside of ranges, one of them "
            f"{others[0].address} of {others[0].holder}; their holders keep them"
        )
    for lease in left:
        vm = kept.get(lease.address)
        if vm is not None and not lease.holder.startswith(f"VM {vm}, "):
            yield f"{new.ref}: {lease.address}, now reserved for VM {vm}, stays with {lease.holder}"


def _gateways(
    new: AnySubnet, pools: Sequence[Pool], old: AnySubnet, earlier: Sequence[Pool], held: Sequence[HeldAddress]
) -> Iterator[str]:
    """Of addresses that guests route by: they learn new ones by DHCP."""
    routers = {interface.ip for interface in present_interfaces(old, earlier)}
    routers -= {interface.ip for interface in present_interfaces(new, pools)}
    gateways = {pool.gateway for pool in earlier} - {pool.gateway for pool in pools}
    for address in sorted(gateways | routers, key=lambda one: (one.version, int(one))):
        users = [lease for lease in held if home(lease.address, earlier)[0].network.version == address.version]
        if not users:
            continue
        answers = ", for which the router still answers for it" if address in routers else ""
        yield (
            f"{new.ref}: {len(users)} NICs route by {address}, one of them {users[0].address} of {users[0].holder}: "
            f"VMs until they renew their leases, at most {new.spec.dhcp.lease_seconds} s{answers}; pods until they are "
            "made anew"
        )


def _options(new: AnySubnet, old: AnySubnet, held: Sequence[HeldAddress]) -> Iterator[str]:
    """Of what else guests were told when they came."""
    changed = [name for name in ("routes", "dns", "dhcp") if getattr(new.spec, name) != getattr(old.spec, name)]
    if changed:
        yield (
            f"{new.ref}: {len({lease.port for lease in held})} NICs in use have {' and '.join(changed)} of before: VMs "
            f"until they renew their leases, at most {old.spec.dhcp.lease_seconds} s; pods until they are made anew"
        )


def _networks(
    new: AnySubnet, pools: Sequence[Pool], earlier: Sequence[Pool], held: Sequence[HeldAddress]
) -> Iterator[str]:
    """Of networks that become wider, or that come."""
    count, known = len({lease.port for lease in held}), {pool.family: pool.network for pool in earlier}
    for pool in pools:
        if pool.family not in known:
            yield (
                f"{new.ref}: {count} NICs in use get an {pool.family} address when their VMs start next, and pods when "
                "they are made anew"
            )
        elif pool.network != known[pool.family]:
            yield (
                f"{new.ref}: {count} NICs in use take {known[pool.family]} for their network and reach the rest of "
                f"{pool.network} by the gateway: VMs until they renew their leases, at most "
                f"{new.spec.dhcp.lease_seconds} s; pods until they are made anew"
            )


def _mtu(new: AnySubnet, old: AnySubnet, reader: Reader) -> Iterator[str]:
    """Of NICs whose MTU is another than that of NICs from now on."""
    mtu = new.spec.guest_mtu
    if mtu == old.spec.guest_mtu:
        return
    running = [user for user in reader.by(NIC_USERS, "subnet", str(new.ref)) if user.mtu not in (0, mtu)]
    if running:
        yield (
            f"{new.ref}: {len(running)} NICs keep their MTU, one of them {running[0].mtu} of {running[0].title}, until "
            "their VMs or pods are started anew; live migration does not change it"
        )
