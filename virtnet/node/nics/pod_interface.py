"""The pod's interface: bare and silent for a VM, whose guest has the addresses; configured for an ordinary pod."""

from ipaddress import ip_interface

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD

from virtnet.node import links
from virtnet.node.journal import Entry

log = structlog.get_logger()


def set_up(netlink: IPRoute, index: int, entry: Entry) -> None:
    """In the pod's namespace."""
    if not entry.attachment.configure:
        # Nobody but the guest may send from its MAC: switches would learn it here before the guest is here.
        links.silence(netlink, index)
    _ignore_advertisements(entry)
    links.set_up(netlink, index)
    if entry.attachment.configure:
        _configure(netlink, index, entry)


def _ignore_advertisements(entry: Entry) -> None:
    """Where the node does not let us (AppArmor may not), the NIC serves all the same."""
    try:
        links.ignore_advertisements(entry.interface)
    except OSError as error:
        log.warning("takes what routers advertise", nic=str(entry.id), error=str(error))


def _configure(netlink: IPRoute, index: int, entry: Entry) -> None:
    attachment = entry.attachment
    for text in attachment.addresses:
        address = ip_interface(text)
        # A lease proves that nobody else has it: no detection of duplicates, so that it serves at once.
        flags = {"flags": IFA_F_NODAD} if address.version == 6 else {}
        netlink.addr("replace", index=index, address=str(address.ip), prefixlen=address.network.prefixlen, **flags)
    for gateway in attachment.gateways:
        netlink.route("replace", dst="::/0" if ":" in gateway else "0.0.0.0/0", gateway=gateway, oif=index)
    for route in attachment.routes:
        netlink.route("replace", dst=route.destination, gateway=route.gateway, oif=index)
