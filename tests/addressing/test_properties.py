"""Pools of any Subnet, beside sets that are written down address by address; and what holds of all requests and leases."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tests.addressing.specs import addresses, subnets
from virtnet.addressing.occupied import Occupied
from virtnet.addressing.pool import Pool
from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.addressing.requests import NicRequest, Past, Refused, RequestedNic, nic_request
from virtnet.api import ClusterSubnet, Owner, SubnetRef
from virtnet.api.addresses import Address, canonical
from virtnet.api.lease import lease_name
from virtnet.api.records import PinnedNic, PinnedRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VMS = st.sampled_from(["demo/db", "demo/web", "demo/other"])


def served(subnet: ClusterSubnet) -> tuple[Pool, ...]:
    try:
        return pools_of(subnet)
    except InvalidSubnet:
        reject()


@settings(max_examples=60)
@given(subnets(wild=True))
def test_whatever_the_schema_lets_in_is_served_or_refused(subnet: ClusterSubnet) -> None:
    said = "served: "
    try:
        pools_of(subnet)
    except InvalidSubnet as refusal:
        said = str(refusal)
    assert ": " in said, "which field, and what is wrong with it"


def spanned(texts: tuple[str, ...], pool: Pool) -> set[Address]:
    """All addresses of a pool's family in these ranges."""
    found: set[Address] = set()
    for text in texts:
        first, _, last = text.partition("-")
        low, high = ip_address(first), ip_address(last or first)
        if low.version == pool.network.version:
            found |= {ip_address(number) for number in range(int(low), int(high) + 1)}
    return found


def forbidden(subnet: ClusterSubnet, pool: Pool) -> set[Address]:
    """What no NIC may have: the ends, the gateway, the router's and the querier's."""
    ends = {pool.network.network_address} | ({pool.network.broadcast_address} if pool.network.version == 4 else set())
    spec = subnet.spec
    own = [*spec.router_addresses, *filter(None, [spec.multicast.querier_address])]
    gateways = [ip_address(one) for one in spec.gateways]
    gateway = next((one for one in gateways if one.version == pool.network.version), pool.network[1])
    return ends | {gateway} | {ip_address(one) for one in own}


def automatic(subnet: ClusterSubnet, pool: Pool) -> set[Address]:
    """What is handed out to whoever asks for nothing."""
    spec = subnet.spec
    ranges = spanned(spec.ranges, pool)
    reserved = {ip_address(one.address) for one in spec.reservations}
    hops = {ip_address(route.gateway) for route in spec.routes}
    whole = ranges or set(pool.network)
    return whole - forbidden(subnet, pool) - spanned(spec.excludes, pool) - reserved - hops


@settings(max_examples=60)
@given(subnets(), st.data())
def test_exactly_what_is_free_is_offered_and_full_is_full(subnet: ClusterSubnet, data: st.DataObject) -> None:
    for pool in served(subnet):
        expected = automatic(subnet, pool)
        everything = sorted(map(str, pool.network))
        taken = data.draw(st.sets(st.sampled_from(everything), max_size=8))
        occupied = Occupied(int(ip_address(address)) for address in taken)
        cooling = {address: NOW + timedelta(seconds=n - 2) for n, address in enumerate(everything[::3])}
        offered = list(pool.candidates(data.draw(st.text(max_size=5)), occupied, cooling, NOW))
        assert len(offered) == len(set(offered))
        assert {ip_address(address) for address in offered} == expected - set(map(ip_address, taken))
        assert {address for address in everything if pool.offers(address)} == set(map(str, expected))
        reservations = {ip_address(one.address) for one in subnet.spec.reservations}
        assert pool.capacity == len(expected) + len(
            {one for one in reservations if one.version == pool.network.version}
        )
        late = [cooling[address] for address in offered if cooling.get(address, NOW) > NOW]
        assert late == sorted(late)
        assert offered[len(offered) - len(late) :] == [a for a in offered if cooling.get(a, NOW) > NOW]


@settings(max_examples=60)
@given(subnets(), VMS)
def test_what_may_be_asked_for(subnet: ClusterSubnet, vm: str) -> None:
    spec = subnet.spec
    for pool in served(subnet):
        kept = {ip_address(one.address): one.vm for one in spec.reservations}
        excluded = spanned(spec.excludes, pool)
        for address in pool.network:
            holder = kept.get(address)
            allowed = holder == vm if holder else address not in excluded
            refused = address in forbidden(subnet, pool) or not allowed
            said = pool.refuse(str(address), vm)
            assert bool(said) == refused, said
            assert said is None or str(address) in said
        assert all(pool.refuse(address, vm) is None for address in pool.candidates("s", Occupied(), {}, NOW))
        assert all(pool.refuse(address, vm) is None for address in pool.reserved_for(vm))


@given(subnets(), st.data())
def test_more_ranges_take_nothing_away(subnet: ClusterSubnet, data: st.DataObject) -> None:
    before = served(subnet)
    bounded = [pool for pool in before if spanned(subnet.spec.ranges, pool)]
    more = tuple(str(data.draw(st.sampled_from(list(pool.network)))) for pool in bounded)
    ranges = (*subnet.spec.ranges, *more)
    after = pools_of(subnet.model_copy(update={"spec": subnet.spec.model_copy(update={"ranges": ranges})}))
    for small, large in zip(before, after, strict=True):
        offers = set(large.candidates("s", Occupied(), {}, NOW))
        assert set(small.candidates("s", Occupied(), {}, NOW)) <= offers
        assert offers <= {str(address) for address in automatic(subnet, small)} | set(more)


odd = st.sampled_from(
    ["", "ten", "10.0.0", "10.0.0.300", "fd00::x", "::ffff:10.0.0.5", "fe80::1%eth0", "010.0.0.1", "ff02::1"]
)
texts = st.text(max_size=12) | odd
macs = st.sampled_from(["", "02:00:00:00:00:01", "02-00-00-00-00-01", "0200.0000.0001", "ff:ff:ff:ff:ff:ff", "x"])


@settings(max_examples=60)
@given(subnets(), st.data())
def test_a_want_is_granted_by_the_rules_or_refused(subnet: ClusterSubnet, data: st.DataObject) -> None:
    """Whatever a manifest and an earlier record say: only what is both stored and leased may break the rules."""
    pools = served(subnet)
    address = st.one_of(texts, *(addresses(pool.network) for pool in pools))
    some = st.lists(address, max_size=3).map(tuple)
    vm = data.draw(VMS)
    stored = record(subnet, data.draw(some), "02:00:00:00:00:07", vm)
    brought, foreign = (record(subnet, data.draw(some), "02:00:00:00:00:01", who) for who in (vm, "demo/origin"))
    past = Past.of(vm, data.draw(st.sampled_from([None, brought, foreign])), data.draw(st.sampled_from([None, stored])))
    kind, held = data.draw(st.sampled_from(["VirtualMachine", "Pod"])), data.draw(some)
    try:
        found = nic_request(
            RequestedNic("blue", "demo/n", data.draw(macs), data.draw(some)), namespace="demo", subnet=subnet.ref, pools=pools,
            owner=Owner(kind=kind, name=vm.partition("/")[2]), past=past, held=held,
        )  # fmt: skip
    except Refused:
        return
    holder = "" if kind == "Pod" else vm
    had = {canonical(text) for text in stored.nics["blue"].addresses} if past.stored else set()
    granted(found, pools, holder, frozenset(had & {*held}))


def granted(found: NicRequest, pools: tuple[Pool, ...], vm: str, had: frozenset[str]) -> None:
    for request, pool in zip(found.addresses, pools, strict=True):
        for address in filter(None, (request.required, *request.preferred)):
            assert ip_address(address) in pool.network or canonical(address) in map(canonical, had)
            assert address == str(ip_address(address)), "in canonical form"
            if address not in map(canonical, had):
                assert pool.refuse(address, vm) is None
    assert not found.mac.required or int(found.mac.required[:2], 16) % 2 == 0


def record(subnet: ClusterSubnet, addresses: tuple[str, ...], mac: str, vm: str) -> PinnedRecord:
    """What no annotation may say, too: the rules hold by themselves."""
    nic = PinnedNic.model_construct(
        network_attachment_definition="demo/n", subnet=subnet.ref, mac=mac, addresses=addresses
    )
    return PinnedRecord.model_construct(vm=vm, nics={"blue": nic})


names = st.sampled_from(["a", "b", "5", "a-b", "0", "x" * 63])
references = st.builds(
    lambda name, namespace: SubnetRef(kind="Subnet" if namespace else "ClusterSubnet", namespace=namespace, name=name),
    names,
    st.just("") | names,
)
leased = (
    st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
    | st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n)))
    | st.sampled_from(["10.0.0.5", "0.0.0.5", "fd00::5", "FD00::5", "::", "02:00:00:00:00:01", "02:00:00:00:00:05"])
)


@settings(max_examples=200)
@given(st.tuples(leased, references), st.tuples(leased, references))
def test_leases_have_one_name_for_one_address(one: tuple[str, SubnetRef], other: tuple[str, SubnetRef]) -> None:
    same = (canonical(one[0]), one[1]) == (canonical(other[0]), other[1])
    assert (lease_name(*one) == lease_name(*other)) == same
    assert len(lease_name(*one)) <= 253
