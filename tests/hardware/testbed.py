"""The emulated machine of these tests: an igb with seven VFs behind an IOMMU, its wire to another NIC, and modules for
NICs that are simulated.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.kernel.machine import Ended, Machine, run
from virtnet.lab.image import Kernel, cache

PARTS = cache() / "hardware"
"""What .ci/hardware has made."""

SECONDS = 1200
PF_MAC, WIRE_MAC = "52:54:00:00:00:01", "52:54:00:00:00:99"

MODULES = (
    *("igb", "igbvf", "virtio_net", "vfio_pci", "vfio_iommu_type1"),
    "crc32c_generic",  # of which openvswitch does not say that it needs it
    *("openvswitch", "vport_geneve", "nf_tables", "veth", "tun", "bridge", "8021q"),
    *("cls_flower", "cls_matchall", "sch_prio", "sch_ingress", "act_mirred", "act_gact", "act_skbedit", "act_vlan"),
    *("act_tunnel_key", "act_ct", "act_pedit", "act_csum", "act_police"),
    *("netdevsim", "vduse", "virtio_vdpa", "vhost_vdpa", "vdpa_sim_net"),
)
DEVICES = (
    *("-device", "intel-iommu,intremap=on,caching-mode=on"),  # before what is behind it
    *("-netdev", "hubport,id=pf,hubid=1", "-netdev", "hubport,id=wire,hubid=1"),
    *("-device", "pcie-root-port,id=root,slot=3,chassis=3", "-device", f"igb,bus=root,netdev=pf,mac={PF_MAC}"),
    *("-device", f"virtio-net-pci,netdev=wire,mac={WIRE_MAC},romfile="),
)


def missing() -> str:
    """Why there is no such machine; empty where there is."""
    if _kernels():
        return ""
    return f"{PARTS} has no kernel with drivers of NICs: .ci/hardware {PARTS} fetches it, or says why not"


def run_tests(state: Path, words: Sequence[str]) -> Ended:
    """Boot it, and run pytest in it with these words, or with all of these tests. Raises MachineError."""
    own = PARTS / "qemu/run"
    machine = Machine(
        kernel=Kernel(_kernels()[-1].parent),
        modules=MODULES,
        program=str(own) if own.exists() else "qemu-system-x86_64",
        devices=DEVICES,
        # While the kernel counts its ticks, an emulated timer may come late.
        parameters="intel_iommu=on iommu=pt no_timer_check",
    )
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider"]
    return run(
        machine,
        state,
        [*command, *(words or ("tests/hardware",))],
        directory=REPOSITORY,
        seconds=SECONDS,
        HARDWARE="emulated",
        DATAPATH="system",
    )


def _kernels() -> list[Path]:
    return sorted(PARTS.glob("linux-*/vmlinuz"), key=lambda path: path.stat().st_mtime)
