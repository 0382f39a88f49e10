"""Both ends of a handoff on one node: while the target's daemon waits for a processor, no frame comes twice or not at all.

OVN brings each frame to both; a gate and a guest's queue are the real ones, and the test is the network between them.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.attach.guest import Guest, far_end, frame
from tests.attach.rig import SECONDS, Node, run
from tests.attach.samples import MAC, hook, journaled
from virtnet.api import HandoffPath, NodeHandoff
from virtnet.lab import netns
from virtnet.node.handoff.cut_over_marker import MOST_DIGESTS
from virtnet.node.handoff.drains import Drains
from virtnet.node.handoff.gates import Gates
from virtnet.node.handoff.keys import HandoffKeys
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics.veth import host_name
from virtnet.node.packets import listener
from virtnet.node.request import AttachmentId

PORT = "demo/db.blue"
KEYS = HandoffKeys.generate()
PATH = HandoffPath(remote="127.0.0.1", datapath=7, port=3, peer_key=KEYS.public)
SOURCE = NodeHandoff(migration="m1", role="Source", pod="launcher", path=PATH)
TARGET = NodeHandoff(migration="m1", role="Target", path=PATH)
FIRST = bytes.fromhex(("01:80:c2:00:00:0e" + MAC).replace(":", "")) + b"\x88\xb7" + bytes(46)
"""What the guest sends there, to whom no switch sends on: the node's own would bring it to the other end."""


@dataclass
class Both:
    node: Node
    pod: str
    """The target's, by the name of its namespace."""
    drains: Drains
    gates: Gates
    over: asyncio.Event
    far: socket.socket
    """Of the tunnels of both."""
    got: socket.socket
    """What has reached the guest on the target."""
    guest: Guest
    """The one on the source."""

    def deliver(self, *frames: bytes) -> None:
        """To both, and nothing else runs here meanwhile."""
        self._put(self.node.name, host_name(AttachmentId("c1", "pod1")), *frames)
        self._put(self.node.name, host_name(target().id), *frames)

    def come(self) -> None:
        """The guest's first frame on the target; nothing else runs here meanwhile."""
        self._put(self.pod, "pod1", FIRST)

    async def marker(self, *, read_ahead: bool = False, then: Sequence[bytes] = ()) -> None:
        """From the target to the source, whose QEMU may have read one frame ahead."""
        async with asyncio.timeout(SECONDS):
            said = (await asyncio.get_running_loop().sock_recv(self.far, 2048))[16:]
            again = [one[16:] for one in received(self.far)]
            self._put(self.node.name, host_name(AttachmentId("c1", "pod1")), said)
            if read_ahead:
                assert self.guest.read() == 1
            self._put(self.node.name, host_name(AttachmentId("c1", "pod1")), *again)
            self.deliver(*then)
            await self.over.wait()

    def carried(self) -> list[bytes]:
        return [one[16:] for one in received(self.far) if one[28:30] == b"\x88\xb6"]

    def _put(self, namespace: str, device: str, *frames: bytes) -> None:
        def work() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
                link.bind((device, 0))
                for one in frames:
                    with contextlib.suppress(OSError):  # ENOBUFS: what a gate drops
                        link.send(one)

        netns.inside(namespace, work)


def received(link: socket.socket) -> list[bytes]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(link.recv(65536))
    return found


def target() -> Entry:
    return journaled(container="target", migration="m1", state="Attaching")


@pytest.fixture
async def both(node: Node, tmp_path: Any) -> AsyncIterator[Both]:
    run("ip", "-n", node.name, "link", "set", "lo", "up")
    node.pod()
    leaves = node.sandbox()
    node.add(netns=leaves)
    node.pod("target", port="demo/other.blue", mac="02:76:6e:00:00:06")
    pod = node.sandbox()
    node.add("target", netns=pod, pod="target")
    name = pod.rpartition("/")[2]

    here = f"/run/netns/{node.name}"
    journal = Journal(tmp_path / "journal")
    await journal.write(journaled(netns=leaves))
    over = asyncio.Event()
    drains, gates = (
        Drains(here, journal, hook, KEYS, lambda: "127.0.0.1", over.set),
        Gates(here, KEYS, lambda: "127.0.0.1"),
    )
    with (
        Guest.running(leaves) as guest,
        netns.inside(node.name, far_end) as far,
        netns.inside(name, lambda: listener("pod1", kind=0x88B6)) as got,
    ):
        await drains.follow({PORT: SOURCE})
        await gates.shut(target(), host_name(target().id))
        yield Both(node, name, drains, gates, over, far, got, guest)
        await drains.follow({})
        await gates.forget(target().id)
    journal.close()


@pytest.mark.parametrize("meanwhile", [0, 1, 20, MOST_DIGESTS])
async def test_while_the_daemon_waits_for_a_processor(both: Both, meanwhile: int) -> None:
    await both.gates.follow({PORT: TARGET})
    paused = [frame(n) for n in range(10)]
    later = [frame(n) for n in range(10, 10 + meanwhile)]
    both.deliver(*paused)
    both.come()
    both.deliver(*later)
    await both.marker()
    assert received(both.got) == later
    assert both.carried() == paused


async def test_qemu_reads_the_word_ahead(both: Both) -> None:
    """As it does where no other frame comes in the pause: what comes after the marker is not for the source to send on."""
    await both.gates.follow({PORT: TARGET})
    both.come()
    later = [frame(n) for n in range(5)]
    await both.marker(read_ahead=True, then=later)
    assert received(both.got) == later
    assert both.carried() == []


async def test_more_than_a_word_can_name(both: Both) -> None:
    """None is lost, and only the rest comes twice."""
    await both.gates.follow({PORT: TARGET})
    frames = [frame(n) for n in range(MOST_DIGESTS + 5)]
    both.come()
    both.deliver(*frames)
    await both.marker()
    assert received(both.got) == frames
    assert both.carried() == frames[MOST_DIGESTS:]


async def test_equal_frames_are_carried_as_often_as_they_came_too_early(both: Both) -> None:
    await both.gates.follow({PORT: TARGET})
    both.deliver(frame(1), frame(1))
    both.come()
    both.deliver(frame(1))
    await both.marker()
    assert Counter(received(both.got) + both.carried()) == {frame(1): 3}


async def test_a_guest_that_is_known_to_be_there_otherwise(both: Both) -> None:
    """It has sent nothing; what comes between the gate's end and the marker is the daemon's to count."""
    await both.gates.follow({PORT: TARGET})
    gate = both.gates._shut[target().id]
    table, later = gate.table, [frame(n) for n in range(10, 20)]

    class Slow:
        def close(self) -> None:
            table.close()
            both.deliver(*later)

    gate.table = Slow()  # type: ignore[assignment]
    both.deliver(frame(1))
    await both.gates.follow({PORT: TARGET.model_copy(update={"guest_running": True})})
    await both.marker()
    assert received(both.got) == later
    assert both.carried() == [frame(1)]


@pytest.mark.parametrize("gone", [True, False])
async def test_a_guest_that_is_heard_before_the_way_is_known(
    both: Both, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    """Until the marker all is counted; where the NIC has gone instead, there is none."""
    heard, connect = asyncio.Event(), Gates._connect
    both.gates.on_open(lambda _: heard.set())
    later = [frame(n) for n in range(10, 20)]

    async def connect_late(gates: Gates, gate: Any, *rest: Any) -> None:
        gate.connecting = True
        if gone:
            await gates.forget(target().id)
        else:
            both.come()
            await heard.wait()
            await asyncio.gather(*gates._removals)
            both.deliver(*later)
        await connect(gates, gate, *rest)

    monkeypatch.setattr(Gates, "_connect", connect_late)
    both.deliver(frame(1))
    await both.gates.follow({PORT: TARGET})
    if gone:
        assert received(both.far) == []
        return
    await both.marker()
    assert received(both.got) == later
    assert both.carried() == [frame(1)]
