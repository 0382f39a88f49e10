"""How many flows of each Port its NIC has taken, by what Open vSwitch says of every single one.

``dp:tc`` says only that a flow was handed to tc, and the counter of upcall/show counts those as offloaded, too.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from virtnet.ovn.errors import OvnUnavailable
from virtnet.ovn.unixctl import ask
from virtnet.ovn.vswitch import IFACE_ID, VSwitch

_IN_PORT = re.compile(r"\bin_port\(([^)]+)\)")
_ACTIONS = ", actions:"
_OFFLOADED = ", offloaded:yes"


@dataclass(frozen=True)
class DatapathFlow:
    """One flow of a datapath."""

    in_port: str
    outputs: frozenset[str]
    """Of its actions, every word that may be a port's name."""
    offloaded: bool


@dataclass(frozen=True)
class PortFlows:
    """What there is of a Port now: flows are made by packets, and end with them."""

    port: str
    interface: str
    flows: int
    offloaded: int


async def port_flows(ovsdb: str, bridge: str) -> list[PortFlows]:
    """Of all Ports that are on this node, by their names. Raises OvnUnavailable where Open vSwitch does not answer."""
    vswitch = await VSwitch.connect(ovsdb, bridge)
    try:
        ports = {one.name: one.external_ids.get(IFACE_ID, "") for one in vswitch.interfaces()}
        datapath = f"{vswitch.datapath}@ovs-{vswitch.datapath}"
    finally:
        await vswitch.close()
    sockets = Path(ovsdb.removeprefix("unix:")).parent
    dumped = await ask(sockets, "ovs-vswitchd", "dpctl/dump-flows", "-m", "--names", datapath)
    if dumped is None:
        raise OvnUnavailable(f"ovs-vswitchd does not tell of datapath {datapath} at a socket in {sockets}")
    return counted({name: port for name, port in ports.items() if port}, tuple(flows(dumped)))


def flows(dumped: str) -> Iterator[DatapathFlow]:
    """What ``ovs-appctl dpctl/dump-flows -m --names`` prints."""
    for line in dumped.splitlines():
        fields, _, actions = line.partition(_ACTIONS)
        if found := _IN_PORT.search(fields):
            outputs = frozenset(re.split(r"[,()]", actions))
            yield DatapathFlow(found[1], outputs, _OFFLOADED in fields)


def counted(ports: Mapping[str, str], flows: Iterable[DatapathFlow]) -> list[PortFlows]:
    """Those that come from each interface or go to it; ``ports``: which Port an interface is of."""
    found = []
    for interface, port in ports.items():
        own = [flow for flow in flows if interface == flow.in_port or interface in flow.outputs]
        found.append(PortFlows(port, interface, len(own), sum(flow.offloaded for flow in own)))
    return sorted(found, key=lambda one: one.port)
