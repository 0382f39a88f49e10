"""What devlink(7) and vDPA tell by generic netlink, in the network namespace of the calling thread."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Any, Self

from pyroute2.devlink import DL
from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.devlink import DEVLINK_NAMES, devlinkcmd
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket

from virtnet.api.node_devices import VdpaManagementDevice
from virtnet.node.devices.found import LEGACY, SWITCHDEV
from virtnet.node.devices.tree import WORD

_MODES = (LEGACY, SWITCHDEV)
_VDPA_MGMTDEV_GET = 2
_VIRTIO_NET = 1
"""The bit of network devices among the classes of virtio."""
_MOST_MANAGEMENT_DEVICES = 256


class Devlink:
    """The eswitches of devices."""

    def __init__(self) -> None:
        try:
            self._socket = DL()
        except (NetlinkError, OSError):  # this kernel has no devlink
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def eswitch_mode(self, device: str) -> str:
        """The mode, legacy or switchdev; empty where a device, bus/name, has no eswitch, or only root is told of it."""
        if self._socket is None:
            return ""
        message = _about("DEVLINK_CMD_ESWITCH_GET", device)
        with contextlib.suppress(NetlinkError, OSError):
            for answer in self._socket.nlm_request(
                message, msg_type=self._socket.prid, msg_flags=NLM_F_REQUEST | NLM_F_ACK
            ):
                mode = answer.get_attr("DEVLINK_ATTR_ESWITCH_MODE")
                if mode is not None:
                    return _MODES[mode] if mode < len(_MODES) else ""
        return ""

    def set_eswitch_mode(self, device: str, mode: str) -> None:
        """Raises OSError where a device, bus/name, or its driver refuses it."""
        if self._socket is None:
            raise OSError(errno.EOPNOTSUPP, "this kernel has no devlink")
        message = _about("DEVLINK_CMD_ESWITCH_SET", device)
        message["attrs"].append(["DEVLINK_ATTR_ESWITCH_MODE", _MODES.index(mode)])
        try:
            list(self._socket.nlm_request(message, msg_type=self._socket.prid, msg_flags=NLM_F_REQUEST | NLM_F_ACK))
        except NetlinkError as error:
            raise OSError(error.code, str(error)) from error


def _about(command: str, device: str) -> Any:
    """A command of devlink's about a device, bus/name."""
    bus, _, name = device.partition("/")
    message = devlinkcmd()
    message["cmd"] = DEVLINK_NAMES[command]
    message["version"] = 1
    message["attrs"] = [["DEVLINK_ATTR_BUS_NAME", bus], ["DEVLINK_ATTR_DEV_NAME", name]]
    return message


class vdpacmd(genlmsg):  # type: ignore[misc]  # noqa: N801 - pyroute2 has no types, and such names
    """A message of the family "vdpa" (linux/vdpa.h), as far as it is read here."""

    prefix = "VDPA_ATTR_"
    nla_map = (
        ("VDPA_ATTR_UNSPEC", "none"),
        ("VDPA_ATTR_MGMTDEV_BUS_NAME", "asciiz"),
        ("VDPA_ATTR_MGMTDEV_DEV_NAME", "asciiz"),
        ("VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES", "uint64"),
        ("VDPA_ATTR_DEV_NAME", "asciiz"),
        ("VDPA_ATTR_DEV_ID", "uint32"),
        ("VDPA_ATTR_DEV_VENDOR_ID", "uint32"),
        ("VDPA_ATTR_DEV_MAX_VQS", "uint32"),
        ("VDPA_ATTR_DEV_MAX_VQ_SIZE", "uint16"),
        ("VDPA_ATTR_DEV_MIN_VQ_SIZE", "uint16"),
        ("VDPA_ATTR_DEV_NET_CFG_MACADDR", "hex"),
        ("VDPA_ATTR_DEV_NET_STATUS", "uint8"),
        ("VDPA_ATTR_DEV_NET_CFG_MAX_VQP", "uint16"),
        ("VDPA_ATTR_DEV_NET_CFG_MTU", "uint16"),
        ("VDPA_ATTR_DEV_NEGOTIATED_FEATURES", "uint64"),
        ("VDPA_ATTR_DEV_MGMTDEV_MAX_VQS", "uint32"),
    )


def vdpa_management_devices() -> tuple[VdpaManagementDevice, ...]:
    """Those that network devices can be made on. Raises OSError."""
    found = management_devices(dump("vdpa", vdpacmd, _VDPA_MGMTDEV_GET))
    return tuple(sorted(found, key=lambda device: device.name)[:_MOST_MANAGEMENT_DEVICES])


def dump(family: str, form: type[genlmsg], command: int) -> list[Any]:
    """The answers of a family to a command that asks for all; none where the kernel has no such. Raises OSError."""
    with GenericNetlinkSocket() as wire:
        try:
            wire.bind(family, form)
        except NetlinkError as error:
            if error.code == errno.ENOENT:  # its module is not loaded
                return []
            raise OSError(error.code, str(error)) from error
        message = form()
        message["cmd"], message["version"] = command, 1
        try:
            return list(wire.nlm_request(message, msg_type=wire.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP))
        except NetlinkError as error:
            raise OSError(error.code, str(error)) from error


def management_devices(answers: Any) -> Iterator[VdpaManagementDevice]:
    """The network ones of answers to VDPA_CMD_MGMTDEV_GET."""
    for answer in answers:
        parts = [answer.get_attr(f"VDPA_ATTR_MGMTDEV_{part}_NAME") for part in ("BUS", "DEV")]
        named = [str(part) for part in parts if part]
        if named and all(map(WORD.fullmatch, named)) and _is_network(answer):
            virtqueues = answer.get_attr("VDPA_ATTR_DEV_MGMTDEV_MAX_VQS") or 0
            yield VdpaManagementDevice(name="/".join(named), max_virtqueues=int(virtqueues))


def _is_network(answer: Any) -> bool:
    return bool((answer.get_attr("VDPA_ATTR_MGMTDEV_SUPPORTED_CLASSES") or 0) >> _VIRTIO_NET & 1)
