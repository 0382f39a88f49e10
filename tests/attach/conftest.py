"""A node as a network namespace with a real Open vSwitch, and a daemon beside it that works in that namespace."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from virtnet.api import SubnetRef
from virtnet.api.names import ATTACHMENTS
from virtnet.api.records import Attachment
from virtnet.lab.daemon import Daemon

PLUGIN = Path(__file__).parents[2] / "virtnet/cni/plugin.py"
MAC = "02:76:6e:00:00:05"
SECONDS = 20.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "node" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.system)


def run(*command: str, **more: Any) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, **more).stdout


def eventually(holds: Any, what: str) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, f"{what} within {SECONDS:g} s"
        time.sleep(0.02)


def attachment(port: str = "demo/db.blue", **changes: Any) -> Attachment:
    base = {
        "port": port,
        "network": "blue",
        "nad": "demo/blue-net",
        "mac": MAC,
        "addresses": ("10.0.0.5/24",),
        "mtu": 1400,
    }
    subnet = SubnetRef(kind="Subnet", namespace="demo", name="blue")
    return Attachment.model_validate({**base, "subnet": subnet, **changes})


@dataclass
class Node:
    """One node: its namespace, its switch, its daemon, and the pods that the API server would know."""

    name: str
    state: Path
    daemons: dict[str, Daemon] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    sandboxes: list[str] = field(default_factory=list)

    @property
    def plugin(self) -> Path:
        return self.state / "bin/virtnet-cni"

    @property
    def socket(self) -> Path:
        return self.state / "cni.sock"

    def vsctl(self, *arguments: str) -> str:
        return run("ovs-vsctl", f"--db=unix:{self.state}/db.sock", "--no-wait", *arguments).strip()

    def interfaces(self) -> dict[str, dict[str, str]]:
        """Interfaces with our marks: name -> external_ids."""
        table = json.loads(self.vsctl("--format=json", "--columns=name,external_ids", "list", "Interface"))
        rows = {row[0]: dict(row[1][1]) for row in table["data"]}
        return {name: ids for name, ids in rows.items() if "virtnet/container" in ids}

    def links(self) -> list[str]:
        """Host ends in the node's namespace."""
        out = json.loads(run("ip", "-n", self.name, "-j", "link"))
        return sorted(link["ifname"] for link in out if link["ifname"].startswith("vn"))

    def journal(self) -> list[Path]:
        return sorted((self.state / "journal/attachments").glob("*"))

    def pod(
        self, name: str = "launcher", *, interface: str = "pod1", labels: dict[str, str] | None = None, **changes: Any
    ) -> str:
        """A pod that the API server knows; returns its uid."""
        uid = str(uuid4())
        mark = {interface: json.loads(attachment(**changes).model_dump_json(by_alias=True))}
        metadata = {
            "name": name,
            "namespace": "demo",
            "uid": uid,
            "labels": labels or {},
            "annotations": {ATTACHMENTS: json.dumps(mark)},
        }
        self.pods[f"demo/{name}"] = {"metadata": metadata, "spec": {}}
        self._write_pods()
        return uid

    def forget(self, name: str) -> None:
        del self.pods[f"demo/{name}"]
        self._write_pods()

    def _write_pods(self) -> None:
        fresh = self.state / "pods.new"
        fresh.write_text(json.dumps(self.pods))
        fresh.rename(self.state / "pods.json")

    def sandbox(self) -> str:
        """A pod's network namespace; returns its path."""
        name = f"{self.name}-p{len(self.sandboxes)}"
        run("ip", "netns", "add", name)
        self.sandboxes.append(name)
        return f"/run/netns/{name}"

    def cni(self, command: str, *, container: str = "c1", interface: str = "pod1", netns: str = "", pod: str = "launcher",
            uid: str = "", config: str | None = None, version: str = "1.1.0", **more: Any) -> tuple[int, Any]:  # fmt: skip
        """Run the plugin as the runtime does; returns its exit code and its answer."""
        uid = uid or self.pods.get(f"demo/{pod}", {}).get("metadata", {}).get("uid", "")
        env = {
            "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": interface, "CNI_NETNS": netns,
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=demo;K8S_POD_NAME={pod};K8S_POD_UID={uid}", "CNI_PATH": "/opt/cni/bin",
        }  # fmt: skip
        text = (
            config
            if config is not None
            else json.dumps(
                {"cniVersion": version, "name": "blue-net", "type": "virtnet-cni", "subnet": "blue", **more}
            )
        )
        done = subprocess.run(
            [self.plugin], input=text, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def start_daemon(self, **env: str) -> None:
        command = [sys.executable, "-m", "tests.attach.daemon_process", self.name, str(self.state)]
        self.daemons["virtnet"] = Daemon(
            "virtnet", command, self.state, {**env, "PYTHONPATH": str(Path(__file__).parents[2])}
        )
        self.socket.unlink(missing_ok=True)
        self.daemons["virtnet"].start()
        eventually(self.socket.exists, "the daemon's socket")

    def clean(self) -> None:
        """No NIC left, whatever the test did."""
        for container in {ids["virtnet/container"] for ids in self.interfaces().values()}:
            self.cni("DEL", container=container)
        self.cni("GC", **{"cni.dev/valid-attachments": []})


@pytest.fixture(scope="module")
def node_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    state = tmp_path_factory.mktemp("node")
    node = Node(f"vna{uuid4().hex[:6]}", state)
    inside = ["ip", "netns", "exec", node.name]
    run("ip", "netns", "add", node.name)
    try:
        run("ovsdb-tool", "create", str(state / "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
        environment = {"OVS_RUNDIR": str(state)}
        ovsdb = ["ovsdb-server", str(state / "conf.db"), f"--remote=punix:{state}/db.sock"]
        node.daemons["ovsdb"] = Daemon("ovsdb", ovsdb, state, environment)
        node.daemons["ovsdb"].start()
        eventually((state / "db.sock").exists, "ovsdb-server's socket")
        vswitchd = [*inside, "ovs-vswitchd", f"unix:{state}/db.sock", "--disable-system"]
        node.daemons["vswitchd"] = Daemon("vswitchd", vswitchd, state, environment)
        node.vsctl("--", "init")
        node.vsctl(
            "set", "Open_vSwitch", ".", "external_ids:system-id=chassis-x", "external_ids:ovn-encap-ip=172.31.1.11"
        )
        node.vsctl("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
        node.daemons["vswitchd"].start()
        (state / "bin").mkdir()
        shutil.copy(PLUGIN, node.plugin)
        node.plugin.with_name("virtnet-cni.socket").write_text(f"{node.socket}\n")
        node._write_pods()
        yield node
    finally:
        for daemon in reversed(node.daemons.values()):
            daemon.stop()
        for sandbox in node.sandboxes:
            subprocess.run(["ip", "netns", "del", sandbox], check=False, capture_output=True)
        run("ip", "netns", "del", node.name)


@pytest.fixture
def node(node_of_module: Node) -> Iterator[Node]:
    """A node without NICs, its daemon serving."""
    node = node_of_module
    node.pods.clear()
    node._write_pods()
    if "virtnet" not in node.daemons or node.daemons["virtnet"].pid is None:
        node.start_daemon()
    yield node
    if node.daemons["virtnet"].pid is None:
        node.start_daemon()
    node.clean()
    assert (node.interfaces(), node.links(), node.journal()) == ({}, [], [])
