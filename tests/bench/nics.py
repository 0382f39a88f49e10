"""What the inventory of fast NICs costs a node's daemon. Run it alone on the machine:

    python tests/bench/nics.py

Its sysfs is a directory of ours, of eight NICs with 128 virtual functions each; what devlink, ethtool and vDPA answer is
this machine's. The time is that of one reading until it could be published; at rest, the kernel's events are followed
as ever, and the CPU's time is that of the process.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.figures import begin, publish
from tests.devices.sysfs import Sysfs, bus_addresses
from virtnet.node.devices.inventory import inventory
from virtnet.node.devices.reading import read
from virtnet.node.devices.watch import REFRESH_SECONDS, Devices

NICS, VFS = 8, 128
ROUNDS = 10
REST_SECONDS = REFRESH_SECONDS + 10
"""So that the reading is in it that comes without any event."""


def fill(root: Path) -> Sysfs:
    """A node's sysfs."""
    kernel = Sysfs(root)
    for number in range(NICS):
        bus = 16 * number + 1
        address = f"0000:{bus:02x}:00.0"
        kernel.nic(address, f"ens{number}f0np0", total=VFS)
        kernel.vfs(address, bus_addresses(bus, VFS, first=16), groups=1000 * number)
    return kernel


def reading_seconds(kernel: Sysfs) -> float:
    """How long one takes, in the middle."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        devices = inventory(read(kernel.root), {})
        found.append(time.perf_counter() - began)
        assert sum(len(nic.virtual_functions) for nic in devices.nics) == NICS
    return median(found)


async def cpu_at_rest(kernel: Sysfs) -> float:
    """The part of one core that it takes while nothing happens."""
    devices, ready = Devices("/proc/self/ns/net", lambda: read(kernel.root)), asyncio.Event()
    devices.on_change(ready.set)
    task = asyncio.create_task(devices.run())
    await ready.wait()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(REST_SECONDS)
    used = (time.process_time() - cpu) / (time.perf_counter() - began)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return used


def main() -> None:
    """Measure, and publish."""
    begin()
    with tempfile.TemporaryDirectory() as directory:
        kernel = fill(Path(directory) / "sys")
        figures = {
            "nics.inventory_s": reading_seconds(kernel),
            "nics.inventory_idle_cpu": asyncio.run(cpu_at_rest(kernel)),
        }
    publish(f"Inventory of {NICS * VFS:,} virtual functions", figures)


if __name__ == "__main__":
    main()
