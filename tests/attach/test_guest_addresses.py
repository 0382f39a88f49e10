"""What is heard of guests whose addresses the site gives, on the host's end of their NICs in the real kernel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.attach.rig import Node, run
from tests.attach.samples import MAC, attachment, hook, journaled
from tests.attach.test_gates import send
from tests.controllers.conftest import until
from virtnet.node.frames import announcements
from virtnet.node.guest_addresses import MOST, SELDOM_SECONDS, STALE_SECONDS, GuestAddresses, Heard
from virtnet.node.journal import Entry, Journal

PORT = "demo/db.blue"
UNDERLAY = {"providerNetwork": "rack", "vlan": 200}


def bare(**changes: object) -> Entry:
    return journaled(attachment=attachment(addresses=(), underlay=UNDERLAY), **changes)


@asynccontextmanager
async def listening(node: Node, journal: Journal) -> AsyncIterator[GuestAddresses]:
    guests = GuestAddresses(f"/run/netns/{node.name}", journal, hook)
    task = asyncio.create_task(guests.run())
    try:
        yield guests
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def journal(node: Node, tmp_path: Path) -> AsyncIterator[Journal]:
    node.pod()
    node.add()
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


@pytest.mark.system
async def test_what_a_guest_says_is_seen_until_its_nic_goes(node: Node, journal: Journal) -> None:
    """Its own kernel asks for a neighbour, and looks for others that have its IPv6 address."""
    netns = f"{node.name}-p{node.made}"
    await journal.write(bare())
    async with listening(node, journal) as guests:
        run("ip", "-n", netns, "link", "set", "pod1", "address", MAC)
        run("ip", "-n", netns, "address", "flush", "dev", "pod1")
        run("ip", "-n", netns, "address", "add", "10.5.0.7/24", "dev", "pod1")
        run("ip", "-n", netns, "address", "add", "fd05::7/64", "dev", "pod1")

        async def seen() -> bool:
            await send(f"/run/netns/{netns}", "pod1", announcements(MAC, ["fd05::8"], 0)[1])
            run("ip", "netns", "exec", netns, "sh", "-c", "ping -c 1 -W 1 10.5.0.1 || true")
            return guests.seen == {PORT: ("10.5.0.7", "fd05::7", "fd05::8")}

        await until(seen, "the guest's addresses", 20)
        await journal.write(bare(released_at=datetime.now(UTC)))

        async def gone() -> bool:
            return guests.seen == {}

        await until(gone, "nothing of a NIC that was let go")


@pytest.mark.system
async def test_a_nic_with_pinned_addresses_is_not_listened_to(node: Node, journal: Journal) -> None:
    netns = f"/run/netns/{node.name}-p{node.made}"
    await journal.write(journaled())
    async with listening(node, journal) as guests:
        for _ in range(3):
            await send(netns, "pod1", announcements(MAC, ["10.0.0.5"], 0)[1])
            await asyncio.sleep(0.5)
        assert guests.seen == {}


def test_a_guest_that_says_ever_new_ones_is_told_of_seldom() -> None:
    heard = Heard(bare())
    for number in range(1000):
        heard.note(f"10.0.{number // 250}.{number % 250 + 1}", 100.0)
    assert list(heard.addresses) == [f"10.0.0.{number}" for number in range(1, MOST + 1)]
    heard.note("10.0.0.2", 101.0)
    heard.note("10.9.0.1", 100.0 + SELDOM_SECONDS)
    heard.note("10.9.0.2", 101.0 + SELDOM_SECONDS)
    assert set(heard.addresses) == {"10.9.0.1", *(f"10.0.0.{number}" for number in range(2, MOST + 1))}


def test_an_address_goes_when_there_is_another_of_its_family_and_it_was_long_not_heard() -> None:
    heard = Heard(bare())
    for address in ("10.0.0.5", "10.0.0.6", "fd00::5"):
        heard.note(address, 100.0)
    heard.note("10.0.0.6", 200.0)
    heard.note("10.0.0.7", 150.0 + STALE_SECONDS)
    assert set(heard.addresses) == {"10.0.0.6", "10.0.0.7", "fd00::5"}
