"""From a Subnet to its pools: one for each of its families, in the order of its cidrs."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from virtnet.addressing.pool import Interval, Pool
from virtnet.api import ClusterSubnet, Subnet, SubnetSpec
from virtnet.api.addresses import Address, Network, within
from virtnet.api.grammar import Ungrammatical
from virtnet.api.routes import DEFAULT_BYTES, OPTION_BYTES, option_bytes
from virtnet.api.strings import check

IPV6_MTU = 1280
"""The smallest that any link with IPv6 has."""

LARGEST_COUNT = 2**63 - 1
"""The largest number that the API server stores."""


LEAST_RESERVED, MOST_RESERVED = 64, 4096


class InvalidSubnet(ValueError):  # noqa: N818 - says what the Subnet is
    """A Subnet that cannot be served; the text says which field, its value and what to do."""


def pools_of(subnet: Subnet | ClusterSubnet) -> tuple[Pool, ...]:
    """The pools of a Subnet; none of one that pins MACs alone. Raises InvalidSubnet."""
    spec = subnet.spec
    try:
        check(spec)
    except Ungrammatical as error:
        raise InvalidSubnet(str(error)) from error
    if not spec.assigns_addresses:
        _require_no_addresses(spec)
        return ()
    networks = _networks(spec.cidrs)
    if spec.guest_mtu < IPV6_MTU and any(network.version == 6 for network in networks):
        raise InvalidSubnet(f"mtu: {spec.guest_mtu} is too small for IPv6, which needs {IPV6_MTU} (RFC 8200)")
    explicit = {one.version: _host("gateways", one, networks) for one in _addresses("gateways", spec.gateways)}
    gateways: dict[int, Address] = {
        network.version: explicit.get(network.version) or network[1] for network in networks
    }
    own = _own(spec, networks, gateways)
    former = [ip_address(one.address) for one in subnet.status.former_addresses]
    ranges = [_interval("ranges", text, networks) for text in spec.ranges]
    excludes = [_interval("excludes", text, networks) for text in spec.excludes]
    reservations = _reservations(subnet, networks)
    excludes += _allowed(subnet, networks, {*gateways.values(), *own, *reservations})
    hops = _addresses("routes", (route.gateway for route in spec.routes))
    for hop, route in zip(hops, spec.routes, strict=True):
        if _host("routes", hop, networks).version != ip_network(route.destination).version:
            raise InvalidSubnet(f"routes: {route.destination} by {route.gateway}: they are of different families")
    if (needed := option_bytes(spec.routes) + DEFAULT_BYTES) > OPTION_BYTES:
        raise InvalidSubnet(
            f"routes: they take {needed} bytes, DHCP has room for {OPTION_BYTES}; list fewer, wider ones"
        )
    pools = tuple(
        Pool.of(
            network,
            gateways[network.version],
            ranges=[interval for version, interval in ranges if version == network.version],
            excludes=[interval for version, interval in excludes if version == network.version],
            own=[address for address in own if address.version == network.version],
            former=[address for address in former if address in network],
            reservations={address: vm for address, vm in reservations.items() if address.version == network.version},
            hops=[hop for hop in hops if hop.version == network.version],
        )
        for network in networks
    )
    for pool in pools:
        if str(pool.gateway) in pool.reservations:
            raise InvalidSubnet(f"reservations: {pool.gateway} is the gateway; reserve another address")
        if twice := next((address for address in pool.own if str(address) in pool.reservations), None):
            raise InvalidSubnet(f"reservations: {twice} is the router's or the querier's; reserve another address")
    return pools


def home(text: str, pools: Sequence[Pool]) -> tuple[Pool, str]:
    """The pool of an address's family, and the address in canonical form.

    Raises ValueError for what is no address of one of these families.
    """
    if not pools:
        raise ValueError(
            f"{text} cannot be asked for: the Subnet has no cidrs, and the site's DHCP server gives its guests their "
            "addresses; remove the request"
        )
    families = " or ".join(pool.family for pool in pools)
    try:
        address = _address(text)
        pool = next(pool for pool in pools if pool.network.version == address.version)
    except (ValueError, StopIteration):
        examples = " or ".join(str(pool.example) for pool in pools)
        raise ValueError(f"{text} is not an {families} address; write it like {examples}") from None
    return pool, str(address)


def capacity(pools: Sequence[Pool]) -> int:
    """How many NICs can have an address of each family; LARGEST_COUNT if they are more, and where they get none."""
    return min([LARGEST_COUNT, *(pool.capacity for pool in pools)])


def most_reserved(pools: Sequence[Pool], *, shared: bool) -> int:
    """How many addresses of a Subnet one namespace may hold for what is not there yet.

    Of one that is ``shared`` with other namespaces, a quarter at most, but enough for a VM with 32 NICs.
    """
    return min(MOST_RESERVED, max(LEAST_RESERVED, capacity(pools) // 4)) if shared else MOST_RESERVED


def _require_no_addresses(spec: SubnetSpec) -> None:
    """Of a Subnet without cidrs. Raises InvalidSubnet for one that would have to have addresses."""
    if not spec.underlay:
        raise InvalidSubnet("cidrs: none; write a network such as 10.10.0.0/24")
    if spec.dhcp.enabled:
        raise InvalidSubnet(
            "dhcp.enabled: without cidrs the site gives guests their addresses; set it to false, or write cidrs"
        )
    needing = {
        "gateways": spec.gateways,
        "ranges": spec.ranges,
        "excludes": spec.excludes,
        "reservations": spec.reservations,
        "routes": spec.routes,
        "logicalGateway": spec.logical_gateway,
        "routerAddresses": spec.router_addresses,
        "multicast.querierAddress": spec.multicast.querier_address,
    }
    if found := [field for field, value in needing.items() if value]:
        raise InvalidSubnet(
            f"{', '.join(found)}: a Subnet without cidrs has no addresses; remove these, or write cidrs"
        )


def _networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    found: list[Network] = []
    for cidr in cidrs:
        try:
            network = ip_network(cidr)
        except ValueError as error:
            raise InvalidSubnet(f"cidrs: {cidr}: {error}; write a network such as 10.10.0.0/24") from error
        if any(network.version == other.version for other in found):
            raise InvalidSubnet(f"cidrs: {found[0]} and {cidr} are of one family; keep one of them")
        found.append(network)
    return tuple(found)


def _address(text: str) -> Address:
    """Raises ValueError, also for addresses with a zone, and for IPv4 ones written as IPv6."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
        raise ValueError(text)
    return address


def _addresses(field: str, texts: Iterable[str]) -> list[Address]:
    found = []
    for text in texts:
        try:
            found.append(_address(text))
        except ValueError as error:
            raise InvalidSubnet(f"{field}: {text} is not an IP address") from error
    return found


def _host(field: str, address: Address, networks: Iterable[Network]) -> Address:
    networks = tuple(networks)
    for network in networks:
        ends = (network.network_address, *((network.broadcast_address,) if network.version == 4 else ()))
        if address in network and address not in ends:
            return address
    raise InvalidSubnet(f"{field}: {address} is no host address of {_listed(networks)}")


def _interval(field: str, text: str, networks: Iterable[Network]) -> tuple[int, Interval]:
    """The family, as 4 or 6, and the range."""
    first, _, last = text.partition("-")
    try:
        low, high = _address(first), _address(last or first)
    except ValueError as error:
        raise InvalidSubnet(f"{field}: {text} is neither an address nor a range like 10.10.0.10-10.10.0.99") from error
    networks = tuple(networks)
    if not any(low in network and high in network for network in networks):
        raise InvalidSubnet(f"{field}: {text} is not inside {_listed(networks)}")
    if int(low) > int(high):
        raise InvalidSubnet(f"{field}: {text} ends before it begins; write {last}-{first}")
    return low.version, (int(low), int(high))


def _own(spec: SubnetSpec, networks: Sequence[Network], gateways: Mapping[int, Address]) -> list[Address]:
    """The addresses of the Vpc's router beside physical gateways, and of the multicast querier."""
    found: dict[int, Address] = {}
    for address in _addresses("routerAddresses", spec.router_addresses):
        if _host("routerAddresses", address, networks) == gateways[address.version]:
            raise InvalidSubnet(
                f"routerAddresses: {address} is the gateway's, a machine outside; give the router another"
            )
        if address.version in found:
            raise InvalidSubnet(f"routerAddresses: {address} is the second of its family; keep one")
        found[address.version] = address
    multicast = spec.multicast
    if multicast.querier_address:
        (querier,) = _addresses("multicast.querierAddress", (multicast.querier_address,))
        return [*found.values(), _host("multicast.querierAddress", querier, networks)]
    if multicast.querier and spec.physical_gateway and 4 in gateways and 4 not in found:
        raise InvalidSubnet(
            "multicast.querier: no address to ask from, because the gateway is outside; set multicast.querierAddress"
        )
    return list(found.values())


def _allowed(
    subnet: Subnet | ClusterSubnet, networks: Sequence[Network], others: Collection[Address]
) -> Iterator[tuple[int, Interval]]:
    """What is nobody's, for several may send from it. ``others``: what has a holder, or is kept for one."""
    for text in subnet.spec.port_security.allowed_addresses:
        allowed, what = ip_network(text), f"portSecurity.allowedAddresses: {text}"
        if subnet.namespace and not any(within(allowed, network) for network in networks):
            raise InvalidSubnet(f"{what} is not inside {_listed(networks)}; others are for a ClusterSubnet")
        if wider := next((network for network in networks if within(network, allowed)), None):
            raise InvalidSubnet(f"{what} is all of {wider}; name less of it, or make NICs exempt from port security")
        if taken := next((address for address in others if address in allowed), None):
            raise InvalidSubnet(f"{what} has {taken}, which is the gateway's, the router's or reserved; name others")
        if any(network.version == allowed.version and network.overlaps(allowed) for network in networks):
            yield allowed.version, (int(allowed.network_address), int(allowed.broadcast_address))


def _reservations(subnet: Subnet | ClusterSubnet, networks: Iterable[Network]) -> dict[Address, str]:
    kept: dict[Address, str] = {}
    for one in subnet.spec.reservations:
        (address,) = _addresses("reservations", (one.address,))
        vm = _vm(one.vm, subnet.namespace)
        if kept.setdefault(_host("reservations", address, networks), vm) != vm:
            raise InvalidSubnet(f"reservations: {address} is kept for {kept[address]} and for {vm}; remove one of them")
    return kept


def _vm(text: str, namespace: str) -> str:
    if "/" in text:
        if namespace and not text.startswith(f"{namespace}/"):
            raise InvalidSubnet(f"reservations: VM {text} is in another namespace; a Subnet serves {namespace} only")
        return text
    if not namespace:
        raise InvalidSubnet(f"reservations: VM {text} needs its namespace in a ClusterSubnet; write namespace/{text}")
    return f"{namespace}/{text}"


def _listed(networks: Iterable[Network]) -> str:
    return " or ".join(map(str, networks))
