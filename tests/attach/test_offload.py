"""How many flows of each Port a NIC has taken, of a real switch; what one says that has such a NIC is recorded."""

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from tests.attach.rig import Node, eventually, pinged
from virtnet.cli.main import app
from virtnet.node.offload import PortFlows, counted, flows, port_flows

ADDRESSES = {"a": "10.0.0.5", "b": "10.0.0.6"}


FROM_NIC = (
    "ufid:ce8afd32-3f86-4087-8cfe-d24eec917e47, skb_priority(0/0),skb_mark(0/0),ct_state(0/0),ct_zone(0/0),ct_mark(0/0),"
    "ct_label(0/0),recirc_id(0),dp_hash(0/0),in_port({}),packet_type(ns=0/0,id=0/0),eth(src=02:76:6e:00:00:05,"
    "dst=02:76:6e:00:00:06),eth_type(0x0800),ipv4(src=0.0.0.0/0.0.0.0,dst=0.0.0.0/0.0.0.0,proto=0/0,tos=0/0,ttl=0/0,frag=no)"
    ", packets:12, bytes:1008, used:0.160s, {}, actions:{}"
)


def test_what_is_handed_to_tc_is_not_yet_in_the_nic() -> None:
    """Only those are whose driver has said so, one by one."""
    dumped = "\n".join(
        (
            "flow-dump from the main thread:",
            FROM_NIC.format("eth1", "offloaded:yes, dp:tc", "eth2"),
            FROM_NIC.format("eth1", "offloaded:yes, dp:tc", "set(tunnel(dst=172.31.0.2,ttl=64)),genev_sys_6081"),
            FROM_NIC.format("veth1", "dp:tc", "eth1"),
            FROM_NIC.format("eth2", "dp:ovs", "ct(commit,zone=3,nat(src)),recirc(0x5)"),
            FROM_NIC.format("eth3", "offloaded:partial, dp:ovs", "eth2"),
        )
    )
    ports = {"eth1": "demo/a.net", "eth2": "demo/b.net", "veth1": "demo/c.net", "eth4": "demo/d.net"}
    assert counted(ports, tuple(flows(dumped))) == [
        PortFlows("demo/a.net", "eth1", flows=3, offloaded=2),
        PortFlows("demo/b.net", "eth2", flows=3, offloaded=1),
        PortFlows("demo/c.net", "veth1", flows=1, offloaded=0),
        PortFlows("demo/d.net", "eth4", flows=0, offloaded=0),
    ]


def test_of_ordinary_nics_none(node: Node) -> None:
    places = {}
    for number, (name, address) in enumerate(ADDRESSES.items(), 5):
        mac = f"02:76:6e:00:00:{number:02x}"
        node.pod(name, port=f"demo/{name}.blue", configure=True, mac=mac, addresses=[f"{address}/24"])
        places[name] = node.sandbox()
        node.add(name, pod=name, netns=places[name])

    def counts() -> dict[str, PortFlows]:
        return {one.port: one for one in asyncio.run(port_flows(node.ovsdb, "br-int"))}

    eventually(lambda: pinged(places["a"], ADDRESSES["b"]) and counts()["demo/a.blue"].flows >= 2, "both ways")
    assert [one.offloaded for one in counts().values()] == [0, 0]
    shown = CliRunner().invoke(app, ["node", "flows", "--ovsdb", node.ovsdb])
    assert shown.exit_code == 0
    assert shown.stdout.split()[:5] == ["PORT", "INTERFACE", "FLOWS", "OFFLOADED", "demo/a.blue"]


def test_without_a_switch(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["node", "flows", "--ovsdb", f"unix:{tmp_path}/db.sock"])
    assert ended.exit_code == 1
    assert "does Open vSwitch run on this node?" in ended.output
