"""A simulated NIC with an eswitch, whose representors are as those of a real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtnet.lab.netns import run

BUS = Path("/sys/bus/netdevsim")
NUMBER = 10
DEVICE = f"netdevsim/netdevsim{NUMBER}"
"""As devlink names it."""


@contextmanager
def netdevsim(vfs: int) -> Iterator[None]:
    """In legacy mode, with so many VFs."""
    (BUS / "new_device").write_text(f"{NUMBER} 1")
    try:
        (BUS / f"devices/netdevsim{NUMBER}/sriov_numvfs").write_text(str(vfs))
        yield
    finally:
        (BUS / "del_device").write_text(str(NUMBER))


def set_mode(mode: str) -> None:
    run("devlink", "dev", "eswitch", "set", DEVICE, "mode", mode)
