"""Each thing that may be wrong with a NIC is brought about, and what people are told of it is what docs/errors.md says."""

from collections.abc import Awaitable, Callable

import pytest

from tests.attach.datapath import in_kernel, in_userspace
from tests.attach.rig import SECONDS
from tests.messages import NICS, Message
from tests.providers.rig import BRIDGE, NIC, SECOND, Machines
from tests.providers.test_advertisements import give_stable_addresses
from tests.providers.test_suitable import KINDS
from virtnet.lab import netns
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.reconciler import ProviderNetworkReconciler
from virtnet.node.providers.records import PluggingRecord
from virtnet.ovn import provider_bridges

pytestmark = pytest.mark.system

Bring = Callable[[Machines, ProviderNetworkReconciler, pytest.MonkeyPatch], Awaitable[str]]
"""Bring something about; returns the NIC that blue is to have, or the ProviderNetwork to look at after an equals sign."""


def wanting(nic: str, *before: str) -> Bring:
    """Ask for a NIC after some commands of ``ip``."""

    async def bring(world: Machines, _: ProviderNetworkReconciler, __: pytest.MonkeyPatch) -> str:
        world.ip(*before)
        return nic

    return bring


async def plug(networks: ProviderNetworkReconciler, nic: str) -> None:
    networks.want({"blue": nic})
    await networks.reconcile()
    assert networks.statuses["blue"].ready


async def another_is_plugged_in(_: Machines, networks: ProviderNetworkReconciler, __: pytest.MonkeyPatch) -> str:
    await plug(networks, SECOND)
    return "eth9"


async def vanishes(world: Machines, networks: ProviderNetworkReconciler, _: pytest.MonkeyPatch) -> str:
    await plug(networks, NIC)
    netns.ip(world.outside, f"link del o-{NIC}")
    return NIC


async def port_of_another_bridge(world: Machines, _: ProviderNetworkReconciler, __: pytest.MonkeyPatch) -> str:
    world.node.vsctl("add-port", "br-int", NIC)
    return NIC


async def another_networks(_: Machines, networks: ProviderNetworkReconciler, __: pytest.MonkeyPatch) -> str:
    await plug(networks, NIC)
    networks.want({"blue": NIC, "red": NIC})
    return "=red"


async def gateway_goes(
    world: Machines,
    _: ProviderNetworkReconciler,
    patch: pytest.MonkeyPatch,
    loss: str = f"address del 10.7.0.1/24 dev o-{NIC}",
) -> str:
    """A switch port that shuts as soon as it sees the bridge."""
    give = Plugging._give_nic

    async def then_silent(self: Plugging, record: PluggingRecord) -> PluggingRecord:
        record = await give(self, record)
        netns.ip(world.outside, loss)
        return record

    patch.setattr(Plugging, "_give_nic", then_silent)
    return NIC


async def foreign_bridge(world: Machines, networks: ProviderNetworkReconciler, _: pytest.MonkeyPatch) -> str:
    world.node.vsctl("add-br", BRIDGE)
    bridges = networks.plugging.bridges
    assert await bridges.database.until(lambda: bridges.owner(BRIDGE) is not None, SECONDS)
    return NIC


async def foreign_mapping(world: Machines, networks: ProviderNetworkReconciler, _: pytest.MonkeyPatch) -> str:
    world.node.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=blue:br-ex")
    bridges = networks.plugging.bridges
    assert await bridges.database.until(lambda: bridges.mapped("blue") != "", SECONDS)
    return NIC


async def switch_dies(world: Machines, networks: ProviderNetworkReconciler, _: pytest.MonkeyPatch) -> str:
    await plug(networks, NIC)
    world.node.daemons["vswitchd"].kill()
    return NIC


async def stuck(_: Machines, networks: ProviderNetworkReconciler, patch: pytest.MonkeyPatch) -> str:
    await plug(networks, NIC)

    async def busy(self: Plugging, record: PluggingRecord) -> PluggingRecord:
        raise OSError(16, "busy")

    patch.setattr(Plugging, "_take_nic", busy)
    return SECOND


async def is_renamed(world: Machines, networks: ProviderNetworkReconciler, _: pytest.MonkeyPatch) -> str:
    await plug(networks, NIC)
    world.ip(f"link set {NIC} down", f"link set {NIC} name eth7", "link set eth7 up")
    return NIC


async def has_stable_addresses(world: Machines, _: ProviderNetworkReconciler, __: pytest.MonkeyPatch) -> str:
    give_stable_addresses(world)
    return NIC


async def switch_is_idle(world: Machines, _: ProviderNetworkReconciler, patch: pytest.MonkeyPatch) -> str:
    patch.setattr(provider_bridges, "ANSWER_SECONDS", 0.5)
    world.node.daemons["vswitchd"].kill()
    return NIC


WAYS: dict[str, Bring] = {
    "no such NIC": wanting("eth9"),
    "no such NIC, and another one is plugged in": another_is_plugged_in,
    "a NIC that has vanished": vanishes,
    "the loopback interface": wanting("lo"),
    "a tap": wanting("tap0", "tuntap add tap0 mode tap"),
    "a macvlan": wanting("mv0", f"link add mv0 link {NIC} type macvlan"),
    "a NIC in a bond or bridge": wanting(SECOND, "link add br0 type bridge", f"link set {SECOND} master br0"),
    "a NIC of another OVS bridge": port_of_another_bridge,
    "a NIC that VLAN or macvlan interfaces are on": wanting(SECOND, f"link add mv0 link {SECOND} type macvlan"),
    "a NIC of another ProviderNetwork": another_networks,
    "the node's only default route, whose gateway is silent": wanting(
        NIC, f"route replace default via 10.7.0.200 dev {NIC} metric 77"
    ),
    "the node's only default route, whose gateway is silent once the NIC is plugged in": gateway_goes,
    "an OVS bridge of that name": foreign_bridge,
    "a bridge mapping of that name": foreign_mapping,
    "a switch that has died": switch_dies,
    "a switch in the kernel whose process has died": switch_dies,
    "a NIC that has been renamed": is_renamed,
    "a NIC with stable-privacy addresses of several advertised prefixes": has_stable_addresses,
    "a NIC that cannot be taken out": stuck,
    "a switch that does not do as it is told": switch_is_idle,
}


DATAPATHS = {
    "a switch that has died": in_userspace,
    "a switch in the kernel whose process has died": in_kernel,
}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.given, marks=DATAPATHS.get(row.given, ()))
        for row in NICS.rows
        if row.given not in KINDS
    ],
)
async def test_people_are_told(world: Machines, monkeypatch: pytest.MonkeyPatch, row: Message) -> None:
    async with world.networks() as networks:
        looked_at, nic = "blue", await WAYS[row.given](world, networks, monkeypatch)
        if nic.startswith("="):
            looked_at = nic[1:]
        else:
            networks.want({"blue": nic})
        await networks.reconcile()
        status = networks.statuses[looked_at]
        assert (status.ready, status.reason, status.message) == (False, row.reason, row.message)


async def test_a_lost_gateway_leaves_the_node_as_it_was(world: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": await gateway_goes(world, networks, monkeypatch)})
        await networks.reconcile()
    assert world.whole == before
    assert world.bridges == ["br-int"]


async def test_two_networks_exchange_their_nics(world: Machines) -> None:
    """Neither keeps its NIC until it can have the other's: they would wait for each other for ever."""
    async with world.networks() as networks:
        networks.want({"blue": NIC, "red": SECOND})
        await networks.reconcile()
        networks.want({"blue": SECOND, "red": NIC})
        await networks.reconcile()
        found = {name: (status.nic, status.ready) for name, status in networks.statuses.items()}
        assert found == {"blue": (SECOND, True), "red": (NIC, True)}
