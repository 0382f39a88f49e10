"""The kernel itself says that something has changed, and what is there then is seen within a second.

Its events are real. What they are about is a sysfs of ours where this machine has no such hardware.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.devices.sysfs import PF, Sysfs, bus_addresses
from tests.devices.watching import watching
from tests.ovn.waiting import until
from virtnet.lab import netns
from virtnet.node.devices import uevents
from virtnet.node.devices.reading import read

pytestmark = pytest.mark.system

UEVENTS = sorted(Path("/sys/bus/pci/devices").glob("*/uevent"))
"""A word written there has the kernel say something of that device."""

NO_PCI = "a machine without PCI: its kernel has no device to say anything of"


@pytest.fixture
def node() -> Iterator[str]:
    name = f"vnd{uuid4().hex[:6]}"
    netns.create(name)
    yield name
    netns.run("ip", "netns", "delete", name)


@pytest.mark.skipif(not UEVENTS, reason=NO_PCI)
async def test_virtual_functions_that_come_go_and_change_their_driver(tmp_path: Path) -> None:
    kernel = Sysfs(tmp_path / "sys")
    kernel.nic(PF, "ens1f0", total=8)
    vfs = bus_addresses(0x3B, 2, first=16)

    def say() -> None:
        UEVENTS[0].write_text("change")

    async with watching(reading=lambda: read(kernel.root)) as watched:
        assert watched.drivers() == {}
        kernel.vfs(PF, vfs)
        say()
        await watched.told()
        assert watched.drivers() == {"0-1": "iavf"}
        kernel.bind(vfs[0], "vfio-pci")
        say()
        await watched.told()
        assert watched.drivers() == {"0": "vfio-pci", "1": "iavf"}
        kernel.remove(vfs[1])
        (kernel.root / "bus/pci/devices" / PF / "virtfn1").unlink()
        say()
        await watched.told()
        assert watched.drivers() == {"0": "vfio-pci"}


async def test_a_link_of_a_nic_is_followed(tmp_path: Path, node: str) -> None:
    """By its name: a veth stands for a NIC's interface here."""
    kernel = Sysfs(tmp_path / "sys")
    kernel.nic(PF, "ens1f0")
    netns.ip(node, "link add ens1f0 type veth peer name other")
    async with watching(f"/run/netns/{node}", lambda: read(kernel.root)) as watched:
        kernel.write(kernel.root / "class/net/ens1f0", {"operstate": "down"})
        netns.ip(node, "link set ens1f0 up")
        await watched.told()
        assert watched.nics[0].link == "NoCarrier"


@pytest.mark.skipif(not UEVENTS, reason=NO_PCI)
async def test_interfaces_of_pods_are_not_looked_at(node: str) -> None:
    nudges: list[str] = []
    follow = asyncio.create_task(uevents.follow(f"/run/netns/{node}", lambda: nudges.append("")))

    def heard() -> bool:
        if not follow.done() and not nudges:
            UEVENTS[0].write_text("change")
        return bool(nudges)

    await until(heard)
    nudges.clear()
    netns.ip(node, *(f"link add pod{number} type veth peer name peer{number}" for number in range(5)))
    await asyncio.to_thread(netns.ip, node, *(f"link del pod{number}" for number in range(5)))
    UEVENTS[0].write_text("change")  # told after all of theirs
    await until(lambda: nudges)
    assert len(nudges) == 1
    follow.cancel()
    await asyncio.gather(follow, return_exceptions=True)
