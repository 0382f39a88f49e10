"""Links of the host: what the daemon asks the kernel for, by rtnetlink and ethtool."""

import array
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_ALIAS_MARK = "virtnet "


class NameTaken(Exception):  # noqa: N818 - says what is the matter
    """There is already an interface of this name."""


def find(netlink: IPRoute, name: str) -> int | None:
    """The index of a link, None where there is none."""
    found = netlink.link_lookup(ifname=name)
    return int(found[0]) if found else None


def set_alias(netlink: IPRoute, index: int, mark: str) -> None:
    """The kernel takes no alias with a new link, so this is a change of its own."""
    netlink.link("set", index=index, ifalias=mark)


def alias(netlink: IPRoute, index: int) -> str:
    return str(netlink.get_links(index)[0].get_attr("IFLA_IFALIAS") or "")


def mac(netlink: IPRoute, index: int) -> str:
    return str(netlink.get_links(index)[0].get_attr("IFLA_ADDRESS") or "")


def create_veth(netlink: IPRoute, host: str, *, netns: str, name: str, address: str, mtu: int) -> None:
    """A pair with one end here and the other, under its final name, in the namespace. Raises NameTaken."""
    descriptor = os.open(netns, os.O_RDONLY)
    try:
        peer = {"ifname": name, "net_ns_fd": descriptor, "address": address, "mtu": mtu}
        netlink.link("add", ifname=host, kind="veth", mtu=mtu, peer=peer)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise NameTaken(f"the pod already has an interface {name}, which virtnet has not made") from error
        raise
    finally:
        os.close(descriptor)


def delete(netlink: IPRoute, index: int) -> None:
    """Delete a link; one that is gone already is fine."""
    try:
        netlink.link("del", index=index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def marked(netlink: IPRoute) -> Iterator[tuple[int, str]]:
    """Index and mark of every link here that carries our mark."""
    for link in netlink.get_links():
        text = link.get_attr("IFLA_IFALIAS") or ""
        if text.startswith(_ALIAS_MARK):
            yield int(link["index"]), str(text)


def silence(name: str) -> None:
    """Keep the kernel from speaking IPv6 on a link before it is up. In the namespace of the calling thread."""
    switch = Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6")
    if switch.exists():  # not on a kernel without IPv6
        switch.write_text("1")


def leave_checksums_to_software(name: str) -> None:
    """Turn the transmit checksum offload off: an OVS in userspace sends frames on whose checksums nobody has filled in.

    In the namespace of the calling thread.
    """
    value = array.array("B", struct.pack("II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
