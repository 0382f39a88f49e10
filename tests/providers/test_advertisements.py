"""What the node has by router advertisements stays when the NIC is plugged in, and goes on being renewed."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from tests.attach.rig import eventually, inside
from tests.providers.rig import BRIDGE, NIC, SECOND, Machines
from virtnet.lab import netns

pytestmark = pytest.mark.system

PREFIX, OTHER = "fd70::", "fd71::"
SECRET = "2001:db8::1234"


def advertise(world: Machines, *prefixes: str, valid: int = 3000, router: int = 1800) -> None:
    """Send a router advertisement (RFC 4861) to the node."""
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, router, 0, 0)
    for prefix in prefixes:
        packed = socket.inet_pton(socket.AF_INET6, prefix)
        message += struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, valid, valid // 2, 0, packed)

    def send() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as wire:
            wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            wire.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex(f"o-{NIC}")))

    netns.inside(world.outside, send)


def listen(world: Machines, **settings: str) -> None:
    """Have the NIC take advertisements, whatever this machine is otherwise."""
    for key, value in {"accept_ra": "2", "autoconf": "1", **settings}.items():
        world.sysctl(f"ipv6/conf/{NIC}/{key}", value)


def addresses(world: Machines, device: str, prefix: str = PREFIX) -> dict[str, dict[str, Any]]:
    found = inside(world.node.name, "-6", "address", "show", "dev", device)
    addresses = found[0]["addr_info"] if found else []
    return {one["local"]: one for one in addresses if one["local"].startswith(prefix)}


def routes(world: Machines, device: str) -> list[dict[str, Any]]:
    """Default routes by the router's link-local address."""
    routes = inside(world.node.name, "-6", "route", "show", "default", "dev", device)
    return [route for route in routes if route["gateway"].startswith("fe80")]


def renewed(world: Machines, device: str, names: set[str], *prefixes: str) -> bool:
    """After another advertisement: all those addresses end no sooner than it says, and the route neither."""
    advertise(world, *prefixes or (PREFIX,), valid=9000, router=5000)
    found = {name: one for prefix in prefixes or (PREFIX,) for name, one in addresses(world, device, prefix).items()}
    [route] = routes(world, device)
    return names <= {a for a, one in found.items() if one["valid_life_time"] > 8000} and route["expires"] > 4000


def give_stable_addresses(world: Machines) -> None:
    """Have the NIC make an address by RFC 7217 of each of two prefixes."""
    listen(world, stable_secret=SECRET)
    advertise(world, PREFIX, OTHER)
    eventually(lambda: addresses(world, NIC) and addresses(world, NIC, OTHER), "an address of each prefix")


WAYS: dict[str, dict[str, str]] = {
    "by its MAC address": {},
    "by a stable secret": {"stable_secret": SECRET},
    "with temporary addresses": {"use_tempaddr": "2"},
}


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_advertised_is_renewed_on_the_bridge_and_afterwards(world: Machines, way: str) -> None:
    listen(world, **WAYS[way])
    advertise(world, PREFIX)
    expected = 2 if "use_tempaddr" in WAYS[way] else 1
    eventually(lambda: len(addresses(world, NIC)) == expected and routes(world, NIC), "the NIC has its addresses")
    before = addresses(world, NIC)
    lasting = {name for name, one in before.items() if not one.get("temporary")}
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "Plugged"
        assert before.keys() <= addresses(world, BRIDGE).keys()
        assert routes(world, BRIDGE)
        eventually(lambda: renewed(world, BRIDGE, lasting), "all is renewed on the bridge")
        made = {name: one for name, one in addresses(world, BRIDGE).items() if not one.get("temporary")}
        assert {name for name, one in made.items() if one["valid_life_time"] > 8000} == lasting, "and no other is made"
        if expected == 2:
            fresh = addresses(world, BRIDGE).values()
            assert any(one.get("temporary") for one in fresh), "the bridge makes temporary addresses too"
        networks.want({})
        await networks.reconcile()
    assert before.keys() <= addresses(world, NIC).keys()
    assert routes(world, NIC)
    advertise(world, PREFIX, valid=12000, router=9000)
    eventually(
        lambda: lasting <= {a for a, one in addresses(world, NIC).items() if one["valid_life_time"] > 10000},
        "all is renewed on the NIC",
    )
    eventually(lambda: routes(world, NIC)[0]["expires"] > 8000, "the route is renewed on the NIC")


async def test_a_router_that_withdraws_is_no_gateway_of_the_bridge(world: Machines) -> None:
    listen(world)
    advertise(world, PREFIX)
    eventually(lambda: routes(world, NIC), "the NIC has the route")
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert routes(world, BRIDGE)
        advertise(world, PREFIX, router=0)
        await asyncio.to_thread(eventually, lambda: not routes(world, BRIDGE), "the route is withdrawn")


async def test_a_route_of_a_program_that_reads_advertisements_stays_its_own(world: Machines) -> None:
    """As systemd-networkd's: the kernel is told to take none."""
    listen(world, accept_ra="0")
    link_local = inside(world.outside, "-6", "address", "show", "dev", f"o-{NIC}", "scope", "link")
    router = next(one["local"] for link in link_local for one in link.get("addr_info", ()) if "local" in one)
    world.ip(f"route add ::/0 via {router} dev {NIC} proto ra metric 512 expires 1000")
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert networks.statuses["blue"].reason == "Plugged"
        assert [route["protocol"] for route in routes(world, BRIDGE)] == ["ra"]
        networks.want({})
        await networks.reconcile()
    assert world.whole == before


async def test_a_token_is_the_bridges_too(world: Machines) -> None:
    listen(world)
    netns.run("ip", "token", "set", "::77", "dev", NIC, netns=world.node.name)
    advertise(world, PREFIX, OTHER)
    names = {f"{PREFIX}77", f"{OTHER}77"}
    eventually(lambda: addresses(world, NIC).keys() | addresses(world, NIC, OTHER).keys() == names, "addresses")
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        eventually(lambda: renewed(world, BRIDGE, names, PREFIX, OTHER), "all is renewed on the bridge")


async def test_a_nic_with_more_stable_addresses_than_a_bridge_can_renew_is_refused(world: Machines) -> None:
    give_stable_addresses(world)
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": NIC, "red": SECOND})
        await networks.reconcile()
        status = networks.statuses["blue"]
        assert (status.ready, status.reason) == (False, "NicUnsuitable")
        assert "addr_gen_mode" in status.message
        assert networks.statuses["red"].ready
    assert world.whole == before
