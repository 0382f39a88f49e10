"""What fast NICs cost a node's daemon: their inventory, and ADD and DEL. Run it alone on the machine:

    python tests/bench/nics.py

Its sysfs is a directory of ours, of eight NICs with 128 virtual functions each; what devlink, ethtool and vDPA answer is
this machine's. The time is that of one reading until it could be published; at rest, the kernel's events are followed
as ever, and the CPU's time is that of the process.

A virtual function that is attached is modelled (tests.attach.modelled_vf): what its physical function has set is a file, so
that nothing a NIC's driver takes its time for is in the daemon's. All else is real: the kubelet's socket, the journal on disk,
Open vSwitch with a representor, which OVN is not asked to bind.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.attach.rig import Node
from tests.attach.test_sriov_crashes import needing_all
from tests.attach.test_switchdev import CONFIG, Scene, launcher, staged
from tests.bench.cni import in_turns, report
from tests.bench.figures import begin, publish
from tests.devices.sysfs import Sysfs, bus_addresses
from virtnet.api.nic_kinds import SRIOV, SWITCHDEV
from virtnet.node.devices.inventory import inventory
from virtnet.node.devices.reading import read
from virtnet.node.devices.watch import REFRESH_SECONDS, Devices

NICS, VFS = 8, 128
ROUNDS = 10
RUNS = 200
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


def attaching(state: Path) -> dict[str, float]:
    """Of a guest's virtual function, by kinds."""
    found: dict[str, float] = {}
    with Node.running(state) as node, staged(node, state) as scene:
        node.vsctl("add-br", "br-phys", "--", "set", "Bridge", "br-phys", "datapath_type=netdev")
        node.start_daemon(MODELLED_VF=str(scene.vf.state), OVN="absent")
        for kind, pod in {SWITCHDEV: of_switchdev, SRIOV: needing_all}.items():
            adds, dels = in_turns(node, RUNS, pod(scene), CONFIG)
            taken = report("add", adds) | report("del", dels)
            found |= {f"nics.{kind}.{name}": milliseconds for name, milliseconds in taken.items()}
    return found


def of_switchdev(scene: Scene) -> str:
    """A pod with such a NIC; its network namespace."""
    return launcher(scene.node)


def main() -> None:
    """Measure, and publish."""
    begin()
    with tempfile.TemporaryDirectory() as directory:
        kernel = fill(Path(directory) / "sys")
        state = Path(directory) / "node"
        state.mkdir()
        figures = attaching(state) | {
            "nics.inventory_s": reading_seconds(kernel),
            "nics.inventory_idle_cpu": asyncio.run(cpu_at_rest(kernel)),
        }
    publish(f"Fast NICs: inventory of {NICS * VFS:,} virtual functions, {RUNS} ADDs and DELs of one", figures)


if __name__ == "__main__":
    main()
