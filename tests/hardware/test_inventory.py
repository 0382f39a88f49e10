"""What the node tells of a real NIC is what iproute2 and the kernel say of it, from its first VF to its last."""

import json

import pytest

from tests.devices.watching import Watched, watching
from tests.hardware import igb
from tests.hardware.igb import Igb
from tests.hardware.testbed import WIRE_MAC
from tests.ovn.waiting import until
from virtnet.api.node_devices import NodeNicDevice, VirtualFunctions
from virtnet.lab.netns import run
from virtnet.node.devices import links


def nic(watched: Watched, address: str) -> NodeNicDevice:
    return next(one for one in watched.nics if one.address == address)


async def test_a_nic_without_virtual_functions(pf: Igb) -> None:
    async with watching() as watched:
        found = nic(watched, pf.address)
        wire = next(one for one in watched.nics if one.address != pf.address)
    assert (found.driver, found.interfaces, found.vendor, found.product) == ("igb", (pf.interface,), "8086", "10c9")
    assert (found.link, found.total_vfs, found.vfs, found.virtual_functions) == ("Up", 7, 0, ())
    assert found.iommu_group == int((pf.directory / "iommu_group").readlink().name)
    assert found.healthy, found.message
    assert wire.driver == "virtio-pci"
    shown = json.loads(run("ip", "-json", "link", "show", wire.interfaces[0]))
    assert shown[0]["address"] == WIRE_MAC


async def test_virtual_functions_come_and_go(pf: Igb) -> None:
    def shown() -> list[int]:
        link = json.loads(run("ip", "-json", "link", "show", pf.interface))[0]
        return [vf["vf"] for vf in link.get("vfinfo_list", ())]

    async with watching() as watched:
        pf.set_vfs(7)
        await until(lambda: watched.drivers() == {"0-6": "igbvf"} and nic(watched, pf.address).healthy)
        found = nic(watched, pf.address)
        groups = [(igb.PCI / "devices" / pf.vf(index) / "iommu_group").readlink().name for index in range(7)]
        assert (shown(), found.vfs) == (list(range(7)), 7)
        vfs = found.virtual_functions[0]
        assert vfs.addresses.split(",") == [pf.vf(index) for index in range(7)]
        assert vfs.healthy, vfs.message
        assert vfs.iommu_groups == f"{groups[0]}-{groups[6]}"
        pf.set_vfs(0)
        await until(lambda: not watched.drivers())
        assert (shown(), nic(watched, pf.address).vfs) == ([], 0)


async def test_a_virtual_function_changes_its_driver(pf: Igb) -> None:
    def third(watched: Watched) -> VirtualFunctions:
        return next(one for one in nic(watched, pf.address).virtual_functions if one.indices == "3")

    pf.set_vfs(7)
    address = pf.vf(3)
    async with watching() as watched:
        igb.unbind(address)
        await until(lambda: watched.drivers() == {"0-2,4-6": "igbvf", "3": ""})
        assert (third(watched).reason, third(watched).addresses) == ("NoDriver", address)
        igb.bind(address, "vfio-pci")
        await until(lambda: watched.drivers() == {"0-2,4-6": "igbvf", "3": "vfio-pci"})
        await until(lambda: third(watched).healthy)  # the link comes up again after the functions were made
        igb.unbind(address)
        igb.bind(address, "igbvf")
        await until(lambda: watched.drivers() == {"0-6": "igbvf"})


async def test_a_link_that_is_set_down_and_up(pf: Igb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "STEADY_SECONDS", 1.0)
    async with watching() as watched:
        run("ip", "link", "set", pf.interface, "down")
        await until(lambda: nic(watched, pf.address).reason == "LinkDisabled")
        pf.up()
        await until(lambda: nic(watched, pf.address).healthy)
