"""Open vSwitch's datapath in the kernel, as far as its own process leaves it alone (linux/openvswitch.h)."""

import socket
from typing import Any

from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.generic import GenericNetlinkSocket

LINK = "ovs-system"
"""The master of all links that are ports of it."""

_FAMILY, _VERSION, _DELETE, _GET = "ovs_vport", 1, 2, 3


class _Port(genlmsg):  # type: ignore[misc]  # the library has no types
    fields = (*genlmsg.fields, ("dp_ifindex", "i"))
    prefix = "OVS_VPORT_ATTR_"
    nla_map = (
        ("OVS_VPORT_ATTR_UNSPEC", "none"),
        ("OVS_VPORT_ATTR_PORT_NO", "uint32"),
        ("OVS_VPORT_ATTR_TYPE", "uint32"),
        ("OVS_VPORT_ATTR_NAME", "asciiz"),
        ("OVS_VPORT_ATTR_OPTIONS", "hex"),
        ("OVS_VPORT_ATTR_UPCALL_PID", "hex"),
        ("OVS_VPORT_ATTR_STATS", "hex"),
        ("OVS_VPORT_ATTR_PAD", "hex"),
        ("OVS_VPORT_ATTR_IFINDEX", "uint32"),
    )


def release(index: int) -> None:
    """Take a link out of the datapath; one that is no port of it already is fine. Raises OSError, NetlinkError.

    ovs-vswitchd looks for the ports that it removes by name, so one that was renamed meanwhile stays. The kernel finds
    none by a new name either, but by its number.
    """
    datapath = socket.if_nametoindex(LINK)
    with GenericNetlinkSocket() as ovs:
        ovs.bind(_FAMILY, _Port)
        ports = list(ovs.nlm_request(_request(_GET, datapath), msg_type=ovs.prid, msg_flags=NLM_F_REQUEST | NLM_F_DUMP))
        for port in ports:
            if port.get_attr("OVS_VPORT_ATTR_IFINDEX") == index:
                wanted = _request(_DELETE, datapath, OVS_VPORT_ATTR_PORT_NO=port.get_attr("OVS_VPORT_ATTR_PORT_NO"))
                list(ovs.nlm_request(wanted, msg_type=ovs.prid, msg_flags=NLM_F_REQUEST | NLM_F_ACK))


def _request(command: int, datapath: int, **attributes: Any) -> _Port:
    found = _Port()
    found["cmd"], found["version"], found["dp_ifindex"] = command, _VERSION, datapath
    found["attrs"] = [list(one) for one in attributes.items()]
    return found
