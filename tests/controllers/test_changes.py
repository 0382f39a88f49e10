"""What a Subnet's change in use does to those who use it, in OVN: a guest keeps what it was given for as long as it needs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.controllers.conftest import SUBNETS, World, settled, until
from virtnet.addressing.pools import pools_of
from virtnet.api import Subnet
from virtnet.features.router_addresses import former_addresses, router_addresses, until_next
from virtnet.kube.kinds import PODS

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def change(world: World, **spec: Any) -> None:
    await world.cluster.patch(SUBNETS, "blue", {"spec": spec}, world.namespace)


@pytest.mark.system
async def test_a_guest_keeps_its_mtu_until_its_pod_is_gone(world: World) -> None:
    """Also where DHCP tells it: a larger one than its NIC's would lose packets."""

    async def reported(mtu: int) -> bool:
        uuid = world.column("db.blue", "dhcpv4_options")
        options = world.ovn.nbctl("--if-exists", "get", "DHCP_Options", uuid, "options") if uuid != "[]" else ""
        return f'mtu="{mtu}"' in options

    async def kept(mtu: int) -> bool:
        return (await world.ports())["db.blue"].spec.mtu == mtu

    def shared(mtu: int) -> bool:
        found = world.ovn.nbctl("--bare", "--columns=options", "find", "DHCP_Options",
                                f'external_ids:"virtnet/id"="Subnet/{world.namespace}/blue:v4"')  # fmt: skip
        return f"mtu={mtu}" in found

    async def shared_is(mtu: int) -> bool:
        return shared(mtu)

    await world.subnet()
    await world.vm()
    await settled(world)
    assert await kept(0)
    await world.launcher("launcher")
    await until(lambda: kept(1442), "the MTU of the pod's NIC on the Port")
    await change(world, mtu=1300)
    await until(lambda: shared_is(1300), "others are told the new one")
    await until(lambda: reported(1442), "the guest is told its own")
    await world.cluster.patch(
        PODS, "launcher", {"status": {"phase": "Succeeded"}}, world.namespace, subresource="status"
    )
    await until(lambda: reported(1300), "the next start takes the new one")
    assert await kept(0)


@pytest.mark.system
async def test_the_router_answers_for_its_former_gateway_for_a_while(world: World) -> None:
    def networks() -> set[str]:
        found = world.ovn.nbctl("--bare", "--columns=networks", "find", "Logical_Router_Port",
                                f'external_ids:"virtnet/id"="Subnet/{world.namespace}/blue:gateway"')  # fmt: skip
        return set(found.split())

    async def subnet() -> Subnet:
        return Subnet.parse(await world.cluster.get(SUBNETS, "blue", world.namespace))

    async def has(*addresses: str) -> bool:
        return networks() == {f"{one}/24" for one in addresses}

    async def known() -> bool:
        return (await subnet()).status.router_addresses == ("10.0.0.1",)

    await world.subnet()
    await until(known, "the status says which addresses the router has")
    await change(world, gateways=["10.0.0.254"])
    await until(lambda: has("10.0.0.1", "10.0.0.254"), "both")
    (former,) = (await subnet()).status.former_addresses
    assert former.address == "10.0.0.1"
    soon = datetime.now(UTC) + timedelta(seconds=3)
    patch = {"status": {"formerAddresses": [{"address": "10.0.0.1", "until": soon.isoformat()}]}}
    await world.cluster.patch(SUBNETS, "blue", patch, world.namespace, subresource="status")
    await until(lambda: has("10.0.0.254"), "the new one alone, though nothing has happened but time")
    assert (await subnet()).status.former_addresses == ()


def subnet(status: dict[str, Any], **spec: Any) -> Subnet:
    whole = {"cidrs": ["10.0.0.0/24"], "dhcp": {"leaseSeconds": 600}, **spec}
    return Subnet.parse({"metadata": {"name": "blue", "namespace": "demo"}, "spec": whole, "status": status})


@pytest.mark.parametrize(
    ("gateway", "known", "former", "expected"),
    [
        pytest.param("10.0.0.1", ["10.0.0.1"], {}, {}, id="unchanged"),
        pytest.param("10.0.0.1", [], {}, {}, id="never told"),
        pytest.param("10.0.0.9", ["10.0.0.1"], {}, {"10.0.0.1": 600}, id="changed"),
        pytest.param("10.0.0.9", ["10.0.0.9"], {"10.0.0.1": 60}, {"10.0.0.1": 60}, id="a while ago"),
        pytest.param("10.0.0.9", ["10.0.0.9"], {"10.0.0.1": 0}, {}, id="long ago"),
        pytest.param("10.0.0.8", ["10.0.0.9"], {"10.0.0.1": 60}, {"10.0.0.1": 60, "10.0.0.9": 600}, id="again"),
        pytest.param("10.0.0.1", ["10.0.0.9"], {"10.0.0.1": 60}, {"10.0.0.9": 600}, id="and back"),
    ],
)
def test_which_addresses_the_router_still_answers_for(
    gateway: str, known: list[str], former: dict[str, int], expected: dict[str, int]
) -> None:
    listed = [{"address": one, "until": NOW + timedelta(seconds=left)} for one, left in former.items()]
    blue = subnet({"routerAddresses": known, "formerAddresses": listed}, gateways=[gateway])
    pools = pools_of(blue)
    found = former_addresses(blue, pools, NOW)
    assert router_addresses(blue, pools) == (gateway,)
    assert {one.address: (one.until - NOW).total_seconds() for one in found} == expected
    assert until_next(found, NOW) == (timedelta(seconds=min(expected.values())) if expected else None)


def test_nobody_gets_an_address_that_the_router_still_answers_for() -> None:
    until = NOW + timedelta(seconds=60)
    status = {"formerAddresses": [{"address": "10.0.0.1", "until": until}]}
    kept = [{"address": "10.0.0.1", "vm": "db"}]
    (pool,) = pools_of(subnet(status, gateways=["10.0.0.9"], reservations=kept))
    assert pool.reserved_for("demo/db") == ()
    assert "renew their leases" in str(pool.refuse("10.0.0.1", "demo/db"))
    assert not pool.offers("10.0.0.1")
    (later,) = pools_of(subnet({}, gateways=["10.0.0.9"], reservations=kept))
    assert later.reserved_for("demo/db") == ("10.0.0.1",)
