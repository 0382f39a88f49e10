"""The machine's igb, as an administrator has it: by sysfs and iproute2."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.hardware.testbed import PF_MAC, WIRE_MAC
from virtnet.lab.netns import run

PCI = Path("/sys/bus/pci")
NET = Path("/sys/class/net")
SECONDS = 20


@dataclass(frozen=True)
class Igb:
    """The physical function."""

    address: str
    interface: str

    @property
    def directory(self) -> Path:
        return PCI / "devices" / self.address

    def up(self) -> None:
        """Its VFs reach it only if they are made while it is up."""
        run("ip", "link", "set", self.interface, "up")
        self._await_carrier()

    def _await_carrier(self) -> None:
        carrier = NET / self.interface / "carrier"
        end = time.monotonic() + SECONDS
        while carrier.read_text().strip() != "1":
            if time.monotonic() > end:
                raise TimeoutError(f"{self.interface} has no carrier")
            time.sleep(0.02)

    @property
    def vfs(self) -> int:
        """How many it has."""
        return int((self.directory / "sriov_numvfs").read_text())

    def set_vfs(self, count: int) -> None:
        """Have this many, each with its driver; all that were there before go first.

        Its driver starts it anew for that, so one that is up has no carrier for a moment.
        """
        numvfs = self.directory / "sriov_numvfs"
        numvfs.write_text("0")
        if count:
            numvfs.write_text(str(count))
            self._await_carrier()

    def vf(self, index: int) -> str:
        """The PCI address of a VF."""
        return (self.directory / f"virtfn{index}").readlink().name


def find() -> Igb:
    interface = next(path for path in NET.iterdir() if (path / "address").read_text().strip() == PF_MAC)
    return Igb((interface / "device").resolve().name, interface.name)


def wire() -> str:
    """The interface at the other end of its wire."""
    return next(path.name for path in NET.iterdir() if (path / "address").read_text().strip() == WIRE_MAC)


def unbind(address: str) -> None:
    (PCI / "devices" / address / "driver/unbind").write_text(address)


def bind(address: str, driver: str) -> None:
    """Give a function, which has none, a driver."""
    override = PCI / "devices" / address / "driver_override"
    override.write_text(driver)
    (PCI / "drivers_probe").write_text(address)
    override.write_text("\n")
