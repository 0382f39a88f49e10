"""An eswitch's representors and vDPA's management devices, as devlink and vdpa show them."""

import asyncio
import json

from tests.devices.watching import Watched, watching
from tests.hardware.netdevsim import DEVICE, devlink_ports, netdevsim, set_mode
from tests.ovn.waiting import until
from virtnet.api.node_devices import NodeNicDevice
from virtnet.lab.netns import run
from virtnet.node.devices.ports import ports

VFS = 4


def simulated(watched: Watched) -> NodeNicDevice | None:
    return next((one for one in watched.nics if one.address == DEVICE), None)


async def test_representors_come_and_go_with_the_mode_of_the_eswitch() -> None:
    async with watching() as watched:
        with netdevsim(VFS):
            await until(lambda: (nic := simulated(watched)) and nic.vfs == VFS)
            nic = simulated(watched)
            assert nic
            assert (nic.driver, nic.eswitch_mode, nic.representors) == ("netdevsim", "legacy", ())
            set_mode("switchdev")
            await until(lambda: (nic := simulated(watched)) and nic.representors)
            nic, witness = simulated(watched), devlink_ports()
            assert nic
            assert (nic.eswitch_mode, nic.representors) == ("switchdev", (f"pf0vf0-{VFS - 1}",))
            physical = [name for name, port in witness.items() if port["flavour"] == "physical"]
            assert list(nic.interfaces) == physical
            found = {
                name: port.name for name, port in (await asyncio.to_thread(ports)).items() if port.device == DEVICE
            }
            assert found == {
                name: f"pf{port['pfnum']}vf{port['vfnum']}" if port["flavour"] == "pcivf" else f"p{port['port']}"
                for name, port in witness.items()
            }
            set_mode("legacy")
            await until(lambda: (nic := simulated(watched)) and not nic.representors)
        await until(lambda: simulated(watched) is None)


async def test_forwarding_that_is_left_to_the_cpu_is_told_of() -> None:
    with netdevsim(1):
        set_mode("switchdev")
        wire = next(name for name, port in devlink_ports().items() if port["flavour"] == "physical")
        run("ip", "link", "set", wire, "up")
        async with watching() as watched:
            await until(lambda: (nic := simulated(watched)) and nic.reason == "OffloadOff")
            run("ethtool", "-K", wire, "hw-tc-offload", "on")
            run("ip", "link", "set", wire, "mtu", "1400")  # features change without an event
            await until(lambda: (nic := simulated(watched)) and nic.healthy)


async def test_management_devices_of_vdpa() -> None:
    told = json.loads(run("vdpa", "--json", "mgmtdev", "show"))["mgmtdev"]
    async with watching() as watched:
        current = watched.devices.current
    assert current
    assert {one.name for one in current.vdpa_management_devices} == set(told)
    assert {"vduse", "vdpasim_net"} <= set(told)
    assert {one.name: one.max_virtqueues for one in current.vdpa_management_devices} == {
        name: one.get("max_supported_vqs", 0) for name, one in told.items()
    }
