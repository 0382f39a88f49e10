"""What dropping router messages costs a datagram: the switch's processor time, with and without, in turns of one run.

Run it by ``python -m tests.bench.packets``. The switch works in userspace, where each datagram is looked at by it.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.attach.rig import Node, eventually, run
from tests.bench.figures import begin, publish
from tests.safety.spoken import datagram
from tests.safety.wire import wire
from tests.topology.samples import NOWHERE, VPC, Range, port, subnet
from virtnet.lab.ovn_central import OvnCentral
from virtnet.node.openflow import put, socket_of
from virtnet.node.router_messages import COOKIE, flows
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

DATAGRAMS, TURNS = 100_000, 7
BLUE = subnet("blue", "10.10.0.0/24 fd10::/64")
SENDER, VICTIM = port(BLUE, 11), port(BLUE, 12)
WITH, WITHOUT = "with", "without"


@contextmanager
def network() -> Iterator[tuple[OvnCentral, Node]]:
    with tempfile.TemporaryDirectory() as directory:
        ovn = OvnCentral(Path(directory) / "central")
        state = Path(directory) / "node"
        state.mkdir()
        with Node.running(state) as node:
            try:
                ovn.start()
                node.vsctl(
                    *("set", "Open_vSwitch", ".", f"external_ids:ovn-remote={ovn.remote('sb')}"),
                    *("external_ids:ovn-encap-type=geneve", "external_ids:ovn-bridge-datapath-type=netdev"),
                )
                node.background("ovn-controller", *("ip", "netns", "exec", node.name), "ovn-controller", node.ovsdb)
                yield ovn, node
            finally:
                ovn.destroy()


async def arrange(ovn: OvnCentral, node: Node, how: str) -> None:
    rows = [*vpc_rows(VPC), *subnet_rows(BLUE, Range.of(BLUE))]
    rows += [row for one in (SENDER, VICTIM) for row in port_rows(one, BLUE, NOWHERE)]
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound:
        wanted = [row for row in rows if how == WITH or row.key.table != "ACL"]
        await northbound.commit(difference(wanted, northbound.observed()))
    dropped = [flow for number in numbers(node) for flow in flows(number)] if how == WITH else []
    await put(socket_of(node.state, "br-int"), COOKIE, dropped, None)
    ovn.nbctl("--wait=hv", "sync")


def numbers(node: Node) -> list[int]:
    """The OpenFlow ports of both NICs; 0 of one that has none yet."""
    return [int(node.vsctl("get", "Interface", name, "ofport").strip("[]") or 0) for name in ("p1", "p2")]


def processor_time(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def microseconds(node: Node) -> float:
    """Of the switch's processor time, for each datagram."""
    pid = node.daemons["vswitchd"].pid
    assert pid is not None
    mac, to = SENDER.spec.mac_address, VICTIM.spec.mac_address
    frame = datagram(mac, SENDER.spec.addresses[0], to, VICTIM.spec.addresses[0])
    with wire(node.name, "p1") as one, wire(node.name, "p2") as two:
        one.send(frame)
        while two.recv(2048) != frame:
            pass
        before = processor_time(pid)
        for _ in range(DATAGRAMS):
            one.send(frame)
        time.sleep(0.2)  # what is queued
        return (processor_time(pid) - before) / DATAGRAMS * 1e6


def main() -> None:
    begin()
    found: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    with network() as (ovn, node):
        for name, one in (("p1", SENDER), ("p2", VICTIM)):
            node.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, "type=internal",
                       f"external_ids:iface-id={one.key}")  # fmt: skip
        eventually(lambda: all(numbers(node)), "the switch has its ports")
        asyncio.run(arrange(ovn, node, WITH))
        for one in (SENDER, VICTIM):
            ovn.nbctl("--timeout=60", "wait-until", "Logical_Switch_Port", one.key, "up=true")
        for name in ("p1", "p2"):
            run("ip", "-n", node.name, "link", "set", name, "addrgenmode", "none", "up")
        for _ in range(TURNS):
            for how, times in found.items():
                asyncio.run(arrange(ovn, node, how))
                times.append(microseconds(node))
    medians = {how: statistics.median(times) for how, times in found.items()}
    publish(
        "Router messages dropped: the switch's processor time for a datagram",
        {
            "packets.with_us": medians[WITH],
            "packets.without_us": medians[WITHOUT],
            "packets.ratio": medians[WITH] / medians[WITHOUT],
        },
    )


if __name__ == "__main__":
    main()
