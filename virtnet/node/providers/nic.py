"""What a NIC is, whether it may be plugged in, and the settings of it that plugging in changes."""

import array
import contextlib
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.api.meta import Spec

_SIOCETHTOOL = 0x8946
_TX_CHECKSUM = (0x16, 0x17)
_GRO = (0x2B, 0x2C)
_GIVEN_BY_NOBODY = 1
_LOOPBACK, _PROMISCUOUS, _LOWER_UP = 0x8, 0x100, 0x10000
_OWN_KINDS = frozenset({"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"})
"""Links that live on another one of the same namespace, and would lose their traffic with it."""

_OWN_ADDRESS_ONLY = frozenset({"macvlan", "macvtap", "ipvlan", "ipvtap"})
_NO_NICS = frozenset({"tun", "openvswitch", "vrf", "ifb"})
_ETHERNET = 1


class Refusal(Exception):  # noqa: N818 - says what happened
    """A NIC is not plugged in. ``reason`` is one word for programs; the message says what, where, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Settings(Spec):
    """What is changed on a NIC while it is plugged in."""

    up: bool = True

    address_generation: int = 0
    """Who makes its IPv6 link-local address (IFLA_INET6_ADDR_GEN_MODE)."""
    tx_checksum: bool = True
    gro: bool = True
    """Whether received packets are put together to larger ones, which a switch in userspace would cut off."""
    promiscuous: bool = False
    """A switch in userspace turns it on, and leaves it so when it is killed."""


@dataclass(frozen=True)
class Nic:
    """One link, as it is now."""

    name: str
    index: int
    mac: str
    mtu: int
    ethernet: bool
    kind: str
    """The driver's kind, such as bond or veth; empty for a piece of hardware."""
    up: bool
    carrier: bool
    """Of a bridge: whether its switch lives, or is in the kernel."""
    loopback: bool
    wireless: bool
    master: str
    """The bond, bridge or VRF that it belongs to; ``ovs-system`` for a port of Open vSwitch's kernel datapath."""
    uppers: tuple[str, ...]
    """VLAN interfaces and the like that live on it."""
    promiscuous: bool
    address_generation: int

    @classmethod
    def find(cls, netlink: IPRoute, name: str) -> Self | None:
        """The link of this name in the socket's namespace; None where there is none."""
        try:
            message = next(iter(netlink.link("get", ifname=name)))
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
        if message.get_attr("IFLA_IFNAME") != name:  # the kernel finds alternative names too
            return None
        links = {int(link["index"]): link for link in netlink.get_links()}
        index, master = int(message["index"]), message.get_attr("IFLA_MASTER")
        return cls(
            name=name,
            index=index,
            mac=str(message.get_attr("IFLA_ADDRESS") or ""),
            mtu=int(message.get_attr("IFLA_MTU") or 0),
            ethernet=message["ifi_type"] == _ETHERNET,
            kind=_kind(message),
            up=bool(message["flags"] & 1),
            carrier=bool(message["flags"] & _LOWER_UP),
            promiscuous=bool(message["flags"] & _PROMISCUOUS),
            loopback=bool(message["flags"] & _LOOPBACK),
            wireless=any(Path(f"/sys/class/net/{name}/{what}").exists() for what in ("wireless", "phy80211")),
            master=str(links[master].get_attr("IFLA_IFNAME")) if master in links else "",
            uppers=tuple(
                str(link.get_attr("IFLA_IFNAME"))
                for link in links.values()
                if link.get_attr("IFLA_LINK") == index
                and link.get_attr("IFLA_LINK_NETNSID") is None
                and _kind(link) in _OWN_KINDS
            ),
            address_generation=_generation(message),
        )


def check(nic: Nic | None, name: str, *, bridge: str, port_of: str) -> Nic:
    """The NIC, if it may be plugged into the bridge; pure. ``port_of``: the OVS bridge that has it as a port.

    Raises Refusal.
    """
    if nic is None:
        raise Refusal("NicMissing", f"there is no NIC {name} on this node; name another one for it in customNics")
    if nic.loopback:
        raise Refusal("NicUnsuitable", f"{name} is the loopback interface; name a NIC of the physical network")
    if nic.wireless:
        raise Refusal(
            "NicUnsuitable", f"{name} is wireless: its access point takes frames of one address only; name another NIC"
        )
    if nic.kind in _NO_NICS:
        raise Refusal(
            "NicUnsuitable", f"{name} is a virtual interface ({nic.kind}); name a NIC of the physical network"
        )
    if nic.kind in _OWN_ADDRESS_ONLY:
        raise Refusal(
            "NicUnsuitable",
            f"{name} ({nic.kind}) takes frames of its own address only; name the NIC below it, or another one",
        )
    if not nic.ethernet or not nic.mac:
        raise Refusal("NicUnsuitable", f"{name} has no Ethernet address; name a NIC of the physical network")
    if port_of and port_of != bridge:
        raise Refusal("NicInUse", f"{name} is a port of OVS bridge {port_of}; take it out there, or name another NIC")
    if nic.master and not (port_of == bridge and nic.master == "ovs-system"):
        raise Refusal("NicInUse", f"{name} belongs to {nic.master}; name {nic.master} itself, or another NIC")
    if nic.uppers:
        raise Refusal(
            "NicInUse",
            f"{name} carries {', '.join(nic.uppers)}, which would lose their traffic: remove them first "
            "(a ClusterSubnet's vlan needs no VLAN interface), or name another NIC",
        )
    return nic


def settings_of(nic: Nic) -> Settings:
    """In the namespace of the calling thread."""
    return Settings(
        up=nic.up,
        address_generation=nic.address_generation,
        tx_checksum=_ethtool(nic.name, _TX_CHECKSUM[0]) != 0,
        gro=_ethtool(nic.name, _GRO[0]) != 0,
        promiscuous=nic.promiscuous,
    )


def prepare(netlink: IPRoute, name: str, index: int, *, userspace: bool) -> None:
    """Make ready to be a port: no IPv6 address of its own accord, and for a switch in userspace, no offloads."""
    set_address_generation(netlink, index, _GIVEN_BY_NOBODY)
    if userspace:
        _ethtool(name, _TX_CHECKSUM[1], 0)
        _ethtool(name, _GRO[1], 0)


def restore(netlink: IPRoute, name: str, index: int, settings: Settings) -> None:
    """Undo ``prepare``."""
    _ethtool(name, _TX_CHECKSUM[1], int(settings.tx_checksum))
    _ethtool(name, _GRO[1], int(settings.gro))
    set_address_generation(netlink, index, settings.address_generation)
    if not settings.promiscuous:
        netlink.link("set", index=index, flags=0, change=_PROMISCUOUS)
    if not settings.up:
        netlink.link("set", index=index, state="down")


def set_address_generation(netlink: IPRoute, index: int, mode: int) -> None:
    families = {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", mode]]}]]}
    try:
        netlink.link("set", index=index, IFLA_AF_SPEC=families)
    except NetlinkError as error:
        if error.code not in {errno.EAFNOSUPPORT, errno.EINVAL}:  # no IPv6, or a mode that needs a secret
            raise


def _kind(message: Any) -> str:
    info = message.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND") or "") if info else ""


def _generation(message: Any) -> int:
    families = message.get_attr("IFLA_AF_SPEC")
    inet6 = families.get_attr("AF_INET6") if families else None
    mode = inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE") if inet6 else None
    return int(mode or 0)


def _ethtool(name: str, command: int, value: int = 0) -> int:
    """One of the old commands; a device that does not know it has nothing to switch."""
    data = array.array("B", struct.pack("II", command, value))
    request = struct.pack("16sP", name.encode(), data.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control, contextlib.suppress(OSError):
        fcntl.ioctl(control, _SIOCETHTOOL, request)
    return int(struct.unpack("II", data.tobytes())[1])
