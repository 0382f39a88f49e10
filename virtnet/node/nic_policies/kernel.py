"""Physical functions as the kernel has them, and their changes."""

import errno
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.api.nic_policy import EswitchMode
from virtnet.node import links
from virtnet.node.devices.found import Nic
from virtnet.node.devices.generic import Devlink
from virtnet.node.devices.tree import PCI_ADDRESS, Tree
from virtnet.node.netns import inside
from virtnet.node.nic_policies.plan import PfNow, PfSettings, PfStep

log = structlog.get_logger()

_VF_LINK = re.compile(r"virtfn([0-9]{1,5})", re.ASCII)
_IFF_UP = 0x1
_NOT_TOLD = -1


class StepRefused(OSError):  # noqa: N818 - says what happened
    """The kernel, or a driver, refuses a step; what was done before it has been undone."""

    def __init__(self, step: PfStep, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error))
        self.step = step


@dataclass(frozen=True)
class NicKernel:
    """The kernel of the node."""

    here: str
    """The node's network namespace, as a path."""
    sysfs: Path

    async def look(self, nic: Nic) -> PfNow:
        """Raises OSError."""
        return await inside(self.here, lambda netlink: self._look(netlink, nic))

    async def carry_out(self, now: PfNow, planned: Sequence[PfStep]) -> None:
        """Do all steps, or none. Raises StepRefused, and OSError where what was done could not be undone."""
        await inside(self.here, lambda netlink: self._carry_out(netlink, now, planned))

    def _look(self, netlink: IPRoute, nic: Nic) -> PfNow:
        tree, path = Tree(self.sysfs), _directory(nic.physical.address)
        vfs = tree.number(f"{path}/sriov_numvfs", _NOT_TOLD)
        uplink = nic.uplink.name if nic.uplink else ""
        message = _link(netlink, uplink) if uplink else None
        up, mtu, mtus = _told(message) if message is not None else (None, None, (0, 0))
        virtual = {
            tree.target(f"{path}/{link}", PCI_ADDRESS): int(link.removeprefix("virtfn"))
            for link in tree.entries(path, _VF_LINK)
        }
        drivers = {tree.target(f"{_directory(address)}/driver") for address in virtual}
        return PfNow(
            address=nic.physical.address,
            interface=uplink if message is not None else "",
            driver=nic.physical.driver,
            settings=PfSettings(
                up=up,
                mtu=mtu,
                vfs=None if vfs == _NOT_TOLD else vfs,
                vf_driver=(drivers.pop() if len(drivers) == 1 else "") if virtual else None,
                eswitch_mode=_eswitch_mode(nic.physical.address),
            ),
            mtus=mtus,
            total_vfs=tree.number(f"{path}/sriov_totalvfs", _NOT_TOLD),
            virtual=virtual,
            virtual_interfaces=tuple(one.name for function in nic.virtual.values() for one in function.interfaces),
        )

    def _carry_out(self, netlink: IPRoute, now: PfNow, planned: Sequence[PfStep]) -> None:
        done: list[PfStep] = []
        for step in planned:
            try:
                self._do(netlink, now, step)
            except (OSError, NetlinkError) as error:
                for before in reversed(done):
                    self._do(netlink, now, before.undone)
                raise StepRefused(step, _as_os_error(error)) from error
            done.append(step)
            log.info("NIC changed", nic=now.name, setting=step.setting, value=step.value, before=step.before)

    def _do(self, netlink: IPRoute, now: PfNow, step: PfStep) -> None:
        """Raises OSError, NetlinkError."""
        if step.setting == "eswitch_mode":
            with Devlink() as devlink:
                devlink.set_eswitch_mode(_bus_and_name(now.address), str(step.value))
            return
        if step.setting == "vfs":
            self._write(f"{_directory(now.address)}/sriov_numvfs", str(step.value))
            return
        if step.setting == "vf_driver":
            for address in now.virtual or ():
                self._bind(address, str(step.value))
            return
        message = _link(netlink, now.interface)
        if message is None:
            raise OSError(errno.ENODEV, f"{now.interface} is gone")
        index = int(message["index"])
        if step.setting == "mtu":
            links.set_mtu(netlink, index, int(step.value))
        else:
            change: Callable[[IPRoute, int], None] = links.set_up if step.value else links.set_down
            change(netlink, index)

    def _bind(self, address: str, driver: str) -> None:
        """Give a PCI function a driver; empty: the one that takes it by itself. Raises OSError."""
        tree, directory = Tree(self.sysfs), _directory(address)
        if tree.target(f"{directory}/driver") == driver != "":
            return
        if driver and not (self.sysfs / "bus/pci/drivers" / driver).is_dir():
            raise OSError(errno.ENODEV, f"the kernel has no driver {driver}: load its module, as by modprobe")
        if tree.link(f"{directory}/driver"):
            self._write(f"{directory}/driver/unbind", address)
        self._write(f"{directory}/driver_override", driver or "\n")
        try:
            self._write("bus/pci/drivers_probe", address)
        finally:
            self._write(f"{directory}/driver_override", "\n")
        if driver and tree.target(f"{directory}/driver") != driver:
            raise OSError(errno.EIO, f"{address} does not get it; see the kernel's log (dmesg)")

    def _write(self, path: str, text: str) -> None:
        """One write(2) to a file below sysfs. Raises OSError."""
        descriptor = os.open(self.sysfs / path, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _bus_and_name(address: str) -> str:
    return address if "/" in address else f"pci/{address}"


def _directory(address: str) -> str:
    """The directory of a device, below sysfs."""
    bus, _, name = _bus_and_name(address).partition("/")
    return f"bus/{bus}/devices/{name}"


def _eswitch_mode(address: str) -> EswitchMode | None:
    """The mode of a device's eswitch; None where it has none."""
    with Devlink() as devlink:
        mode = devlink.eswitch_mode(_bus_and_name(address))
    return cast("EswitchMode", mode) if mode else None


def _link(netlink: IPRoute, name: str) -> Any:
    """What the kernel tells of an interface; None where there is none."""
    try:
        return next(iter(netlink.link("get", ifname=name)), None)
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def _told(link: Any) -> tuple[bool, int, tuple[int, int]]:
    """Whether a link is up, its MTU, and the least and the most that this may be."""
    least, most = (int(link.get_attr(name) or 0) for name in ("IFLA_MIN_MTU", "IFLA_MAX_MTU"))
    return bool(link["flags"] & _IFF_UP), int(link.get_attr("IFLA_MTU")), (least, most)


def _as_os_error(error: OSError | NetlinkError) -> OSError:
    return OSError(error.code, os.strerror(error.code)) if isinstance(error, NetlinkError) else error
