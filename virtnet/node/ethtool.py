"""What ethtool gets and sets of a device (ETHTOOL_G..., ETHTOOL_S... of linux/ethtool.h), by ioctl(2)."""

import array
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES, _SFEATURES = 0x1B, 0x37, 0x3A, 0x3B
_FEATURE_NAMES = 4
"""The set of strings that has them (ETH_SS_FEATURES)."""
_NAME_BYTES = 32


@dataclass(frozen=True)
class Setting:
    """One setting of a device in the network namespace of the calling thread."""

    get_command: int
    set_command: int

    def get(self, device: str) -> int:
        """Raises OSError; EOPNOTSUPP where the device has no such setting."""
        return _ioctl(device, self.get_command, 0)

    def set(self, device: str, value: int) -> None:
        """Raises OSError."""
        _ioctl(device, self.set_command, value)


TX_CHECKSUM = Setting(0x16, 0x17)
"""Whether checksums of sent packets are left to the device; segmentation goes with it."""

GRO = Setting(0x2B, 0x2C)
"""Whether received packets are put together to larger ones."""


@dataclass(frozen=True)
class DeviceFeature:
    """A feature of a device, in the network namespace of the calling thread."""

    active: bool
    changeable: bool


def feature(device: str, name: str) -> DeviceFeature | None:
    """A feature by its name; None where this kernel knows none of that name. Raises OSError."""
    position, count = _position(device, name)
    if position is None:
        return None
    blocks = _blocks(count)
    values = _command(device, struct.pack("2I", _GFEATURES, blocks) + bytes(blocks * 16))[8:]
    available, _, active, never_changed = struct.unpack_from("4I", values, position // 32 * 16)
    bit = 1 << position % 32
    return DeviceFeature(bool(active & bit), bool(available & ~never_changed & bit))


def set_feature(device: str, name: str, *, active: bool) -> None:
    """Have it on or off, as far as its driver follows. Raises OSError."""
    position, count = _position(device, name)
    if position is None:
        raise OSError(errno.EOPNOTSUPP, f"{device} has no feature {name}")
    blocks = [(0, 0)] * _blocks(count)
    bit = 1 << position % 32
    blocks[position // 32] = bit, bit if active else 0
    _command(device, struct.pack("2I", _SFEATURES, len(blocks)) + b"".join(struct.pack("2I", *one) for one in blocks))


def _position(device: str, name: str) -> tuple[int | None, int]:
    """Where a feature is among all, and how many those are."""
    count = _feature_count(device)
    names = _command(device, struct.pack("3I", _GSTRINGS, _FEATURE_NAMES, count) + bytes(count * _NAME_BYTES))[12:]
    position = next(
        (
            number
            for number in range(count)
            if names[number * _NAME_BYTES :][:_NAME_BYTES].partition(b"\0")[0] == name.encode()
        ),
        None,
    )
    return position, count


def _blocks(count: int) -> int:
    """Of 32 features each."""
    return (count + 31) // 32


def _feature_count(device: str) -> int:
    asked = struct.pack("=2IQI", _GSSET_INFO, 0, 1 << _FEATURE_NAMES, 0)
    _, _, known, count = struct.unpack("=2IQI", _command(device, asked))
    return int(count) if known else 0


def _ioctl(device: str, command: int, value: int) -> int:
    return int(struct.unpack("II", _command(device, struct.pack("II", command, value)))[1])


def _command(device: str, asked: bytes) -> bytes:
    """What the kernel has made of a command's structure."""
    data = array.array("B", asked)
    request = struct.pack("16sP", device.encode(), data.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
    return data.tobytes()
