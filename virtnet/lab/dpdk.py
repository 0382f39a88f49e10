"""Open vSwitch with DPDK: what it is started with where several share a machine, and what it takes of that."""

import os
from pathlib import Path

from virtnet.lab import hugepages

VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
"""By its path: what ``ovs-vswitchd`` is stays as it was."""

LABEL = "lab.virtnet.dev/dpdk"
"""Of the Nodes that have such a switch: what an administrator would have VMs with vhost-user NICs select."""

PAGES = 160
"""Huge pages of each switch."""

MEMORY_MIB = 256
"""Of these pages, what it takes at once: for buffers of frames."""

LONGEST_SLEEP_US = "500"
"""For how long threads that poll their ports sleep when nothing comes: else each would take a processor."""


class NoDpdk(Exception):  # noqa: N818 - says what is the matter
    """This machine cannot have such switches. The message says what to do."""


def hold_pages(lab: str, switches: int) -> None:
    """Have the huge pages of a lab's switches until they are released. Raises NoDpdk and hugepages.NoHugePages."""
    if not Path(VSWITCHD).exists():
        raise NoDpdk(
            f"there is no {VSWITCHD}; on Debian 12: apt-get install openvswitch-switch-dpdk librte-mempool-ring23"
        )
    hugepages.hold(_holder(lab), PAGES * switches)


def release_pages(lab: str) -> None:
    """Put them back. Nothing to do is fine."""
    if hugepages.RECORD.exists():
        hugepages.release(_holder(lab))


def holds_pages(lab: str) -> bool:
    """Whether a lab has any still."""
    return (hugepages.RECORD / _holder(lab)).exists()


def _holder(lab: str) -> str:
    return f"lab-{lab}"


def settings(name: str, number: int) -> dict[str, str]:
    """Of the switch of this name, as ``other_config``."""
    return {
        "dpdk-init": "true",
        "dpdk-extra": f"--no-pci --in-memory --file-prefix={name}",
        "dpdk-socket-mem": str(MEMORY_MIB),
        "pmd-cpu-mask": f"{1 << number % (os.cpu_count() or 1):#x}",
        "pmd-maxsleep": LONGEST_SLEEP_US,
        "pmd-sleep-max": LONGEST_SLEEP_US,  # its name since Open vSwitch 3.2
    }
