"""What is wrong gets one clear CNI error, and leaves nothing."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.attach.rig import Node, inside, run
from tests.attach.samples import attachment, pod_body
from virtnet.api.names import ATTACHMENTS


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        pytest.param({"config": ""}, 6, "the network configuration is not JSON", id="nothing"),
        pytest.param({"config": "{"}, 6, "the network configuration is not JSON", id="malformed"),
        pytest.param({"config": "[" * 100_000}, 6, "the network configuration is not JSON", id="too deep"),
        pytest.param({"config": "[]"}, 6, "is no JSON object", id="no object"),
        pytest.param({"version": "2.0.0"}, 1, "cniVersion '2.0.0' is not supported; use one of", id="version"),
        pytest.param({"config": '{"cniVersion": "1.1.0"}'}, 7, "name: Field required", id="no name"),
        pytest.param({"network": "a/b"}, 7, "name: String should match pattern", id="name"),
        pytest.param({"command": "FLY"}, 4, "CNI_COMMAND 'FLY' is none of ADD, DEL, CHECK, STATUS, GC", id="command"),
        pytest.param({"container": "../x"}, 4, "CNI_CONTAINERID: String should match pattern", id="container"),
        pytest.param({"container": ""}, 4, "CNI_CONTAINERID: String should match pattern", id="no container"),
        pytest.param(
            {"interface": "a/b"},
            4,
            "CNI_IFNAME 'a/b' is not a name for an interface; use at most 15 bytes",
            id="interface",
        ),
        pytest.param({"interface": "interface-too-long"}, 4, "is not a name for an interface", id="long interface"),
        pytest.param({"interface": "pod%d"}, 4, "no slash, colon, percent sign or space", id="percent sign"),
        pytest.param({"interface": ".."}, 4, "CNI_IFNAME '..' is not a name for an interface", id="dots"),
        pytest.param({"interface": "ä" * 8}, 4, f"CNI_IFNAME {'ä' * 8!r} is not a name", id="interface of 16 bytes"),
        pytest.param({"netns": "relative"}, 4, "CNI_NETNS 'relative' is not an absolute path", id="netns"),
        pytest.param({"netns": ""}, 4, "CNI_NETNS '' is not an absolute path", id="no netns"),
        pytest.param({"netns": "/run/netns/gone"}, 3, "namespace /run/netns/gone does not exist", id="netns gone"),
        pytest.param({"netns": "/etc/passwd"}, 3, "namespace /etc/passwd does not exist", id="no namespace"),
        pytest.param({"pod": "gone"}, 3, "pod demo/gone is gone", id="pod gone"),
        pytest.param({"pod": ""}, 4, "CNI_ARGS names no pod", id="no pod"),
        pytest.param({"uid": "another"}, 3, "pod demo/launcher is another one by now", id="another pod"),
        pytest.param({"interface": "net9"}, 7, "has no interface net9; it has pod1", id="foreign interface"),
        pytest.param({"command": "CHECK", "version": "0.3.1"}, 1, "CHECK needs cniVersion 0.4.0", id="old CHECK"),
        pytest.param({"command": "STATUS", "version": "1.0.0"}, 1, "STATUS needs cniVersion 1.1.0", id="old STATUS"),
        pytest.param({"command": "GC", "version": "1.0.0"}, 1, "GC needs cniVersion 1.1.0", id="old GC"),
        pytest.param({"command": "GC"}, 7, "GC needs cni.dev/valid-attachments", id="GC without a list"),
        pytest.param(
            {"command": "GC", "valid": [{"containerID": "x"}]},
            7,
            "cni.dev/valid-attachments.0.ifname: Field required",
            id="GC with half a list",
        ),
        pytest.param({"command": "CHECK"}, 3, "pod1 of c1 is not attached by virtnet", id="CHECK of nothing"),
    ],
)
def test_bad_requests(node: Node, given: dict[str, Any], code: int, message: str) -> None:
    node.pod()
    answer = node.refused(**{"command": "ADD", "netns": node.sandbox(), **given})
    assert answer["code"] == code
    assert message in answer["msg"]
    assert "\n" not in answer["msg"]
    assert node.nothing_left


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        pytest.param({}, "was admitted without virtnet's webhook", id="none"),
        pytest.param({ATTACHMENTS: "{"}, "cannot be read: : Invalid JSON", id="malformed"),
        pytest.param({ATTACHMENTS: "{}"}, "has no interface pod1; it has none", id="empty"),
        pytest.param(
            {ATTACHMENTS: json.dumps({"pod1": {**attachment(), "nic": "warp"}})},
            "NIC kind warp is not served by this node, which serves veth, sriov, switchdev, vhostuser",
            id="unknown kind",
        ),
        pytest.param(
            {ATTACHMENTS: json.dumps({"pod1": attachment("victim/db.blue")})},
            "interface pod1: Port victim/db.blue is of another namespace",
            id="another namespace's port",
        ),
        pytest.param(
            {
                ATTACHMENTS: json.dumps(
                    {"pod1": {**attachment(), "subnet": {**attachment()["subnet"], "namespace": "victim"}}}
                )
            },
            "Subnet victim/blue serves namespace victim only",
            id="another namespace's Subnet",
        ),
        pytest.param(
            {ATTACHMENTS: json.dumps({"pod1": {**attachment(), "addresses": ["0.0.0.0/0"]}})},
            "'0.0.0.0/0' must be one host's address",
            id="every address",
        ),
    ],
)
def test_pods_that_admission_has_not_marked_as_it_should(node: Node, marks: dict[str, str], message: str) -> None:
    node.pods["demo/launcher"] = pod_body("launcher", annotations=marks)
    node.write_pods()
    answer = node.refused(netns=node.sandbox())
    assert answer["code"] == 7
    assert message in answer["msg"]
    assert answer["details"]
    assert node.nothing_left


def test_without_the_api_server_the_runtime_tries_again(node: Node) -> None:
    node.pod()
    node.pods["unavailable"] = {"yes": True}
    node.write_pods()
    assert node.refused(netns=node.sandbox(), uid="x")["code"] == 11
    assert node.cni("DEL") == (0, None), "DEL needs no API server"
    del node.pods["unavailable"]


@pytest.mark.parametrize("taken", ["name", "alternative name"])
def test_an_interface_of_somebody_else_is_not_touched(node: Node, taken: str) -> None:
    node.pod()
    netns = node.sandbox()
    place = ("ip", "-n", Path(netns).name, "link")
    if taken == "name":
        run(*place, "add", "pod1", "type", "veth", "peer", "name", "x1")
    else:
        run(*place, "add", "x0", "type", "veth", "peer", "name", "x1")
        run(*place, "property", "add", "dev", "x0", "altname", "pod1")
    before = inside(netns, "link")
    answer = node.refused(netns=netns)
    assert answer["code"] == 4
    assert "interface pod1 of the pod" in answer["msg"]
    assert "is somebody else's" in answer["msg"]
    assert inside(netns, "link") == before
    assert node.nothing_left


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00\x00", id="half a length"),
        pytest.param(b"\x00\x00\x00\x09{}", id="half a frame"),
        pytest.param(b"\x00\x00\x00\x02{}", id="no request"),
        pytest.param(b"\x00\x00\x00\x04null", id="null"),
        pytest.param(b"\xff\xff\xff\xff" + b"x" * 1000, id="4 GiB"),
    ],
)
def test_the_daemon_outlives_other_speakers(node: Node, frame: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(node.socket))
        client.sendall(frame)
        client.shutdown(socket.SHUT_WR)
        reply = client.recv(65536)
    if reply:
        assert json.loads(reply[5:])["code"] == 6
    assert node.cni("STATUS") == (0, None)
