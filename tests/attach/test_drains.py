"""The drain of a migration's source, on a real tap: what it takes from the guest's queue, and when it takes nothing."""

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.attach.guest import Guest, far_end, frame
from tests.attach.rig import SECONDS, Node, run
from tests.attach.samples import MAC, hook, journaled
from virtnet.api import HandoffPath, NodeHandoff
from virtnet.lab.netns import inside as inside_at_once
from virtnet.node.handoff.cut_over_marker import marker
from virtnet.node.handoff.drains import Drains
from virtnet.node.handoff.keys import HandoffKeys
from virtnet.node.handoff.taps import Tap, duplicates
from virtnet.node.journal import Journal
from virtnet.node.netns import inside as within

PORT, SECOND = "demo/db.blue", "tap1"
KEYS, PEER, LATER = (HandoffKeys.generate() for _ in range(3))
TOKEN = PEER.secret(KEYS.public, migration="m1", port=PORT)
TUNSETIFF, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
TAP, NO_PACKET_INFO, MULTI_QUEUE = 0x0002, 0x1000, 0x0100
SOURCE = NodeHandoff(
    migration="m1",
    role="Source",
    pod="launcher",
    path=HandoffPath(remote="127.0.0.1", datapath=7, port=3, peer_key=PEER.public),
)


def opened(tap: str, flags: int = os.O_NONBLOCK, *, kind: int = 0) -> int:
    """A queue of a tap."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | flags)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", tap.encode(), TAP | NO_PACKET_INFO | kind))
    return descriptor


@dataclass
class Source:
    """A pod as KubeVirt lays it out, a guest that reads when it is told to, and the other end of the tunnel."""

    node: Node
    drains: Drains
    guest: Guest
    far: socket.socket
    over: asyncio.Event

    async def send(self, *frames: bytes, device: str = "") -> None:
        """To the guest, as OVS does."""

        def work(_: Any) -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
                link.bind((device or self.node.links()[0], 0))
                for frame in frames:
                    link.send(frame)

        await within(self.drains.here, work)

    async def second_queue(self) -> None:
        """Armed behind the guest's."""
        queue = await within(self.drains.here, lambda _: Tap.of(opened(SECOND)))
        run("ip", "-n", self.node.name, "link", "set", SECOND, "addrgenmode", "none", "up")
        self.drains._armed[PORT, "m1"].queues.append(queue)

    @contextlib.contextmanager
    def slow_tunnels(self) -> Iterator[None]:
        self._queue("add dev lo root tbf rate 1mbit burst 1600 limit 1mb")
        yield
        self._queue("delete dev lo root")

    def _queue(self, words: str) -> None:
        run("ip", "netns", "exec", self.node.name, "tc", "qdisc", *words.split())

    async def carried(self) -> list[bytes]:
        """What has come out of the tunnel once the drain is over."""
        async with asyncio.timeout(SECONDS):
            await self.over.wait()
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found.append(self.far.recv(65536))
        # Bridges speak, too, when they come up.
        return [one for one in found if one[28:30] == b"\x88\xb6"]


@pytest.fixture
async def source(node: Node, tmp_path: Any) -> AsyncIterator[Source]:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    run("ip", "-n", node.name, "link", "set", "lo", "up")
    here = f"/run/netns/{node.name}"

    journal = Journal(tmp_path / "journal")
    await journal.write(journaled(netns=netns))
    over = asyncio.Event()
    drains = Drains(here, journal, hook, KEYS, lambda: "127.0.0.1", over.set)
    with Guest.running(netns) as guest:
        found = Source(node, drains, guest, await within(here, lambda _: far_end()), over)
        await found.drains.follow({PORT: SOURCE})
        yield found
        await found.drains.follow({})
    found.far.close()
    journal.close()


async def test_what_came_before_the_word_is_carried_over_in_order(source: Source) -> None:
    await source.send(*(frame(n) for n in range(20)), marker(MAC, TOKEN), *(frame(n) for n in range(20, 25)))
    carried = await source.carried()
    header = bytes.fromhex("0240655800000700" + "01028001" + "00000003")
    assert carried == [header + frame(n) for n in range(20)]
    assert (source.drains.statuses({PORT: SOURCE})[PORT].forwarded_frames or 0) >= 20


async def test_the_word_in_one_queue_costs_no_frame_of_another(source: Source) -> None:
    """A guest with several processors has a queue for each; the kernel chooses by flow. Here they are of two taps."""
    await source.second_queue()
    await source.send(*(frame(number) for number in range(3)), device=SECOND)
    await source.send(frame(7), marker(MAC, TOKEN), frame(8))
    assert [one[-1] for one in await source.carried()] == [7, 0, 1, 2]


async def test_a_queue_that_is_gone_costs_no_frame_of_another(source: Source) -> None:
    await source.second_queue()
    source.drains._armed[PORT, "m1"].queues.reverse()
    run("ip", "-n", source.node.name, "link", "delete", SECOND)
    await source.send(frame(7), marker(MAC, TOKEN))
    assert [one[-1] for one in await source.carried()] == [7]


async def test_a_guest_that_has_started_anew(source: Source) -> None:
    """QEMU gives its tap the header that guest and device agree on: a longer one as soon as there is a driver."""
    (queue,) = source.drains._armed[PORT, "m1"].queues
    fcntl.ioctl(queue.descriptor, TUNSETVNETHDRSZ, struct.pack("i", 12))
    await source.send(frame(1), marker(MAC, TOKEN))
    assert [one[16:] for one in await source.carried()] == [frame(1)]


async def test_a_link_that_is_busy_gets_every_frame(source: Source) -> None:
    """Guests' memory may take the same way."""
    frames, came = [frame(n) for n in range(50)], list[bytes]()
    source.drains._armed[PORT, "m1"].peer.link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0)
    with source.slow_tunnels():
        await source.send(*frames, marker(MAC, TOKEN))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                while frames[-1] not in came:
                    came.append((await asyncio.get_running_loop().sock_recv(source.far, 65536))[16:])
    assert [one for one in came if one in frames] == frames


async def test_nobody_can_drown_the_marker(source: Source) -> None:
    """Frames of its kind are anybody's to send."""

    def send(*frames: bytes) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
            link.bind((source.node.links()[0], 0))
            for one in frames:
                link.send(one)

    noise = [marker(MAC, "t" * 32)] * 600
    inside_at_once(source.node.name, lambda: send(frame(1), *noise, marker(MAC, TOKEN)))  # nothing else runs meanwhile
    assert [one[16:] for one in await source.carried()] == [frame(1)]


async def test_other_work_goes_on_while_frames_are_carried(source: Source) -> None:
    """Thousands of frames take tens of milliseconds, and another guest's gate may have to be opened meanwhile."""
    loop, in_the_middle = asyncio.get_running_loop(), asyncio.Event()

    def look() -> None:
        with contextlib.suppress(BlockingIOError):
            source.far.recv(1, socket.MSG_PEEK)
            if not source.over.is_set():
                in_the_middle.set()
        if not source.over.is_set():
            loop.call_soon(look)

    look()
    await source.send(*(frame(n) for n in range(100)), marker(MAC, TOKEN))
    assert len(await source.carried()) == 100
    assert in_the_middle.is_set()


async def test_the_secret_is_the_one_that_is_told_by_now(source: Source) -> None:
    """The other node may have a new key by then."""
    later = HandoffPath(remote="127.0.0.1", datapath=7, port=3, peer_key=LATER.public)
    await source.drains.follow({PORT: SOURCE.model_copy(update={"path": later})})
    await source.send(
        frame(1), marker(MAC, TOKEN), frame(2), marker(MAC, LATER.secret(KEYS.public, migration="m1", port=PORT))
    )
    assert [one[16:] for one in await source.carried()] == [frame(1), frame(2)]


async def test_a_port_is_kept_for_the_marker(source: Source) -> None:
    await source.send(*(frame(n) for n in range(3)))
    finished = asyncio.create_task(source.drains.finish([(PORT, "m1")]))
    await source.send(marker(MAC, TOKEN))
    await finished
    assert (source.drains.statuses({PORT: SOURCE})[PORT].forwarded_frames or 0) >= 3
    assert len(await source.carried()) == 3


async def test_a_word_that_does_not_come_keeps_no_port(source: Source) -> None:
    await source.drains.finish([(PORT, "m1"), (PORT, "another")])
    assert source.drains.statuses({PORT: SOURCE}) == {}


@pytest.mark.parametrize(
    "said",
    [
        pytest.param((), id="nothing is said"),
        pytest.param((marker(MAC, "t" * 32),), id="without the secret"),
        pytest.param((marker(MAC, TOKEN[:-1]),), id="with a part of it"),
    ],
)
async def test_a_guest_that_may_run_again_keeps_its_frames(source: Source, said: tuple[bytes, ...]) -> None:
    """Rolled back, cancelled, or simply still there: no marker has come."""
    await source.send(*(frame(n) for n in range(5)), *said)
    await source.drains.follow({PORT: SOURCE})
    await source.drains.follow({})
    assert source.guest.read() == 5 + len(said)
    await source.send(marker(MAC, TOKEN), frame(1))
    assert source.guest.read() == 2, "nobody listens once the handoff is over"


async def test_the_queue_outlives_the_guests_process(source: Source) -> None:
    await source.send(*(frame(n) for n in range(3)))
    source.guest.process.kill()
    source.guest.process.wait()
    await source.send(marker(MAC, TOKEN))
    assert len(await source.carried()) == 3


async def test_a_target_of_the_same_migration_is_not_drained(source: Source) -> None:
    await source.drains.follow({})
    target = SOURCE.model_copy(update={"role": "Target"})
    await source.drains.follow({PORT: target})
    await source.send(frame(1), marker(MAC, TOKEN))
    assert source.guest.read() == 2


@pytest.mark.system
def test_no_handle_is_left_where_one_queue_cannot_be_read() -> None:
    """Its owner waits in it: a read of ours would, too."""
    name = f"vnt{uuid4().hex[:6]}"

    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    queues = [opened(name, flags, kind=MULTI_QUEUE) for flags in (os.O_NONBLOCK, os.O_NONBLOCK, 0)]
    before = held()
    with pytest.raises(OSError, match="waits in it"):
        duplicates("/proc/self/ns/net", frozenset({name}))
    after = held()
    for descriptor in queues:
        os.close(descriptor)
    assert after == before
