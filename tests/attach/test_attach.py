"""ADD, DEL, CHECK, STATUS, GC, VERSION through the real plugin, on a real switch, in real namespaces."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.attach.conftest import MAC, Node, eventually, run


def inside(netns: str, *command: str) -> list[dict]:  # type: ignore[type-arg]
    return json.loads(run("ip", "-n", netns.removeprefix("/run/netns/"), "-j", *command))


def test_version_needs_no_daemon(node: Node) -> None:
    assert node.cni("VERSION") == (
        0,
        {"cniVersion": "1.1.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]},
    )


def test_a_vm_nic_is_bare_and_silent(node: Node) -> None:
    uid, netns = node.pod(), node.sandbox()
    code, result = node.cni("ADD", netns=netns)
    assert code == 0, result
    (host,) = node.links()
    assert result["interfaces"] == [
        {"name": host, "mac": result["interfaces"][0]["mac"], "mtu": 1400},
        {"name": "pod1", "mac": MAC, "sandbox": netns, "mtu": 1400},
    ]
    assert result["ips"] == [{"address": "10.0.0.5/24", "interface": 1}]
    (link,) = inside(netns, "addr", "show", "pod1")
    assert (link["address"], link["mtu"], link["addr_info"], "UP" in link["flags"]) == (MAC, 1400, [], True)
    assert node.interfaces() == {
        host: {
            "iface-id": "demo/db.blue", "attached-mac": MAC, "iface-status": "active", "ovn-installed": "true",
            "virtnet/container": "c1", "virtnet/interface": "pod1", "virtnet/pod-uid": uid,
        }
    }  # fmt: skip
    assert node.cni("CHECK", netns=netns) == (0, None)
    assert node.cni("DEL", netns=netns) == (0, None)
    assert (node.interfaces(), node.links(), node.journal()) == ({}, [], [])


def test_an_ordinary_pods_nic_is_configured(node: Node) -> None:
    node.pod(configure=True, gateway="10.0.0.1", routes=[{"destination": "192.168.0.0/16", "gateway": "10.0.0.9"}])
    netns = node.sandbox()
    code, result = node.cni("ADD", netns=netns, version="0.4.0")
    assert code == 0, result
    assert result["ips"] == [{"address": "10.0.0.5/24", "interface": 1, "gateway": "10.0.0.1", "version": "4"}]
    (link,) = inside(netns, "addr", "show", "pod1")
    assert [(a["local"], a["prefixlen"]) for a in link["addr_info"] if a["family"] == "inet"] == [("10.0.0.5", 24)]
    routes = {route["dst"]: route.get("gateway") for route in inside(netns, "route")}
    assert (routes["default"], routes["192.168.0.0/16"]) == ("10.0.0.1", "10.0.0.9")


def test_the_same_add_again_gives_the_same_answer(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    first = node.cni("ADD", netns=netns)
    assert node.cni("ADD", netns=netns) == first
    assert len(node.links()) == 1


def test_del_is_repeatable_and_needs_neither_pod_nor_namespace(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    assert node.cni("ADD", netns=netns)[0] == 0
    node.forget("launcher")
    run("ip", "netns", "del", netns.removeprefix("/run/netns/"))
    assert node.cni("DEL") == (0, None)
    assert node.cni("DEL") == (0, None)
    assert (node.interfaces(), node.links(), node.journal()) == ({}, [], [])


def test_a_late_del_of_the_old_sandbox_leaves_the_new_one_alone(node: Node) -> None:
    node.pod()
    old, new = node.sandbox(), node.sandbox()
    assert node.cni("ADD", container="old", netns=old)[0] == 0
    assert node.cni("ADD", container="new", netns=new)[0] == 0
    claims = {ids["virtnet/container"]: ids.get("iface-id") for ids in node.interfaces().values()}
    assert claims == {"old": None, "new": "demo/db.blue"}
    assert node.cni("DEL", container="old") == (0, None)
    claims = {ids["virtnet/container"]: ids.get("iface-id") for ids in node.interfaces().values()}
    assert claims == {"new": "demo/db.blue"}


def test_gc_removes_what_the_runtime_does_not_know(node: Node) -> None:
    node.pod()
    node.pod("other", port="demo/web.blue")
    assert node.cni("ADD", container="keep", netns=node.sandbox())[0] == 0
    assert node.cni("ADD", container="drop", netns=node.sandbox(), pod="other")[0] == 0
    valid = [{"containerID": "keep", "ifname": "pod1"}]
    assert node.cni("GC", **{"cni.dev/valid-attachments": valid}) == (0, None)
    assert [ids["virtnet/container"] for ids in node.interfaces().values()] == ["keep"]


def test_status(node: Node) -> None:
    assert node.cni("STATUS") == (0, None)


def test_64_adds_at_once(node: Node) -> None:
    for n in range(64):
        node.pod(f"p{n}", port=f"demo/vm{n}.blue")
    spaces = [node.sandbox() for _ in range(64)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: node.cni("ADD", container=f"c{n}", netns=spaces[n], pod=f"p{n}"), range(64)))
    assert [answer for code, answer in answers if code] == []
    assert len({ids["iface-id"] for ids in node.interfaces().values()}) == 64


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        pytest.param({"config": "{"}, 6, "the network configuration is not JSON", id="malformed"),
        pytest.param({"config": "[]"}, 6, "is no JSON object", id="no object"),
        pytest.param({"version": "2.0.0"}, 1, "cniVersion '2.0.0' is not supported; use one of", id="version"),
        pytest.param({"command": "FLY"}, 4, "CNI_COMMAND 'FLY' is none of ADD, DEL, CHECK, STATUS, GC", id="command"),
        pytest.param({"container": "../x"}, 4, "is not a container's id", id="container"),
        pytest.param({"interface": "a/b"}, 4, "is not a name for an interface", id="interface"),
        pytest.param({"interface": "interface-too-long"}, 4, "is not a name for an interface", id="long interface"),
        pytest.param({"netns": "relative"}, 4, "CNI_NETNS 'relative' is not a path", id="netns"),
        pytest.param(
            {"netns": "/run/netns/gone"}, 3, "network namespace /run/netns/gone does not exist", id="netns gone"
        ),
        pytest.param({"pod": "gone"}, 3, "pod demo/gone is gone", id="pod gone"),
        pytest.param({"uid": "another"}, 3, "is another one by now", id="another pod"),
        pytest.param({"interface": "net9"}, 7, "has no interface net9; it has pod1", id="foreign interface"),
        pytest.param({"command": "STATUS", "version": "1.0.0"}, 1, "STATUS needs cniVersion 1.1.0", id="old STATUS"),
        pytest.param({"command": "GC"}, 7, "GC needs cni.dev/valid-attachments", id="GC without a list"),
        pytest.param({"command": "CHECK"}, 3, "pod1 of c1 is not attached by virtnet", id="CHECK of nothing"),
    ],
)
def test_bad_requests_get_one_clear_error_and_leave_nothing(
    node: Node, request_: dict[str, str], code: int, message: str
) -> None:
    node.pod()
    given = {"command": "ADD", "netns": node.sandbox(), **request_}
    failed, answer = node.cni(**given)  # type: ignore[arg-type]
    assert (failed, answer["code"]) == (1, code)
    assert message in answer["msg"]
    assert (node.interfaces(), node.links(), node.journal()) == ({}, [], [])


def test_a_pod_without_our_mark_says_what_to_do(node: Node) -> None:
    node.pod()
    node.pods["demo/launcher"]["metadata"]["annotations"] = {}
    node._write_pods()
    _, answer = node.cni("ADD", netns=node.sandbox())
    assert answer["code"] == 7
    assert "was admitted without virtnet's webhook" in answer["msg"]


def test_without_the_api_server_the_runtime_tries_again(node: Node) -> None:
    node.pod()
    node.pods["unavailable"] = {"yes": True}
    node._write_pods()
    _, answer = node.cni("ADD", netns=node.sandbox(), uid="x")
    assert answer["code"] == 11
    del node.pods["unavailable"]


def test_an_interface_of_somebody_else_is_not_touched(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    run("ip", "-n", netns.removeprefix("/run/netns/"), "link", "add", "pod1", "type", "veth", "peer", "name", "x1")
    _, answer = node.cni("ADD", netns=netns)
    assert "already has an interface pod1" in answer["msg"]
    assert {link["ifname"] for link in inside(netns, "link")} >= {"pod1", "x1"}


def test_without_a_daemon_the_plugin_says_so(node: Node) -> None:
    node.daemons["virtnet"].stop()
    assert [node.cni(command, netns="/x")[1]["code"] for command in ("ADD", "DEL", "STATUS")] == [11, 11, 50]


def test_a_port_that_ovn_does_not_bind_is_taken_back(node: Node) -> None:
    node.daemons["virtnet"].stop()
    node.start_daemon(OVN="sleeps", PATIENCE="0.2")
    node.pod()
    _, answer = node.cni("ADD", netns=node.sandbox())
    assert answer["code"] == 11
    assert "OVN has not bound port demo/db.blue to this node within 0.2 s" in answer["msg"]
    assert (node.interfaces(), node.links(), node.journal()) == ({}, [], [])
    node.daemons["virtnet"].stop()


@pytest.mark.parametrize("how", ["add again", "del", "restart"])
@pytest.mark.parametrize("step", range(5))
def test_killed_at_any_step_of_add(node: Node, step: int, how: str) -> None:
    node.pod()
    netns = node.sandbox()
    node.daemons["virtnet"].stop()
    node.start_daemon(CRASH_AT=f"do:{step}")
    code, answer = node.cni("ADD", netns=netns)
    assert (code, answer["code"]) == (1, 11)
    eventually(lambda: node.daemons["virtnet"].pid is None, "the daemon dead")
    node.start_daemon()
    if how == "add again":
        assert node.cni("ADD", netns=netns)[0] == 0
        assert len(node.interfaces()) == len(node.links()) == len(node.journal()) == 1
    else:
        if how == "del":
            assert node.cni("DEL", netns=netns) == (0, None)
        assert (node.interfaces(), node.links(), node.journal()) == ({}, [], [])


@pytest.mark.parametrize("step", range(4))
def test_killed_at_any_step_of_del(node: Node, step: int) -> None:
    node.pod()
    netns = node.sandbox()
    assert node.cni("ADD", netns=netns)[0] == 0
    node.daemons["virtnet"].stop()
    node.start_daemon(CRASH_AT=f"undo:{step}")
    assert node.cni("DEL", netns=netns)[1]["code"] == 11
    eventually(lambda: node.daemons["virtnet"].pid is None, "the daemon dead")
    node.start_daemon()
    assert node.cni("DEL", netns=netns) == (0, None)
    assert (node.interfaces(), node.links(), node.journal()) == ({}, [], [])


def test_what_is_attached_outlives_the_daemon(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    assert node.cni("ADD", netns=netns)[0] == 0
    before = node.interfaces()
    node.daemons["virtnet"].kill()
    node.start_daemon()
    assert node.interfaces() == before
    assert node.cni("CHECK", netns=netns) == (0, None)


def test_strays_go_and_foreign_things_stay_at_start(node: Node) -> None:
    node.daemons["virtnet"].stop()
    run("ip", "-n", node.name, "link", "add", "vnstray", "type", "veth", "peer", "name", "vnstray2")
    run("ip", "-n", node.name, "link", "set", "vnstray", "alias", "virtnet c9/pod1")
    run("ip", "-n", node.name, "link", "add", "foreign", "type", "veth", "peer", "name", "foreign2")
    ids = ["external_ids:virtnet/container=c9", "external_ids:iface-id=demo/x"]
    node.vsctl("add-port", "br-int", "vnstray", "--", "set", "Interface", "vnstray", *ids)
    node.vsctl("add-port", "br-int", "foreign", "--", "set", "Interface", "foreign", "external_ids:iface-id=other")
    node.start_daemon()
    assert (node.interfaces(), node.links()) == ({}, [])
    assert "foreign" in node.vsctl("list-ports", "br-int").split()
    assert (
        subprocess.run(["ip", "-n", node.name, "link", "show", "foreign"], check=False, capture_output=True).returncode
        == 0
    )
    node.vsctl("del-port", "br-int", "foreign")
