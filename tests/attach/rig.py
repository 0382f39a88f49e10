"""A node as a network namespace with a real Open vSwitch, and a daemon beside it that works in that namespace."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from tests.attach import away
from tests.attach.datapath import DATAPATH, KERNEL
from tests.attach.samples import pod_body
from virtnet.lab.daemon import Daemon
from virtnet.node.daemon import install_plugin
from virtnet.node.request import CniError

REPOSITORY = Path(__file__).parents[2]
SECONDS = 120.0 if KERNEL else 60.0
"""How long is waited for what has to come; an emulated machine takes a multiple of the time, and so does a busy one."""
SWITCH_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

Answer = tuple[int, Any]
"""Exit code, and what the plugin wrote."""


def run(*command: str, **more: Any) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS + 10, **more)
    return str(done.stdout)


def eventually(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, f"{what}: not within {SECONDS:g} s"
        time.sleep(0.02)


def listens(path: Path) -> bool:
    """Whether a process takes connections at a socket; its file is there before, and after the process."""
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def inside(netns: str, *command: str) -> list[dict[str, Any]]:
    """What ``ip`` tells of a namespace, given by path or name."""
    found: list[dict[str, Any]] = json.loads(run("ip", "-n", Path(netns).name, "-j", *command))
    return found


def pinged(netns: str, address: str) -> bool:
    """Whether an address answers the namespace now."""
    try:
        run("ip", "netns", "exec", Path(netns).name, "ping", "-c", "1", "-W", "2", address)
    except subprocess.CalledProcessError:
        return False
    return True


@dataclass
class Node:
    """One node: its namespace, its switch, its daemon, and the pods that the API server would know."""

    name: str
    state: Path
    daemons: dict[str, Daemon] = field(default_factory=dict)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: int = 0
    namespace: str = "demo"
    """Of all its pods."""

    @classmethod
    @contextmanager
    def running(cls, state: Path, *, whole_machine: bool = False) -> Iterator[Self]:
        """A node whose switch runs, without its virtnet-node, in a namespace or as the machine itself."""
        node = cls(f"vna{uuid4().hex[:6]}", state)
        run("ip", "netns", *(("attach", node.name, "1") if whole_machine else ("add", node.name)))
        try:
            node.start_switch()
            install_plugin(state / "bin", node.socket)
            node.write_pods()
            yield node
        finally:
            for daemon in reversed(node.daemons.values()):
                daemon.stop()
            for path in Path("/run/netns").glob(f"{node.name}*"):
                run("ip", "netns", "del", path.name)

    @property
    def socket(self) -> Path:
        return self.state / "cni.sock"

    @property
    def ovsdb(self) -> str:
        return f"unix:{self.state}/db.sock"

    @property
    def daemon(self) -> Daemon:
        return self.daemons["virtnet"]

    def background(self, name: str, *command: str, **environment: str) -> Daemon:
        daemon = self.daemons[name] = Daemon(
            name,
            ["setpriv", "--pdeathsig", "KILL", *command],
            self.state,
            {"OVS_RUNDIR": str(self.state), "OVN_RUNDIR": str(self.state), **environment},
        )
        daemon.start()
        return daemon

    def start_switch(self) -> None:
        database = self.state / "conf.db"
        if not database.exists():
            run("ovsdb-tool", "create", str(database), SWITCH_SCHEMA)
        self.start_database()
        self.vsctl("init")
        self.vsctl(
            "set", "Open_vSwitch", ".", "external_ids:system-id=chassis-x", "external_ids:ovn-encap-ip=127.0.0.1"
        )
        self.vsctl("--may-exist", "add-br", "br-int", "--", "set", "Bridge", "br-int", f"datapath_type={DATAPATH}")
        self.start_vswitchd()

    @property
    def vswitchd(self) -> tuple[str, ...]:
        """Its command."""
        return (
            "ip",
            "netns",
            "exec",
            self.name,
            "ovs-vswitchd",
            self.ovsdb,
            *(() if KERNEL else ("--disable-system",)),
            "-vconsole:warn",
        )

    def start_vswitchd(self) -> None:
        self.background("vswitchd", *self.vswitchd)

    def start_database(self) -> None:
        self.background(
            "ovsdb", "ovsdb-server", str(self.state / "conf.db"), f"--remote=p{self.ovsdb}", "-vconsole:warn"
        )
        eventually(partial(listens, self.state / "db.sock"), "ovsdb-server listens")

    def vsctl(self, *arguments: str) -> str:
        return run("ovs-vsctl", f"--db={self.ovsdb}", "--no-wait", *arguments).strip()

    def interfaces(self) -> dict[str, dict[str, str]]:
        """Interfaces with our marks: name -> external_ids."""
        table = json.loads(self.vsctl("--format=json", "--columns=name,external_ids", "list", "Interface"))
        rows = {row[0]: dict(row[1][1]) for row in table["data"]}
        return {name: ids for name, ids in rows.items() if "virtnet/container" in ids}

    def claims(self) -> dict[str, str | None]:
        """Container -> the port that its interface claims."""
        return {ids["virtnet/container"]: ids.get("iface-id") for ids in self.interfaces().values()}

    def links(self) -> list[str]:
        """Host ends in the node's namespace."""
        return sorted(link["ifname"] for link in inside(self.name, "link") if link["ifname"].startswith("vn"))

    def shown(self) -> list[Path]:
        """Directories of pods where the switch looks for sockets."""
        return sorted((self.state / "vhost").glob("*"))

    def journal(self) -> list[Path]:
        return sorted((self.state / "journal/attachments").glob("*"))

    @property
    def nothing_left(self) -> bool:
        return not (self.interfaces() or self.links() or self.shown() or self.journal())

    @property
    def attached(self) -> int:
        """How many NICs there are. Fails where the three places differ."""
        assert len(self.interfaces()) == len(self.links()) == len(self.journal())
        return len(self.links())

    def pod(self, name: str = "launcher", **given: Any) -> str:
        """A pod that the API server knows; returns its uid."""
        body = self.pods[f"demo/{name}"] = pod_body(name, **given)
        self.write_pods()
        return str(body["metadata"]["uid"])

    def forget(self, name: str) -> None:
        del self.pods[f"demo/{name}"]
        self.write_pods()

    def write_pods(self) -> None:
        fresh = self.state / "pods.new"
        fresh.write_text(json.dumps(self.pods))
        fresh.rename(self.state / "pods.json")

    def sandbox(self) -> str:
        """A pod's network namespace; returns its path."""
        self.made += 1
        name = f"{self.name}-p{self.made}"
        run("ip", "netns", "add", name)
        return f"/run/netns/{name}"

    def cni(
        self,
        command: str,
        *,
        container: str = "c1",
        interface: str = "pod1",
        netns: str = "",
        pod: str = "launcher",
        uid: str = "",
        config: str | None = None,
        version: str = "1.1.0",
        network: str = "blue-net",
        valid: list[dict[str, str]] | None = None,
    ) -> Answer:
        """Run the plugin as the runtime does."""
        uid = uid or self.pods.get(f"demo/{pod}", {}).get("metadata", {}).get("uid", "")
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": interface,
            "CNI_NETNS": netns,
            "CNI_ARGS": f"K8S_POD_NAMESPACE={self.namespace};K8S_POD_NAME={pod};K8S_POD_UID={uid}",
            "CNI_PATH": "/opt/cni/bin",
        }
        given: dict[str, Any] = {"cniVersion": version, "name": network, "type": "virtnet-cni", "subnet": "blue"}
        given |= {"cni.dev/valid-attachments": valid} if valid is not None else {}
        return self.call(environment, json.dumps(given) if config is None else config)

    def call(self, environment: dict[str, str], config: str) -> Answer:
        done = subprocess.run(
            [self.state / "bin/virtnet-cni"],
            input=config,
            env=environment,
            capture_output=True,
            text=True,
            timeout=3 * SECONDS,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout) if done.stdout else None

    def add(self, container: str = "c1", *, netns: str = "", **given: Any) -> dict[str, Any]:
        """ADD, which must succeed; its result. As a runtime does, it asks again where the daemon is to learn first."""
        netns = netns or self.sandbox()
        end = time.monotonic() + SECONDS
        while True:
            code, answer = self.cni("ADD", container=container, netns=netns, **given)
            if code == 0:
                return dict(answer)
            assert dict(answer).get("code") == CniError.TRY_AGAIN, answer
            assert time.monotonic() < end, answer

    def refused(self, command: str = "ADD", **given: Any) -> dict[str, Any]:
        """A request that must fail; its error."""
        code, answer = self.cni(command, **given)
        assert code == 1, answer
        return dict(answer)

    def start_daemon(self, **environment: str) -> None:
        """Start it, and return when it serves. Without a ``KUBECONFIG`` it knows the pods that we know."""
        self.socket.unlink(missing_ok=True)
        ours = {"KUBECONFIG": away.kubeconfig(self.state), "PODS": str(self.state / "pods.json")}
        self.background(
            "virtnet",
            *(sys.executable, "-m", "tests.attach.daemon_process", self.name, str(self.state)),
            **{"PYTHONPATH": str(REPOSITORY), **({} if "KUBECONFIG" in environment else ours), **environment},
        )
        eventually(self.socket.exists, "the daemon serves")

    def restart_daemon(self, **environment: str) -> None:
        self.daemon.stop()
        self.start_daemon(**environment)

    def clean(self) -> None:
        """No NIC left, whatever the test did. GC leaves what is worked on, such as a port that is just coming back."""

        def collected() -> bool:
            for network in {ids["virtnet/network"] for ids in self.interfaces().values()} | {"blue-net"}:
                code, answer = self.cni("GC", network=network, valid=[])
                assert code == 0, answer
            return self.nothing_left

        eventually(collected, "nothing left")
