"""ADD, DEL, CHECK, STATUS, GC, VERSION through the real plugin, on a real switch, in real namespaces."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import ANY

import pytest

from tests.attach.datapath import DATAPATH, in_userspace
from tests.attach.rig import Node, eventually, inside, run
from tests.attach.samples import MAC, attachment
from virtnet.api.names import ATTACHMENTS

ALL_VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]


def test_version_needs_no_daemon(node: Node) -> None:
    node.daemon.stop()
    assert node.cni("VERSION") == (0, {"cniVersion": "1.1.0", "supportedVersions": ALL_VERSIONS})
    assert node.cni("VERSION", config="nonsense")[0] == 0


def test_a_vm_nic_is_bare(node: Node) -> None:
    uid, netns = node.pod(), node.sandbox()
    result = node.add(netns=netns)
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
            "iface-id": "demo/db.blue",
            "attached-mac": MAC,
            "iface-status": "active",
            "ovn-installed": "true",
            "virtnet/container": "c1",
            "virtnet/ifname": "pod1",
            "virtnet/netns": netns,
            "virtnet/pod-uid": uid,
            "virtnet/network": "blue-net",
        }
    }
    assert node.cni("CHECK", netns=netns) == (0, None)
    assert node.cni("DEL", netns=netns) == (0, None)
    assert node.nothing_left


def test_a_vm_nic_says_nothing_before_its_guest(node: Node) -> None:
    """Neither end sends a frame: switches would learn the MAC where the guest is not yet."""
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    (host,) = node.links()
    ends = ((netns, "plain0"), (node.name, "plain1"))
    run("ip", "-n", node.name, "link", "add", "plain1", "type", "veth", "peer", "plain0", "netns", Path(netns).name)
    try:
        for place, name in ends:
            run("ip", "-n", Path(place).name, "link", "set", name, "up")
        # A pair as the kernel makes it is talkative: once it has said what it has to say, ours would have, too.
        eventually(lambda: all(link_local(*end) and sent(*end) > 1 for end in ends), "what the kernel says on its own")
        assert [sent(netns, "pod1"), sent(node.name, host)] == [0, 0]
    finally:
        run("ip", "-n", node.name, "link", "delete", "plain1")


def link_local(place: str, name: str) -> bool:
    """Whether it has an address that nobody else has: duplicate address detection is over."""
    (link,) = inside(place, "addr", "show", name)
    return any(one["scope"] == "link" and not one.get("tentative") for one in link["addr_info"])


def sent(place: str, name: str) -> int:
    """How many frames."""
    (link,) = inside(place, "-s", "link", "show", name)
    return int(link["stats64"]["tx"]["packets"])


@in_userspace
def test_checksums_are_software_on_both_ends(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    for place, name in ((netns, "pod1"), (node.name, node.links()[0])):
        offloads = run("ip", "netns", "exec", Path(place).name, "ethtool", "-k", name)
        assert "tx-checksumming: off" in offloads
        assert "tx-tcp-segmentation: off" in offloads


def test_an_ordinary_pods_nic_is_configured(node: Node) -> None:
    node.pod(configure=True, gateways=["10.0.0.1"], routes=[{"destination": "192.168.0.0/16", "gateway": "10.0.0.9"}])
    netns = node.sandbox()
    result = node.add(netns=netns, version="0.4.0")
    assert result["ips"] == [{"address": "10.0.0.5/24", "interface": 1, "gateway": "10.0.0.1", "version": "4"}]
    (link,) = inside(netns, "addr", "show", "pod1")
    assert [(a["local"], a["prefixlen"]) for a in link["addr_info"] if a["family"] == "inet"] == [("10.0.0.5", 24)]
    routes = {route["dst"]: route.get("gateway") for route in inside(netns, "route")}
    assert (routes["default"], routes["192.168.0.0/16"]) == ("10.0.0.1", "10.0.0.9")


def test_an_ordinary_pods_nic_has_both_families_at_once(node: Node) -> None:
    """Without waiting for detection of duplicates: an address that is tentative serves nobody yet."""
    node.pod(
        configure=True,
        addresses=["10.0.0.5/24", "fd00::5/64"],
        gateways=["10.0.0.1", "fd00::1"],
        routes=[{"destination": "fd20::/48", "gateway": "fd00::9"}],
    )
    netns = node.sandbox()
    result = node.add(netns=netns, version="0.4.0")
    assert result["ips"] == [
        {"address": "10.0.0.5/24", "interface": 1, "gateway": "10.0.0.1", "version": "4"},
        {"address": "fd00::5/64", "interface": 1, "gateway": "fd00::1", "version": "6"},
    ]
    (link,) = inside(netns, "addr", "show", "pod1")
    (six,) = [a for a in link["addr_info"] if a["family"] == "inet6" and a["scope"] == "global"]
    assert (six["local"], six["prefixlen"], six.get("nodad"), six.get("tentative")) == ("fd00::5", 64, True, None)
    routes = {route["dst"]: route.get("gateway") for route in inside(netns, "-6", "route")}
    assert (routes["default"], routes["fd20::/48"]) == ("fd00::1", "fd00::9")


@pytest.mark.parametrize("version", ["0.2.0", "0.4.0", "1.1.0"])
def test_a_nic_whose_addresses_the_site_gives_has_none(node: Node, version: str) -> None:
    node.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=rack:br-rack")
    node.pod(configure=True, addresses=[], underlay={"providerNetwork": "rack", "conflictDetection": False})
    netns = node.sandbox()
    result = node.add(netns=netns, version=version)
    assert (result.get("ips", []), result.get("routes", [])) == ([], [])
    assert not result.keys() & {"ip4", "ip6"}
    (link,) = inside(netns, "addr", "show", "pod1")
    assert (link["address"], "UP" in link["flags"]) == (MAC, True)
    assert [one for one in link["addr_info"] if one["scope"] == "global"] == []
    assert inside(netns, "route") == []
    assert node.cni("CHECK", netns=netns, version=version) == ((0, None) if version != "0.2.0" else (1, ANY))
    assert node.cni("DEL", netns=netns) == (0, None)


def test_frames_pass_from_pod_to_pod(node: Node) -> None:
    """TCP and all: the switch is a plain one here, because no OVN tells it otherwise."""
    node.vsctl("set", "Bridge", "br-int", "fail_mode=standalone")
    ends = [node.sandbox(), node.sandbox()]
    for n, netns in enumerate(ends):
        node.pod(
            f"p{n}", port=f"demo/p{n}", configure=True, mac=f"02:76:6e:00:01:0{n}", addresses=[f"10.0.0.{n + 1}/24"]
        )
        node.add(f"c{n}", netns=netns, pod=f"p{n}")
    served = "import socket; s = socket.create_server(('10.0.0.2', 7)); c, _ = s.accept(); print(len(c.recv(9, 256)))"
    script = (
        "import socket, time\nfor _ in range(100):\n"
        " try: c = socket.create_connection(('10.0.0.2', 7), 5); break\n except ConnectionRefusedError: time.sleep(.02)\n"
        "c.sendall(b'x' * 9)"
    )
    python = ["python3", "-c"]
    with subprocess.Popen(
        ["ip", "netns", "exec", Path(ends[1]).name, *python, served], stdout=subprocess.PIPE, text=True
    ) as server:
        run("ip", "netns", "exec", Path(ends[0]).name, *python, script)
        assert server.communicate(timeout=10)[0] == "9\n"


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", ""])
def test_the_first_versions_have_a_result_of_their_own(node: Node, version: str) -> None:
    node.pod(gateways=["10.0.0.1"])
    config = {"name": "blue-net", "type": "virtnet-cni", **({"cniVersion": version} if version else {})}
    assert node.add(config=json.dumps(config)) == {
        "cniVersion": version or "0.1.0",
        "ip4": {"ip": "10.0.0.5/24", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]},
        "dns": {},
    }


def test_the_same_add_again_gives_the_same_answer(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    first = node.add(netns=netns)
    node.restart_daemon()
    assert node.add(netns=netns) == first
    assert node.attached == 1


def test_an_add_after_the_nic_was_lost_makes_it_anew(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    run("ip", "-n", node.name, "link", "del", node.links()[0])
    assert node.refused("CHECK", netns=netns)["code"] == 5
    node.add(netns=netns)
    assert node.cni("CHECK", netns=netns) == (0, None)


def test_del_is_repeatable_and_needs_neither_pod_nor_namespace(node: Node) -> None:
    node.pod()
    netns = node.sandbox()
    node.add(netns=netns)
    node.forget("launcher")
    run("ip", "netns", "del", Path(netns).name)
    assert node.cni("DEL") == (0, None)
    assert node.cni("DEL") == (0, None)
    assert node.nothing_left


def test_two_nics_of_one_pod(node: Node) -> None:
    node.pod()
    marks = {"pod1": attachment(), "pod2": attachment("demo/db.red", mac="02:76:6e:00:00:06")}
    node.pods["demo/launcher"]["metadata"]["annotations"] = {ATTACHMENTS: json.dumps(marks)}
    node.write_pods()
    netns = node.sandbox()
    node.add(netns=netns)
    node.add(netns=netns, interface="pod2", network="red-net")
    assert node.cni("DEL", interface="pod1") == (0, None)
    assert {ids["iface-id"] for ids in node.interfaces().values()} == {"demo/db.red"}


def test_64_adds_at_once(node: Node) -> None:
    for n in range(64):
        node.pod(f"p{n}", port=f"demo/vm{n}.blue")
    spaces = [node.sandbox() for _ in range(64)]
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda n: node.cni("ADD", container=f"c{n}", netns=spaces[n], pod=f"p{n}"), range(64)))
    assert [answer for code, answer in answers if code] == []
    assert len({ids["iface-id"] for ids in node.interfaces().values()}) == 64


def test_gc_removes_what_the_runtime_does_not_know(node: Node) -> None:
    for name in ("keep", "drop", "other"):
        node.pod(name, port=f"demo/{name}.blue")
        node.add(name, pod=name, network="red-net" if name == "other" else "blue-net")
    valid = [{"containerID": "keep", "ifname": "pod1"}]
    assert node.cni("GC", valid=valid) == (0, None)
    assert set(node.claims()) == {"keep", "other"}, "a GC is about the NICs of one network"


def test_status(node: Node) -> None:
    assert node.cni("STATUS") == (0, None)
    with_devices = '{"cniVersion": "1.1.0", "name": "fast", "type": "virtnet-cni", "nic": "sriov"}'
    told = node.refused("STATUS", config=with_devices)
    assert (told["code"], "which devices pods have" in told["msg"]) == (50, True)
    node.vsctl("del-br", "br-int")
    try:
        assert node.refused("STATUS")["code"] == 50
        node.pod()
        assert node.refused("ADD", netns=node.sandbox())["code"] == 11
    finally:
        node.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={DATAPATH}")


def test_a_port_that_ovn_does_not_bind_is_taken_back(node: Node) -> None:
    node.restart_daemon(OVN="sleeps", PATIENCE="0.2")
    node.pod()
    answer = node.refused("ADD", netns=node.sandbox())
    assert answer["code"] == 11
    assert "OVN has not bound port demo/db.blue to this node within 0.2 s" in answer["msg"]
    assert node.nothing_left
    node.daemon.stop()


def test_without_a_daemon_the_plugin_says_so(node: Node) -> None:
    node.daemon.kill()
    answers = [node.refused(command, netns="/x") for command in ("ADD", "DEL", "CHECK", "STATUS")]
    assert [answer["code"] for answer in answers] == [11, 11, 11, 50]
    assert all("virtnet-node" in answer["msg"] for answer in answers)


def test_only_root_is_answered(node: Node) -> None:
    node.state.chmod(0o755)
    node.socket.chmod(0o777)
    nobody = (
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.connect('cni.sock'); print(s.recv(9))"
    )
    assert run("python3", "-c", nobody, str(node.state)) == "b''\n"
    assert "the CNI socket is root's" in (node.state / "virtnet.log").read_text()
    node.socket.chmod(0o600)
