"""Migrations in which a NIC comes, as a real virt-controller plays them, through the real controller and northd."""

import pytest

from tests.controllers.conftest import LEASES, PORTS, World, until
from tests.controllers.recording import Recording
from virtnet.api import AddressLease, NodeNetwork, Port
from virtnet.kube import kinds

pytestmark = pytest.mark.system


async def requested(recording: Recording, port: str, chassis: str) -> None:
    world = recording.world

    async def so() -> bool:
        return world.option(port, "requested-chassis") == chassis

    await until(so, f"requested-chassis={chassis} of {port}")


async def handoffs(world: World, name: str) -> list[tuple[str, str]]:
    port = Port.parse(await world.cluster.get(PORTS, name, world.namespace))
    return [(one.target, one.state) for one in port.status.handoffs]


async def let_in(world: World, node: str, port: str) -> None:
    """The node is told that a NIC of a migration's target may claim its port."""

    async def so() -> bool:
        found = NodeNetwork.parse(await world.cluster.get(kinds.of(NodeNetwork), node))
        part = found.spec.handoffs.get(f"{world.namespace}/{port}")
        return part is not None and (part.role, part.guest_running) == ("Target", True)

    await until(so, f"{node} being told of {port}")


async def test_a_nic_added_in_mid_migration_comes_with_the_next_one(world: World) -> None:
    """Nobody plugs NICs in: the source pod is asked for it only, so is the target once it has the guest."""
    recording = Recording(world, "nic_in_migration")
    await recording.prepare()
    await recording.play(until=7)
    await requested(recording, "e10.blue", "ch1")
    await recording.follow("e10.blue")
    await recording.play(until=9)
    await requested(recording, "e10.blue", "ch1,ch2")
    await recording.follow("e10.blue")
    await recording.play(until=56)
    await requested(recording, "e10.hot", "ch1")
    await recording.follow("e10.hot")
    await recording.play(until=80)
    await requested(recording, "e10.blue", "ch2")
    await recording.follow("e10.blue")
    await requested(recording, "e10.hot", "ch2")

    async def over() -> bool:
        return ("node2", "Committed") in await handoffs(world, "e10.blue")

    await until(over, "the handoff of the NIC that was there")
    await recording.play(until=100)
    await requested(recording, "e10.hot", "ch1")
    await let_in(world, "node1", "e10.hot")
    await recording.follow("e10.hot")
    await requested(recording, "e10.blue", "ch2,ch1")
    assert await handoffs(world, "e10.hot") == [], "nothing was handed over: no two pods had it"
    assert "handoff" not in world.column("e10.hot", "external_ids")


async def test_a_nic_that_is_moved_to_another_network_is_in_one_at_a_time(world: World) -> None:
    """KubeVirt migrates the VM for it: the old Subnet until the guest is on the target, and then the new one alone."""
    recording = Recording(world, "nad_change")
    await recording.prepare()
    mac, old, new = "02:76:6e:61:f4:a1", "10.10.0.209", "10.20.0.209"

    async def is_in(subnet: str, address: str, leases: set[tuple[str, str, str]]) -> None:
        async def so() -> bool:
            port = Port.parse(await world.cluster.get(PORTS, "e4.x", world.namespace))
            switch = world.ovn.nbctl("lsp-get-ls", f"{world.namespace}/e4.x")
            items, _ = await world.cluster.list(LEASES)
            held = [AddressLease.parse(item) for item in items]
            return (
                (port.spec.subnet.name, port.spec.addresses, port.spec.mac_address) == (subnet, (address,), mac)
                and world.lsps()[f"{world.namespace}/e4.x"] == f"{mac} {address}"
                and f"{world.namespace}/{subnet}" in switch
                and {
                    (one.spec.subnet.name, one.spec.address, one.status.phase)
                    for one in held
                    if one.spec.holder.key == f"{world.namespace}/e4.x"
                }
                == leases
            )

        await until(so, f"the NIC in {subnet}, with leases {leases}")

    here = {("blue", mac, "Bound"), ("blue", old, "Bound")}
    claimed = {("red", mac, "Reserved"), ("red", new, "Reserved")}
    there = {("red", mac, "Bound"), ("red", new, "Bound")}
    await recording.play(until=130.6)
    await requested(recording, "e4.x", "ch1")
    await recording.follow("e4.x")
    await is_in("blue", old, here)
    await recording.play(until=130.8)  # the VM and its instance name the other network
    await is_in("blue", old, here | claimed)
    await recording.play(until=137.2)  # the target pod has its NIC there, and the guest is on its way
    await requested(recording, "e4.x", "ch1,ch2")
    await recording.follow("e4.x")
    await is_in("blue", old, here | claimed)
    await recording.play(until=138.76)  # it has arrived
    await requested(recording, "e4.x", "ch2")
    await recording.follow("e4.x")
    await is_in("red", new, there)

    async def over() -> bool:
        return ("node2", "Committed") in await handoffs(world, "e4.x")

    await until(over, "the handoff of the NIC")
    await recording.play(until=150)
    await is_in("red", new, there)
