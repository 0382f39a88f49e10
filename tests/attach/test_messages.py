"""What keeps a NIC from a pod is brought about, and the runtime is told what docs/errors.md says."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.attach.rig import Node, eventually
from tests.attach.samples import attachment, pod_body
from tests.attach.test_node_network import HAVE_BRIDGE, stop_database
from tests.messages import CNI, Message, as_told
from virtnet.api.names import ATTACHMENTS
from virtnet.node.nics.veth import host_name
from virtnet.node.request import AttachmentId

HOST = host_name(AttachmentId("c1", "pod1"))
Refused = dict[str, Any]


def marked(node: Node, **annotations: str) -> Refused:
    node.pods["demo/launcher"] = pod_body("launcher", annotations=annotations)
    node.write_pods()
    return node.refused(netns=node.sandbox())


def another_version(node: Node) -> Refused:
    return marked(node, **{ATTACHMENTS: json.dumps({"pod1": {**attachment(), "nic": "warp"}})})


def another_network(node: Node) -> Refused:
    node.pod()
    return node.refused(interface="net9", netns=node.sandbox())


def configured(node: Node, **config: Any) -> Refused:
    node.pod()
    given = {"cniVersion": "1.1.0", "name": "blue-net", "type": "virtnet-cni", **config}
    return node.refused(netns=node.sandbox(), config=json.dumps(given))


def no_device(node: Node) -> Refused:
    return configured(node, deviceID="eth1/0")


def no_file_of_its_own(node: Node) -> Refused:
    return configured(node, runtimeConfig={"CNIDeviceInfoFile": "/etc/passwd"})


def no_dpdk(node: Node) -> Refused:
    node.pod(nic="vhostuser")
    return node.refused(netns=node.sandbox())


def no_physical_network(node: Node) -> Refused:
    node.pod(underlay={"providerNetwork": "rack", "vlan": 100})
    return node.refused(netns=node.sandbox())


def runs_here(node: Node) -> Refused:
    node.pod("running", phase="Running")
    node.add("c0", pod="running")
    node.pod()
    return node.refused(netns=node.sandbox())


def no_controller(node: Node) -> Refused:
    node.restart_daemon(OVN="sleeps", PATIENCE="0.3")
    node.pod()
    try:
        return node.refused(netns=node.sandbox())
    finally:
        node.restart_daemon()


def dead_switch(node: Node) -> Refused:
    node.restart_daemon(PATIENCE="0.3")
    node.daemons["vswitchd"].kill()
    node.pod()
    try:
        return node.refused(netns=node.sandbox())
    finally:
        node.daemons["vswitchd"].start()
        node.restart_daemon()


def no_switch(node: Node) -> Refused:
    node.pod()
    stop_database(node)
    try:
        return until_refused(node, "Open vSwitch does not answer")
    finally:
        node.start_database()
        until_attached(node)


def no_bridge(node: Node) -> Refused:
    node.pod()
    node.vsctl("del-br", "br-int")
    try:
        return until_refused(node, "no bridge")
    finally:
        node.vsctl(*HAVE_BRIDGE)
        until_attached(node)


def until_refused(node: Node, words: str) -> Refused:
    """The daemon hears of the switch by and by."""
    netns, answer = node.sandbox(), Refused()

    def reported() -> bool:
        answer.update(node.refused(netns=netns))
        assert answer["code"] == 11
        return words in answer["msg"]

    eventually(reported, words)
    return answer


def until_attached(node: Node) -> None:
    netns = node.sandbox()
    eventually(lambda: node.cni("ADD", netns=netns)[0] == 0, "attached")
    assert node.cni("DEL", netns=netns) == (0, None)


def no_api_server(node: Node) -> Refused:
    node.pod()
    node.pods["unavailable"] = {"yes": True}
    node.write_pods()
    return node.refused(netns=node.sandbox(), uid="x")


def foreign_port(node: Node) -> Refused:
    node.pod()
    node.vsctl("add-port", "br-int", HOST)
    try:
        return node.refused(netns=node.sandbox())
    finally:
        node.vsctl("del-port", HOST)


def lost_port(node: Node) -> Refused:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    node.vsctl("remove", "Interface", HOST, "external_ids", "iface-id")
    eventually(lambda: node.cni("CHECK", netns=netns) != (0, None), "CHECK fails")
    return node.refused("CHECK", netns=netns)


def no_daemon(node: Node) -> Refused:
    node.pod()
    node.daemon.stop()
    node.socket.unlink()
    return node.refused(netns=node.sandbox())


WAYS: dict[str, Callable[[Node], Refused]] = {
    "a pod that virtnet's webhook has not seen": marked,
    "a pod that another version of the webhook has seen": another_version,
    "a network whose NetworkAttachmentDefinition named no Subnet when the pod was admitted": another_network,
    "a NetworkAttachmentDefinition that names a device of no form": no_device,
    "a NetworkAttachmentDefinition that names a file for the device's description": no_file_of_its_own,
    "a vhost-user NIC, and a switch without DPDK ([vhostuser.md](vhostuser.md) has the other reasons)": no_dpdk,
    "a node without the physical network": no_physical_network,
    "a guest that runs on this node already": runs_here,
    "a controller that does not run, or a port that is bound elsewhere": no_controller,
    "a switch that has died": dead_switch,
    "no Open vSwitch": no_switch,
    "no integration bridge": no_bridge,
    "an API server that cannot be reached": no_api_server,
    "an interface of that name in the switch": foreign_port,
    "a NIC whose port was deleted, at CHECK": lost_port,
    "no virtnet-node": no_daemon,
}
ON_THE_WIRE = "an address that a machine outside has"
"""tests/underlay/test_conflicts.py"""


@pytest.mark.parametrize("row", [pytest.param(row, id=row.given) for row in CNI.rows if row.given != ON_THE_WIRE])
def test_people_are_told(node: Node, row: Message) -> None:
    answer = WAYS[row.given](node)
    message = row.message.replace("HOST", HOST).replace("SOCKET", str(node.socket))
    assert as_told(answer) == (row.reason, message)
