"""Links: what the daemon asks the kernel for, by rtnetlink and ethtool, in the namespace of the calling thread."""

import contextlib
import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virtnet.node import ethtool, sysctl

NO_LINK_LOCAL = 1
"""For ``set_address_generation``: the kernel makes no IPv6 link-local address (IN6_ADDR_GEN_MODE_NONE)."""

_SCOPE_GLOBAL = 0


class NameTaken(Exception):  # noqa: N818 - says what is the matter
    """There is already an interface of this name."""


@dataclass(frozen=True)
class Link:
    """One link, as it is now."""

    name: str
    index: int
    mac: str
    alias: str
    leads_elsewhere: bool
    """Whether its other end is in another namespace: the kernel deletes both when that one goes."""

    @classmethod
    def of(cls, message: Any) -> Self:
        return cls(
            name=str(message.get_attr("IFLA_IFNAME")),
            index=int(message["index"]),
            mac=str(message.get_attr("IFLA_ADDRESS") or ""),
            alias=str(message.get_attr("IFLA_IFALIAS") or ""),
            leads_elsewhere=message.get_attr("IFLA_LINK_NETNSID") is not None,
        )


def find(netlink: IPRoute, name: str) -> Link | None:
    """The link of this name; None where there is none."""
    try:
        messages = list(netlink.link("get", ifname=name))
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            return None
        raise
    found = Link.of(messages[0])
    return found if found.name == name else None  # the kernel finds alternative names too


def all_links(netlink: IPRoute) -> Iterator[Link]:
    for message in netlink.get_links():
        yield Link.of(message)


def addresses(netlink: IPRoute) -> dict[str, frozenset[str]]:
    """The node's addresses of global scope, each with the names of its device.

    A NIC in a bridge counts as that bridge's device where both have one MAC: the bridge has taken its addresses over.
    """
    by_index = {link.index: link for link in all_links(netlink)}
    by_mac: dict[str, set[str]] = {}
    for link in by_index.values():
        by_mac.setdefault(link.mac, set()).add(link.name)
    found = {}
    for message in netlink.get_addr():
        device = by_index.get(message["index"])
        if device is not None and message["scope"] == _SCOPE_GLOBAL:
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            found[str(address)] = frozenset({device.name, *(by_mac[device.mac] if device.mac else ())})
    return found


def mtu_at(netlink: IPRoute, address: str) -> int:
    """The MTU of the device that has an address; 0 where none has."""
    found = {
        message["index"]
        for message in netlink.get_addr()
        if address in (message.get_attr("IFA_LOCAL"), message.get_attr("IFA_ADDRESS"))
    }
    return next((int(link.get_attr("IFLA_MTU")) for link in netlink.get_links() if link["index"] in found), 0)


def create_veth(netlink: IPRoute, host: str, *, netns: str, name: str, address: str, mtu: int, host_mtu: int) -> None:
    """A pair with one end here and the other in the namespace, at once under its final name and MAC.

    So nothing is ever renamed or moved, and a name that is taken there, also as an alternative one, is refused by the
    kernel itself. Raises NameTaken, and FileNotFoundError where there is no namespace.
    """
    descriptor = os.open(netns, os.O_RDONLY)
    try:
        peer = {"ifname": name, "net_ns_fd": descriptor, "address": address, "mtu": mtu}
        netlink.link("add", ifname=host, kind="veth", mtu=host_mtu, peer=peer)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise NameTaken(f"the kernel refuses the pair {host} and {name}: {error}") from error
        raise
    finally:
        os.close(descriptor)


def set_alias(netlink: IPRoute, index: int, alias: str) -> None:
    """The kernel takes no alias with a new link, so this is a change of its own."""
    netlink.link("set", index=index, ifalias=alias)


def set_up(netlink: IPRoute, index: int) -> None:
    netlink.link("set", index=index, state="up")


def set_down(netlink: IPRoute, index: int) -> None:
    netlink.link("set", index=index, state="down")


def set_mtu(netlink: IPRoute, index: int, mtu: int) -> None:
    netlink.link("set", index=index, mtu=mtu)


def set_mac(netlink: IPRoute, index: int, mac: str) -> None:
    netlink.link("set", index=index, address=mac)


def delete(netlink: IPRoute, index: int) -> None:
    """Delete a link; one that is gone already is fine."""
    try:
        netlink.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def silence(netlink: IPRoute, index: int) -> None:
    """Give a link no IPv6 address of its own, before it is up: then the kernel says nothing on it, not even MLD.

    By netlink, because /proc/sys is read-only in a container that is not privileged.
    """
    set_address_generation(netlink, index, NO_LINK_LOCAL)


def set_address_generation(netlink: IPRoute, index: int, mode: int) -> None:
    """Set how the kernel makes a link's IPv6 link-local address (IFLA_INET6_ADDR_GEN_MODE)."""
    _set_inet6(netlink, index, "IFLA_INET6_ADDR_GEN_MODE", mode)


def set_token(netlink: IPRoute, index: int, token: str) -> None:
    """Set the interface identifier of the addresses that a link makes, where it takes router advertisements at all."""
    _set_inet6(netlink, index, "IFLA_INET6_TOKEN", token)


def _set_inet6(netlink: IPRoute, index: int, attribute: str, value: int | str) -> None:
    families = {"attrs": [["AF_INET6", {"attrs": [[attribute, value]]}]]}
    try:
        netlink.link("set", index=index, IFLA_AF_SPEC=families)
    except NetlinkError as error:
        # No IPv6 in this kernel, or none at so small an MTU; a mode without its secret; a token without advertisements.
        if error.code not in {errno.EAFNOSUPPORT, errno.EINVAL}:
            raise


def ignore_advertisements(name: str) -> None:
    """Take no route or address from whoever says that it is a router: a NIC has those that it was given.

    Before the link is up. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):  # no IPv6 in this kernel, or none at so small an MTU
        sysctl.write(f"net/ipv6/conf/{name}/accept_ra", 0)


def leave_checksums_to_software(name: str) -> None:
    """Turn the transmit checksum offload off: an OVS in userspace sends on frames whose checksums nobody has filled in.

    Segmentation offload goes with it.
    """
    ethtool.TX_CHECKSUM.set(name, 0)


def peer(netlink: IPRoute, name: str) -> int:
    """The index of a veth's other end, in its own namespace. Raises OSError where there is none."""
    for message in netlink.link("get", ifname=name):
        index = message.get_attr("IFLA_LINK")
        if index is not None:
            return int(index)
    raise OSError(errno.ENODEV, f"{name} has no other end")
