"""The source's part in handoffs, asked for and answered in its NodeNetwork."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterator

import pytest

from tests.attach.guest import Guest, far_end, frame, holds_the_tap
from tests.attach.rig import run
from tests.attach.samples import MAC
from tests.attach.world import World, eventually_async
from virtnet.kube import kinds
from virtnet.lab import netns
from virtnet.node.handoff.cut_over_marker import marker
from virtnet.node.handoff.keys import HandoffKeys

GOES_ON = "table=40,priority=100,reg15=3,metadata=7,actions=load:7->NXM_NX_TUN_ID[],output:LOCAL,resubmit(,41)"
"""The flow of OVN's that sends what is for the port on to its other chassis."""
PEER = HandoffKeys.generate()
"""Of the node that the guest goes to."""
WAY = {"remote": "127.0.0.1", "datapath": 7, "port": 3, "peerKey": PEER.public}


async def test_the_source_lets_go_when_asked(world: World) -> None:
    node = world.node
    netns = await world.add("source")
    await world.ask(migration="m1", role="Source", pod="source", releaseRequested=False)
    await world.ask(migration="m1", role="Source", pod="source", releaseRequested=True)
    own = await world.until(lambda own: own.status.handoffs, "answered")
    assert own.status.handoffs[world.port].migration == "m1"
    assert own.status.handoffs[world.port].released_at is not None
    assert node.claims() == {"source": None}
    assert node.cni("CHECK", container="source", netns=netns) == (0, None), "the interface itself stays"
    await world.ask()
    await world.until(lambda own: not own.status.handoffs, "forgotten")
    world.restart()
    assert node.claims() == {"source": None}, "for good"


@pytest.mark.parametrize("kept", [1, 0], ids=["OVN sends on", "it does not"])
@pytest.mark.parametrize("by", ["request", "DEL"])
async def test_the_flow_to_the_target_is_held_before_the_source_lets_go(world: World, by: str, kept: int) -> None:
    """Where OVN has none, the port is let go all the same."""
    node, before = world.node, len(flows_held(world))
    bridge = f"unix:{node.state}/br-int.mgmt"
    run("ovs-ofctl", "-O", "OpenFlow13", "del-flows", bridge, "table=40")
    if kept:
        run("ovs-ofctl", "-O", "OpenFlow13", "add-flow", bridge, GOES_ON)
    pod = f"source-{by.lower()}-{kept}"
    await world.add(pod)
    await world.ask(migration=pod, role="Source", pod=pod, path=WAY, releaseRequested=by == "request")
    await world.until(
        lambda own: (report := own.status.handoffs.get(world.port)) and report.migration == pod,
        "the daemon has heard of it",
    )
    if by == "DEL":
        assert node.cni("DEL", container=pod) == (0, None)
    assert world.port not in node.claims().values()
    assert flows_held(world)[before:] == [kept]
    assert node.cni("DEL", container=pod) == (0, None)


def flows_held(world: World) -> list[int]:
    """How many flows that were, each time."""
    return [int(flows) for flows in re.findall(r"flows held +flows=(\d)", world.node.daemon.log.read_text())]


async def test_nobody_lets_go_without_being_asked(world: World) -> None:
    await world.add("source")
    await world.ask(migration="m1", role="Source", pod="source", releaseRequested=False)
    await world.until(lambda own: own.metadata.generation > 1, "seen")
    await world.ask(migration="m1", role="Target", releaseRequested=False)
    world.restart()
    assert world.node.claims() == {"source": world.port}
    assert not (await world.own()).status.handoffs


async def test_a_guest_that_comes_back_keeps_its_new_nic(world: World) -> None:
    """A to B to A: the first handoff is still asked for when the second one's target is attached here."""
    node = world.node
    await world.add("first")
    await world.ask(migration="m1", role="Source", pod="first", releaseRequested=True)
    await world.until(lambda own: own.status.handoffs, "answered")
    await world.end("first")
    await world.ask(migration="m2", role="Target")
    await world.add("third", migration="m2")
    assert node.claims() == {"first": None, "third": world.port}
    world.restart()
    assert node.claims() == {"first": None, "third": world.port}
    assert node.cni("DEL", container="first") == (0, None)
    assert node.claims() == {"third": world.port}


@pytest.mark.parametrize("gone", [False, True], ids=["its old NIC is there", "its old NIC is gone"])
async def test_a_guest_that_comes_back_gets_its_port_by_its_own_handoff_only(world: World, *, gone: bool) -> None:
    """OVN may still request the port here for the handoff before, and would bind whatever NIC claims it."""
    node = world.node
    await world.add("first")
    await world.end("first")
    if gone:
        assert node.cni("DEL", container="first") == (0, None)
    adding = asyncio.create_task(world.add("third", migration="m2"))
    await eventually_async(lambda: "waits until its handoff is armed" in node.daemon.log.read_text(), "it waits")
    await world.ask(migration="m1", role="Source", pod="first", releaseRequested=True)
    await world.until(lambda own: own.status.handoffs, "answered")
    assert node.claims() == ({} if gone else {"first": None})
    assert not adding.done()
    await world.ask(migration="m2", role="Target")
    await adding
    assert node.claims()["third"] == world.port


async def test_a_nic_that_a_target_of_long_ago_gets_later_waits_for_no_handoff(world: World) -> None:
    uid = await world.pod("once", migration="m1")
    status = {"status": {"phase": "Running"}}
    await world.cluster.patch(kinds.PODS, "once", status, world.node.namespace, subresource="status")
    await asyncio.to_thread(world.node.add, "once", netns=world.node.sandbox(), pod="once", uid=uid)
    assert world.node.claims() == {"once": world.port}


async def test_a_guest_that_has_come_back_before_its_port_was_let_go_keeps_it(world: World) -> None:
    await world.add("first")
    await world.end("first")
    await world.ask(migration="m2", role="Target")
    await world.add("third", migration="m2")
    await world.ask(migration="m1", role="Source", pod="first", releaseRequested=True)
    await world.until(lambda own: own.status.handoffs, "answered")
    assert world.node.claims() == {"first": None, "third": world.port}
    assert world.node.cni("DEL", container="first") == (0, None)
    await world.ask(migration="m3", role="Source", pod="first", releaseRequested=True)
    await world.until(lambda own: own.status.handoffs[world.port].migration == "m3", "answered again")
    assert world.node.claims() == {"third": world.port}


async def test_a_node_that_missed_its_part_has_no_say_later(world: World) -> None:
    """The source's daemon was away, the controller went on without it, and the guest is back by now."""
    node = world.node
    await world.add("first")
    node.daemon.kill()
    await world.ask(migration="m1", role="Source", pod="first", releaseRequested=True)
    await world.ask()
    await world.end("first")
    world.restart()
    assert node.claims() == {"first": world.port}, "nobody else claims it here"
    await world.ask(migration="m2", role="Target")
    await world.add("third", migration="m2")
    assert node.claims() == {"first": None, "third": world.port}


@pytest.mark.parametrize("step", [0, 1])
async def test_killed_while_it_lets_go(world: World, step: int) -> None:
    node = world.node
    await world.add("source")
    world.restart(CRASH_AT=f"release:{step}")
    await world.ask(migration="m1", role="Source", pod="source", releaseRequested=True)
    await eventually_async(lambda: node.daemon.pid is None, "the daemon is dead")
    world.restart()
    own = await world.until(lambda own: own.status.handoffs, "answered")
    assert own.status.handoffs[world.port].migration == "m1"
    assert node.claims() == {"source": None}


async def test_killed_in_the_middle_of_its_drain(world: World) -> None:
    """What it has taken from the guest's queue has been sent on, the rest is still there, and the handoff goes on."""
    node = world.node
    run("ip", "-n", node.name, "link", "set", "lo", "up")
    assert not (await world.own()).status.handoff.drain
    node.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-encap-type=geneve")
    await world.until(lambda own: own.status.handoff.drain, "it can drain by now")
    public = (await world.own()).status.handoff.public_key
    part = {"migration": "m1", "role": "Source", "pod": "source", "path": WAY}
    pod = await world.add("source")
    world.restart(CRASH_AT="drain:5")
    with Guest.running(pod) as guest, netns.inside(node.name, far_end) as far:
        await world.ask(**part)
        await eventually_async(lambda: holds_the_tap(node.daemon.pid), "armed")
        await asyncio.to_thread(
            world.put, *map(frame, range(20)), marker(MAC, PEER.secret(public, migration="m1", port=world.port))
        )
        await eventually_async(lambda: node.daemon.pid is None, "the daemon is dead")
        carried = [data for data in received(far) if data[28:30] == b"\x88\xb6"]
        assert len(carried) + guest.read() == 20 + 1
        assert not run("ip", "netns", "exec", node.name, "nft", "list", "tables")
        world.restart()
        await world.ask(**part, releaseRequested=True)
        own = await world.until(
            lambda own: own.status.handoffs and own.status.handoffs[world.port].released_at, "let go"
        )
        assert own.status.handoffs[world.port].migration == "m1"
        await eventually_async(lambda: not holds_the_tap(node.daemon.pid), "nothing is held any more")
    assert node.claims() == {"source": None}


def received(far: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(BlockingIOError):
        while True:
            yield far.recv(65536)
