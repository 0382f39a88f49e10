"""Who has an address is asked on the wire: of a real kernel at the other end, in both families."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.attach.rig import eventually
from tests.attach.samples import attachment, journaled
from tests.messages import CNI
from tests.underlay.conftest import BRIDGE, NETWORK, WIRE, Site
from virtnet.api import NodeConflict
from virtnet.lab import netns
from virtnet.node import underlays
from virtnet.node.netns import inside
from virtnet.node.request import CniError
from virtnet.node.underlays import _listener, holders
from virtnet.ovn.vswitch import VSwitch

MAC = "02:76:6e:00:00:01"
HELD = "10.66.0.10"
ADDRESSES = ["10.7.0.1", "10.7.0.2", "fd07::1", "fd07::2"]

pytestmark = pytest.mark.system


@pytest.fixture
def wire() -> Iterator[tuple[str, str]]:
    """The namespace of a node and its device; at the other end a machine with two of the addresses."""
    node, outside = (f"vnc{uuid4().hex[:6]}{end}" for end in "no")
    for name in (node, outside):
        netns.create(name)
    try:
        netns.cable(outside, "eth0", node, "br-blue")
        netns.ip(outside, "address add 10.7.0.1/24 dev eth0", "address add fd07::1/64 dev eth0 nodad")
        yield node, outside
    finally:
        for name in (node, outside):
            netns.run("ip", "netns", "delete", name)


async def test_a_machine_that_has_an_address_is_named(wire: tuple[str, str]) -> None:
    node, outside = wire
    mac = netns.run("cat", "/sys/class/net/eth0/address", netns=outside).strip()
    with await inside(f"/run/netns/{node}", lambda _: _listener("br-blue")) as listener:
        found = await holders(listener, MAC, ADDRESSES, 0)
        assert found == {"10.7.0.1": mac, "fd07::1": mac}
        assert await holders(listener, mac, ADDRESSES, 0) == {}, "a guest of ours that still runs is no conflict"


async def test_a_machine_that_has_the_mac_is_named(wire: tuple[str, str]) -> None:
    """As a VM of another cluster on the same VLAN may: it has another address."""
    node, outside = wire
    netns.ip(outside, "link set eth0 down", f"link set eth0 address {MAC} addrgenmode eui64 up")

    def settled() -> bool:
        said = netns.run("ip", "-6", "address", netns=outside)
        return "fe80::76" in said and "tentative" not in said

    await asyncio.to_thread(eventually, settled, "its link-local address")
    with await inside(f"/run/netns/{node}", lambda _: _listener("br-blue")) as listener:
        others = ["10.7.0.2", "fd07::2"]
        found = await holders(listener, MAC, others, 0)
        assert found == await holders(listener, MAC, [], 0) == {MAC: MAC}
        assert await holders(listener, MAC, ["10.7.0.1", "fd07::2"], 0) == {}, "a guest of ours that still runs"
        assert await holders(listener, "02:76:6e:00:00:02", others, 0) == {}
    conflict = NodeConflict(address=MAC, mac_address=MAC, segment="VLAN 100 of rack")
    assert str(conflict) == (
        f"MAC {MAC} is used by a machine outside on VLAN 100 of rack; give the NIC another macAddress, or that machine "
        "another MAC"
    )


async def test_a_conflict_is_known_for_as_long_as_it_lasts(
    site: Site, vswitch: VSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the runtime has stopped asking, and until the machine outside lets go of the address."""
    probed, gone = asyncio.Semaphore(0), asyncio.Event()

    async def counted(*question: Any) -> dict[str, str]:
        probed.release()
        return await holders(*question)

    monkeypatch.setattr(underlays, "ASK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(underlays, "holders", counted)
    netns.ip(site.node.name, f"link set {BRIDGE} up")
    netns.ip(site.outside, f"link set {WIRE} up", f"address add {HELD}/24 dev {WIRE}")
    mac = netns.run("cat", f"/sys/class/net/{WIRE}/address", netns=site.outside).strip()
    found = underlays.Underlays(f"/run/netns/{site.node.name}", vswitch)
    changes: list[dict[str, NodeConflict]] = []

    def note() -> None:
        changes.append(found.conflicts)
        if not found.conflicts:
            gone.set()

    found.on_change(note)
    nic = attachment(addresses=(f"{HELD}/24",), underlay={"providerNetwork": NETWORK, "vlan": 0})
    entry = journaled(attachment=nic)
    with pytest.raises(CniError) as refusal:
        await found.check(entry)
    row = CNI["an address that a machine outside has"]
    assert (str(refusal.value.code), str(refusal.value)) == (row.reason, row.message.replace("MAC", mac))
    held = {"demo/db.blue": NodeConflict(address=HELD, mac_address=mac, segment=NETWORK)}
    again = asyncio.create_task(found.run())
    for _ in range(3):
        await asyncio.wait_for(probed.acquire(), 20)
    assert changes == [held]
    netns.ip(site.outside, f"address delete {HELD}/24 dev {WIRE}")
    await asyncio.wait_for(gone.wait(), 20)
    again.cancel()
    assert changes == [held, {}]
    await found.check(entry)
    netns.ip(site.outside, f"address add {HELD}/24 dev {WIRE}")
    await found.check(entry.model_copy(update={"migration": "m1"}))
    netns.ip(site.outside, f"address delete {HELD}/24 dev {WIRE}")


async def test_a_nic_that_nobody_asks_for_any_more_is_forgotten(
    site: Site, vswitch: VSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.Event()
    monkeypatch.setattr(underlays, "ASK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(underlays, "FORGET_SECONDS", 0.0)
    netns.ip(site.node.name, f"link set {BRIDGE} up")
    netns.ip(site.outside, f"link set {WIRE} up", f"address add {HELD}/24 dev {WIRE}")
    found = underlays.Underlays(f"/run/netns/{site.node.name}", vswitch)
    nic = attachment(addresses=(f"{HELD}/24",), underlay={"providerNetwork": NETWORK, "vlan": 0})
    with pytest.raises(CniError):
        await found.check(journaled(attachment=nic))
    found.on_change(gone.set)
    again = asyncio.create_task(found.run())
    await asyncio.wait_for(gone.wait(), 20)
    again.cancel()
    assert not found.conflicts
    netns.ip(site.outside, f"address delete {HELD}/24 dev {WIRE}")


async def test_a_bridge_that_goes_down_stops_nobody(
    site: Site, vswitch: VSwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can be asked any more: neither the daemon's other work nor a pod that waits may end for that."""
    gone = asyncio.Event()
    monkeypatch.setattr(underlays, "ASK_AGAIN_SECONDS", 0.05)
    netns.ip(site.node.name, f"link set {BRIDGE} up")
    netns.ip(site.outside, f"link set {WIRE} up", f"address add {HELD}/24 dev {WIRE}")
    found = underlays.Underlays(f"/run/netns/{site.node.name}", vswitch)
    entry = journaled(
        attachment=attachment(addresses=(f"{HELD}/24",), underlay={"providerNetwork": NETWORK, "vlan": 0})
    )
    with pytest.raises(CniError):
        await found.check(entry)
    found.on_change(gone.set)
    again = asyncio.create_task(found.run())
    netns.ip(site.node.name, f"link set {BRIDGE} down")
    await asyncio.wait({again, asyncio.create_task(gone.wait())}, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert not again.done()
    await found.check(entry)
    again.cancel()
    netns.ip(site.outside, f"address delete {HELD}/24 dev {WIRE}")
