"""What a NIC is, whether it may be plugged in, and the settings of it that plugging in changes."""

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.api.meta import Spec
from virtnet.node import ethtool, kernel_datapath
from virtnet.node.links import NO_LINK_LOCAL, set_address_generation
from virtnet.node.providers.objects import NetlinkObject

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
class PhysicalNic:
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
    token: str = ""
    """The interface identifier of the addresses that it makes by itself (ip-token(8)); empty where it has none."""

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
            address_generation=int(_inet6(message, "IFLA_INET6_ADDR_GEN_MODE") or 0),
            token=_token(message),
        )


def check(nic: PhysicalNic | None, name: str, *, bridge: str, port_of: str) -> PhysicalNic:
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
    if nic.master and not (port_of == bridge and nic.master == kernel_datapath.LINK):
        raise Refusal("NicInUse", f"{name} belongs to {nic.master}; name {nic.master} itself, or another NIC")
    if nic.uppers:
        raise Refusal(
            "NicInUse",
            f"{name} carries {', '.join(nic.uppers)}, which would lose their traffic: remove them first "
            "(a ClusterSubnet's vlan needs no VLAN interface), or name another NIC",
        )
    return nic


def token_of(nic: PhysicalNic, objects: Sequence[NetlinkObject]) -> str:
    """The token by which a bridge makes the IPv6 addresses that the NIC has made of router advertisements; pure.

    Empty where both make them of the MAC address that they share. By RFC 7217 they are made of what no other device
    can be given, and differ by prefix, whereas a device has one token. Raises Refusal where that is too few.
    """
    tokens = sorted({item.stable_token for item in objects} - {""})
    if nic.token or not tokens:
        return nic.token
    if len(tokens) > 1:
        raise Refusal(
            "NicUnsuitable",
            f"{nic.name} makes a stable-privacy IPv6 address for each of several advertised prefixes, and a bridge "
            "could renew one of them only; set its addr_gen_mode to eui64, or give it a token (ip-token(8))",
        )
    return tokens[0]


def settings_of(nic: PhysicalNic) -> Settings:
    """In the namespace of the calling thread."""
    return Settings(
        up=nic.up,
        address_generation=nic.address_generation,
        tx_checksum=_is_on(ethtool.TX_CHECKSUM, nic.name),
        gro=_is_on(ethtool.GRO, nic.name),
        promiscuous=nic.promiscuous,
    )


def prepare(netlink: IPRoute, name: str, index: int, *, userspace: bool) -> None:
    """Make ready to be a port: no IPv6 address of its own accord, and for a switch in userspace, no offloads."""
    set_address_generation(netlink, index, NO_LINK_LOCAL)
    if userspace:
        _switch(ethtool.TX_CHECKSUM, name, on=False)
        _switch(ethtool.GRO, name, on=False)


def restore(netlink: IPRoute, name: str, index: int, settings: Settings) -> None:
    """Undo ``prepare``."""
    _switch(ethtool.TX_CHECKSUM, name, on=settings.tx_checksum)
    _switch(ethtool.GRO, name, on=settings.gro)
    set_address_generation(netlink, index, settings.address_generation)
    if not settings.promiscuous:
        netlink.link("set", index=index, flags=0, change=_PROMISCUOUS)
    if not settings.up:
        netlink.link("set", index=index, state="down")


def _kind(message: Any) -> str:
    info = message.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND") or "") if info else ""


def _inet6(message: Any, attribute: str) -> Any:
    families = message.get_attr("IFLA_AF_SPEC")
    inet6 = families.get_attr("AF_INET6") if families else None
    return inet6.get_attr(attribute) if inet6 else None


def _token(message: Any) -> str:
    found = str(_inet6(message, "IFLA_INET6_TOKEN") or "")
    return "" if found == "::" else found


def _is_on(setting: ethtool.Setting, name: str) -> bool:
    """A device that has no such setting has nothing to switch."""
    with contextlib.suppress(OSError):
        return setting.get(name) != 0
    return False


def _switch(setting: ethtool.Setting, name: str, *, on: bool) -> None:
    with contextlib.suppress(OSError):
        setting.set(name, int(on))
