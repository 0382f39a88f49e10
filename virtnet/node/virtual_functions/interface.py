"""The interface of a virtual function: found by its device, never by its name, moved into a pod and back.

A move gives it its new name in the same request, so nobody sees it where it goes under the one that it had.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.node import links
from virtnet.node.virtual_functions.found import FoundInterface

log = structlog.get_logger()

_IFF_UP = 0x1


@dataclass(frozen=True)
class VfLink:
    """An interface as it is now."""

    index: int
    device: str
    """The PCI address of its device."""
    name: str
    mac: str
    mtu: int
    up: bool
    alternative_names: tuple[str, ...]
    alias: str
    master: bool
    """Whether a bridge or bond has it."""
    address_generation: int
    """How the kernel makes its IPv6 link-local address."""

    @classmethod
    def of(cls, message: Any) -> Self:
        properties, families = message.get_attr("IFLA_PROP_LIST"), message.get_attr("IFLA_AF_SPEC")
        inet6 = families.get_attr("AF_INET6") if families else None
        return cls(
            index=int(message["index"]),
            device=str(message.get_attr("IFLA_PARENT_DEV_NAME") or ""),
            name=str(message.get_attr("IFLA_IFNAME")),
            mac=str(message.get_attr("IFLA_ADDRESS") or ""),
            mtu=int(message.get_attr("IFLA_MTU") or 0),
            up=bool(message["flags"] & _IFF_UP),
            alternative_names=tuple(properties.get_attrs("IFLA_ALT_IFNAME")) if properties else (),
            alias=str(message.get_attr("IFLA_IFALIAS") or ""),
            master=message.get_attr("IFLA_MASTER") is not None,
            address_generation=int((inet6 and inet6.get_attr("IFLA_INET6_ADDR_GEN_MODE")) or 0),
        )

    @property
    def found(self) -> FoundInterface:
        return FoundInterface(
            name=self.name,
            mac=self.mac,
            mtu=self.mtu,
            up=self.up,
            alternative_names=self.alternative_names,
            alias=self.alias,
        )


def all_of_devices(netlink: IPRoute) -> Iterator[VfLink]:
    """The interfaces in this namespace that have a device."""
    for message in netlink.get_links():
        link = VfLink.of(message)
        if link.device:
            yield link


def of_device(netlink: IPRoute, address: str) -> VfLink | None:
    """The interface of a device, if it is in this namespace."""
    return next((link for link in all_of_devices(netlink) if link.device == address), None)


def named(netlink: IPRoute, name: str) -> VfLink | None:
    try:
        return next((VfLink.of(message) for message in netlink.link("get", ifname=name)), None)
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise


def prepare(netlink: IPRoute, link: VfLink, alias: str) -> None:
    """Leave nothing at an interface that may be taken where it goes, and mark it."""
    links.set_down(netlink, link.index)
    _set_alternative_names(netlink, link, ())
    links.set_alias(netlink, link.index, alias)


def take_mac(netlink: IPRoute, link: VfLink, mac: str) -> None:
    """Give an interface, which is down, the MAC that its physical function has set. Raises NetlinkError.

    Some drivers (igbvf) refuse every MAC once that has set one, and take it when they reset the device, as going down
    does. Nothing is said while it is up for that.
    """
    if link.mac == mac:
        return
    try:
        links.set_mac(netlink, link.index, mac)
    except NetlinkError:
        links.silence(netlink, link.index)
        links.set_up(netlink, link.index)
        links.set_down(netlink, link.index)
        links.set_address_generation(netlink, link.index, link.address_generation)
        now = named(netlink, link.name)
        if now is None or now.mac != mac:
            raise


def move(netlink: IPRoute, link: VfLink, namespace: str, name: str) -> None:
    """Move it into a namespace, under another name. Raises NameTaken, and FileNotFoundError without a namespace."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        netlink.link("set", index=link.index, ifname=name, net_ns_fd=descriptor)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise links.NameTaken(f"the kernel refuses {name}: {error}") from error
        raise
    finally:
        os.close(descriptor)


def put_back(netlink: IPRoute, link: VfLink, found: FoundInterface) -> None:
    """Make an interface that is here again what it was; its MAC its physical function has a say in. Raises OSError."""
    if link.name != found.name:
        links.set_down(netlink, link.index)
        _rename(netlink, link, found.name)
    if link.mtu != found.mtu:
        links.set_mtu(netlink, link.index, found.mtu)
    _set_alternative_names(netlink, link, found.alternative_names)
    if link.alias != found.alias:
        links.set_alias(netlink, link.index, found.alias)
    if found.up:
        links.set_up(netlink, link.index)
    elif link.up:
        links.set_down(netlink, link.index)


def _rename(netlink: IPRoute, link: VfLink, name: str) -> None:
    try:
        netlink.link("set", index=link.index, ifname=name)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        log.warning("name taken meanwhile", device=link.device, name=name, stays=link.name)


def _set_alternative_names(netlink: IPRoute, link: VfLink, names: tuple[str, ...]) -> None:
    for name in set(link.alternative_names) - set(names):
        netlink.link("property_del", index=link.index, altname=name)
    for name in set(names) - set(link.alternative_names):
        try:
            netlink.link("property_add", index=link.index, altname=name)
        except NetlinkError as error:
            if error.code != errno.EEXIST:  # udev gives them, too
                raise
