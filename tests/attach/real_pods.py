"""Ordinary pods with a NIC in a Subnet of a real OVN, and what is written into it."""

import asyncio
from collections.abc import Mapping, Sequence

from tests.attach.rig import Node
from tests.topology.samples import port
from virtnet.api import Subnet
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.difference import difference
from virtnet.topology.rows import Row


def attached(node: Node, subnet: Subnet, pods: Mapping[str, int]) -> dict[str, str]:
    """The network namespaces of pods, by name and with the last part of their address; OVN has their ports."""
    node.restart_daemon(OVN="real")
    places = {}
    for name, number in pods.items():
        mac = port(subnet, number, f"{name}.blue").spec.mac_address
        node.pod(name, configure=True, port=f"demo/{name}.blue", mac=mac, addresses=[f"10.10.0.{number}/24"])
        sandbox = node.sandbox()
        node.add(name, netns=sandbox, pod=name)
        places[name] = sandbox.rpartition("/")[2]
    return places


async def commit(ovn: OvnCentral, rows: Sequence[Row]) -> None:
    """Have these rows of ours, and no others, in a real OVN and on its chassis."""
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound:
        await northbound.commit(difference(rows, northbound.observed()))
    await asyncio.to_thread(ovn.nbctl, "--wait=hv", "sync")
