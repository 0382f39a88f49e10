"""The gate of a migration's target, in the real kernel: who opens it, and that nothing of it outlives its daemon."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.attach.guest import far_end
from tests.attach.rig import SECONDS, Node, eventually, inside, run
from tests.attach.samples import MAC, hook, journaled
from virtnet.api import HandoffPath, NodeHandoff
from virtnet.node.handoff.cut_over_marker import is_marker
from virtnet.node.handoff.gates import FORGOTTEN_SECONDS, Gates
from virtnet.node.handoff.keys import HandoffKeys
from virtnet.node.journal import Entry
from virtnet.node.netns import inside as within

PEER = "02:76:6e:00:00:99"
PORT = "demo/db.blue"
KEYS, SOURCE, LATER = (HandoffKeys.generate() for _ in range(3))


def tables(node: Node) -> list[str]:
    """Names of nftables tables in the node's namespace."""
    found = json.loads(run("ip", "netns", "exec", node.name, "nft", "-j", "list", "tables"))
    return [item["table"]["name"] for item in found["nftables"] if "table" in item]


def frame(source: str, target: str) -> bytes:
    return bytes.fromhex((target + source).replace(":", "")) + b"\x88\xb5" + bytes(50)


async def send(netns: str, device: str, data: bytes) -> None:
    def work(_: Any) -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
            link.bind((device, 0))
            with contextlib.suppress(OSError):  # ENOBUFS: what a gate drops
                link.send(data)

    await within(netns, work)


class Pod:
    """A target's pod, attached, and what reaches it."""

    def __init__(self, node: Node, name: str, netns: str) -> None:
        self.node = node
        self.name = name
        self.netns = netns
        self.here = f"/run/netns/{node.name}"

    @property
    def host(self) -> str:
        return self.node.links()[0]

    @property
    def received(self) -> int:
        link = next(one for one in inside(self.netns, "-s", "link") if one["ifname"] == "pod1")
        return int(link["stats64"]["rx"]["packets"])

    async def reached(self) -> bool:
        """Whether a peer's frame gets to the guest."""
        before = self.received
        await send(self.here, self.host, frame(PEER, MAC))
        return self.received > before


@pytest.fixture
async def target(node: Node) -> Pod:
    node.pod("target", migration="m1")
    netns = node.sandbox()
    node.add("target", netns=netns, pod="target")
    return Pod(node, "target", netns)


async def test_nothing_reaches_a_guest_that_is_not_there(target: Pod) -> None:
    assert tables(target.node) == [f"virtnet-{target.host}"]
    assert not await target.reached()


async def test_the_guest_opens_it_by_its_first_frame(target: Pod) -> None:
    assert not await target.reached()
    await send(target.netns, "pod1", frame(MAC, "ff:ff:ff:ff:ff:ff"))
    assert await target.reached()
    eventually(lambda: tables(target.node) == [], "nothing is left of an open gate")


async def test_others_do_not_open_it(target: Pod) -> None:
    await send(target.netns, "pod1", frame(PEER, "ff:ff:ff:ff:ff:ff"))
    await send(target.here, target.host, frame(MAC, PEER))
    assert not await target.reached()


async def test_it_dies_with_its_daemon(target: Pod) -> None:
    target.node.daemon.kill()
    assert tables(target.node) == []
    assert await target.reached()
    target.node.start_daemon()
    assert tables(target.node) == []


async def test_it_goes_with_its_nic(target: Pod) -> None:
    assert target.node.cni("DEL", container="target") == (0, None)
    assert tables(target.node) == []


async def test_other_pods_have_none(node: Node) -> None:
    node.pod()
    node.add()
    assert tables(node) == []


@pytest.fixture
async def gates(node: Node) -> AsyncIterator[Gates]:
    """Gates of this process on the host's end of a NIC that a daemon has made."""
    made = Gates(f"/run/netns/{node.name}", KEYS, lambda: "127.0.0.1")
    node.pod()
    node.add()
    await made.shut(entry("m1"), hook(entry("m1")))
    yield made
    await made.forget(entry("m1").id)


def entry(migration: str) -> Entry:
    return journaled(migration=migration, state="Attaching")


TARGET = NodeHandoff(migration="m1", role="Target")


@pytest.mark.parametrize(
    ("assignments", "shut"),
    [
        pytest.param([{}], True, id="not spoken of yet"),
        pytest.param([{PORT: TARGET}], True, id="under way"),
        pytest.param(
            [{PORT: TARGET.model_copy(update={"guest_running": True})}], False, id="the guest is known to be here"
        ),
        pytest.param([{PORT: TARGET}, {}], False, id="over"),
        pytest.param([{PORT: TARGET}, {PORT: NodeHandoff(migration="m2", role="Target")}], False, id="another's turn"),
        pytest.param([{PORT: NodeHandoff(migration="m0", role="Target")}], True, id="an earlier one is not ours"),
        pytest.param([{"demo/other.blue": TARGET.model_copy(update={"guest_running": True})}], True, id="another port"),
    ],
)
async def test_the_controller_opens_it(
    gates: Gates, node: Node, assignments: list[dict[str, NodeHandoff]], *, shut: bool
) -> None:
    for handoffs in assignments:
        await gates.follow(handoffs)
    assert bool(tables(node)) is shut


PATH = HandoffPath(remote="127.0.0.1", datapath=7, port=3, peer_key=SOURCE.public)


def secret(source: HandoffKeys) -> str:
    """As the source's node computes it."""
    return source.secret(KEYS.public, migration="m1", port=PORT)


async def source_node(node: Node) -> socket.socket:
    """What hears the marker there."""
    run("ip", "-n", node.name, "link", "set", "lo", "up")
    return await within(f"/run/netns/{node.name}", lambda _: far_end())


@pytest.mark.parametrize("arrived", [True, False])
async def test_the_source_is_told_of_a_guest_that_is_here_and_of_no_other(
    gates: Gates, node: Node, *, arrived: bool
) -> None:
    part = TARGET.model_copy(update={"path": PATH})
    with await source_node(node) as far:
        await gates.follow({PORT: part})
        await gates.follow({PORT: part.model_copy(update={"guest_running": True})} if arrived else {})
        assert tables(node) == []
        if arrived:
            assert is_marker((await asyncio.get_running_loop().sock_recv(far, 2048))[16:], secret(SOURCE))
        else:
            with pytest.raises(BlockingIOError):
                far.recv(2048)


async def test_the_source_is_told_with_the_secret_that_it_has_by_now(gates: Gates, node: Node) -> None:
    """The other node may have a new key by then."""
    part, later = TARGET.model_copy(update={"path": PATH}), PATH.model_copy(update={"peer_key": LATER.public})
    with await source_node(node) as far:
        await gates.follow({PORT: part})
        await gates.follow({PORT: part.model_copy(update={"path": later, "guest_running": True})})
        async with asyncio.timeout(SECONDS):
            said = (await asyncio.get_running_loop().sock_recv(far, 2048))[16:]
        assert is_marker(said, secret(LATER))


@pytest.mark.parametrize("guest_running", [True, False])
async def test_a_guest_that_is_heard_before_there_is_a_way_to_its_source(
    gates: Gates, node: Node, monkeypatch: pytest.MonkeyPatch, *, guest_running: bool
) -> None:
    heard, connect = asyncio.Event(), Gates._connect
    gates.on_open(lambda _: heard.set())

    async def connect_late(*arguments: Any) -> None:
        await send(f"/run/netns/{node.name}-p{node.made}", "pod1", frame(MAC, PEER))
        await heard.wait()
        await connect(*arguments)

    monkeypatch.setattr(Gates, "_connect", connect_late)
    part = TARGET.model_copy(update={"path": PATH, "guest_running": guest_running})
    with await source_node(node) as far:
        await gates.follow({PORT: part})
        async with asyncio.timeout(SECONDS):
            said = (await asyncio.get_running_loop().sock_recv(far, 2048))[16:]
        assert is_marker(said, secret(SOURCE))


async def test_a_handoff_that_nobody_speaks_of_does_not_keep_it_shut(
    gates: Gates, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates._shut = {id_: replace(gate, since=gate.since - FORGOTTEN_SECONDS) for id_, gate in gates._shut.items()}
    await gates.follow({})
    assert tables(node) == []


async def test_the_moment_is_told_for_as_long_as_the_controller_asks(gates: Gates, node: Node) -> None:
    opened: list[bool] = []
    gates.on_open(lambda _: opened.append(True))
    assert gates.statuses({PORT: TARGET}) == {}
    netns = f"{node.name}-p{node.made}"
    await send(f"/run/netns/{netns}", "pod1", frame(MAC, PEER))
    while not opened:
        await within("/proc/self/ns/net", lambda _: None)
    answer = gates.statuses({PORT: TARGET})[PORT]
    assert answer.migration == "m1"
    assert answer.gate_opened_at is not None
    assert gates.statuses({PORT: TARGET})
    assert gates.statuses({}) == {}
    assert gates.statuses({PORT: TARGET}) == {}


async def test_a_node_that_can_says_so(gates: Gates) -> None:
    assert await gates.obstacle() == ""
