"""A guest is heard as a router nowhere: its node drops that before OVN is told that it has the guest's port.

So it is at the target of a live migration, before its gate opens, and where a port is given back that the switch lost.
"""

from tests.attach.conftest import node, node_of_module
from tests.attach.rig import Node, eventually, run
from tests.attach.samples import MAC
from tests.attach.test_gates import tables
from tests.safety.spoken import DISCOVERY, attacks, datagram
from tests.safety.wire import arriving, wire
from virtnet.node.router_messages import COOKIE, flows

__all__ = ["node", "node_of_module"]

PEER, ADDRESS, PEERS, PEERS6 = "02:76:6e:00:00:99", "10.0.0.5", "10.0.0.9", "fd00::9"


def dropped(node: Node) -> int:
    """How many flows of its bridge drop what only routers send, of the one NIC."""
    (interface,) = node.interfaces()
    port = node.vsctl("get", "Interface", interface, "ofport")
    text = run(
        *("ovs-ofctl", "-O", "OpenFlow15", "dump-flows", str(node.state / "br-int.mgmt")),
        f"cookie={COOKIE:#x}/-1,in_port={port}",
    )
    return text.count("actions=drop")


ALL = len(list(flows(1)))


def test_a_target_drops_them_before_its_gate_opens(node: Node) -> None:
    node.restart_daemon(COVERING_ONLY="yes")
    node.pod("target", migration="m1")
    netns = node.sandbox()
    node.add("target", netns=netns, pod="target")
    (host,) = node.links()
    assert tables(node) == [f"virtnet-{host}"], "the gate is shut, for the guest has sent nothing"
    assert dropped(node) == ALL
    node.vsctl("add-port", "br-int", "p2", "--", "set", "Interface", "p2", "type=internal")
    eventually(lambda: "p2" in run("ip", "-n", node.name, "-o", "link"), "the other port's link")
    run("ip", "-n", node.name, "link", "set", "p2", "addrgenmode", "none", "up")
    said = attacks(MAC, ADDRESS, PEER, PEERS, PEERS6)
    discovery = {said[name] for name in DISCOVERY}
    try:
        with wire(netns.rpartition("/")[2], "pod1") as guest, wire(node.name, "p2") as peer:
            assert arriving(guest, peer, discovery, datagram(MAC, ADDRESS, PEER, PEERS)) == set()
    finally:
        node.vsctl("del-port", "p2")
    eventually(lambda: tables(node) == [], "the guest's own frames have opened its gate")
    node.restart_daemon()


def test_they_are_dropped_before_a_port_is_claimed(node: Node) -> None:
    node.restart_daemon(COVERING_ONLY="yes", CRASH_AT="claim:0")
    node.pod()
    netns = node.sandbox()
    assert node.refused("ADD", netns=netns)["code"] == 11
    assert (node.claims(), dropped(node)) == ({"c1": None}, ALL)
    node.restart_daemon()


def test_a_port_that_is_given_back_is_not_claimed_before_they_are_dropped(node: Node) -> None:
    """Its guest goes on sending all the while."""
    node.pod()
    node.add(netns=node.sandbox())
    for crash, claim in (("claim:0", None), ("", "demo/db.blue")):
        node.daemon.kill()
        node.vsctl("del-port", node.links()[0])
        node.start_daemon(COVERING_ONLY="yes", CRASH_AT=crash)
        if crash:
            eventually(lambda: node.daemon.pid is None, "the daemon is dead")
        else:
            eventually(lambda: node.claims() == {"c1": "demo/db.blue"}, "the port has been given back")
        assert (node.claims(), dropped(node)) == ({"c1": claim}, ALL)
    node.restart_daemon()
