"""Whether a guest that has arrived answers, on the host's end of its NIC in the real kernel."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.attach.rig import Node, run
from tests.attach.samples import MAC, attachment, hook, journaled
from tests.attach.test_gates import frame, send
from virtnet.api import NodeHandoff
from virtnet.node.handoff.liveness import LivenessProbes
from virtnet.node.journal import Journal

PORT = "demo/db.blue"
HERE = NodeHandoff(migration="m1", role="Target", guest_running=True)
QEMU = bytes.fromhex("ff" * 6 + MAC.replace(":", "")) + b"\x80\x35" + bytes(46)
"""An announcement (RARP), as QEMU makes it of a guest that goes on, or should."""

pytestmark = pytest.mark.system


class Rig:
    """The NIC of a pod whose own kernel plays the guest, and a daemon's part of this process."""

    def __init__(self, node: Node, journal: Journal) -> None:
        self.node = node
        self.netns = f"{node.name}-p{node.made}"
        self.journal = journal
        self.heard = asyncio.Event()
        self.probes = LivenessProbes(f"/run/netns/{node.name}", journal, hook, self.heard.set)

    def guest(self, *words: str) -> None:
        run("ip", "-n", self.netns, *words)

    async def follow(self, handoffs: dict[str, NodeHandoff]) -> None:
        await self.probes.follow(handoffs)

    async def answers(self, seconds: float = 10.0) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.heard.wait()
        except TimeoutError:
            return False
        return self.probes.statuses({PORT: HERE})[PORT].answered_at is not None


@pytest.fixture
async def rig(node: Node, tmp_path: Path) -> AsyncIterator[Rig]:
    node.pod()
    node.add()
    journal = Journal(tmp_path / "journal")
    await journal.write(journaled(migration="m1"))
    made = Rig(node, journal)
    yield made
    await made.follow({})
    journal.close()


@pytest.mark.parametrize(
    ("held", "used"),
    [
        pytest.param(("10.0.0.5/24",), "10.0.0.5/24", id="IPv4"),
        pytest.param(("fd00::5/64",), "fd00::5/64", id="IPv6"),
        pytest.param(("10.0.0.5/24", "fd00::5/64"), "fd00::5/64", id="both, of which it uses one"),
    ],
)
async def test_a_guest_that_answers_is_told_of(rig: Rig, held: tuple[str, ...], used: str) -> None:
    await rig.journal.write(journaled(migration="m1", attachment=attachment(addresses=held)))
    rig.guest("link", "set", "pod1", "address", MAC)
    rig.guest("address", "flush", "dev", "pod1")
    rig.guest("address", "replace", used, "dev", "pod1", *(("nodad",) if ":" in used else ()))
    await rig.follow({PORT: HERE})
    assert await rig.answers()


async def test_an_announcement_is_no_answer_and_anything_else_is(rig: Rig) -> None:
    rig.guest("address", "flush", "dev", "pod1")
    await rig.follow({PORT: HERE})
    await send(f"/run/netns/{rig.netns}", "pod1", QEMU)
    assert not await rig.answers(0.5)
    said = rig.probes.statuses({PORT: HERE})[PORT]
    assert said.probed_at is not None
    assert said.answered_at is None
    await send(f"/run/netns/{rig.netns}", "pod1", frame(MAC, "ff:ff:ff:ff:ff:ff"))
    assert await rig.answers()


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(NodeHandoff(migration="m1", role="Target"), id="not said to be here yet"),
        pytest.param(NodeHandoff(migration="m1", role="Source", release_requested=True), id="it leaves"),
        pytest.param(NodeHandoff(migration="m2", role="Target", guest_running=True), id="another migration's NIC"),
    ],
)
async def test_nobody_else_is_asked(rig: Rig, part: NodeHandoff) -> None:
    await rig.follow({PORT: part})
    assert rig.probes.statuses({PORT: part}) == {}


async def test_what_is_over_is_forgotten(rig: Rig) -> None:
    await rig.follow({PORT: HERE})
    await rig.follow({})
    assert rig.probes.statuses({PORT: HERE}) == {}
