"""The machine as a node whose pods get virtual functions of its igb, and what iproute2 shows of those."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.attach import away, daemon_process, kubelet
from tests.attach.rig import Answer, Node, eventually, run
from tests.hardware import netdevsim
from tests.hardware.igb import PCI, Igb
from virtnet.api.nic_kinds import SRIOV
from virtnet.node.allocations import POD_RESOURCES
from virtnet.node.attach import Parts
from virtnet.node.nics import Drivers
from virtnet.node.nics.sriov import Sriov

NETWORK = "physnet"
VFS = 7
NUMBER = 2
"""Of the virtual function with a name, an alternative one, and an MTU of its own."""
ALL = {"spoof_check": False, "trust": True, "vlan_qos": 3, "max_tx_rate_mbps": 50}
"""What the igb lets a virtual function be set to."""
DEAD = "the daemon is dead"


@dataclass
class Forked:
    """A process of this one's code: to start Python anew takes most of a test's time in an emulated machine."""

    pid: int

    @property
    def alive(self) -> bool:
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:  # it has been waited for
            return False

    def end(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def forked(main: Any, log: Path) -> Forked:
    """A process that runs a coroutine until it is killed."""
    pid = os.fork()
    if pid:
        return Forked(pid)
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        asyncio.run(main())
    finally:
        os._exit(1)


@dataclass
class VfNode(Node):
    """Its daemon and its kubelet are forks."""

    forks: dict[str, Forked] = field(default_factory=dict)
    allotted: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def of_the_machine(cls, state: Path) -> Iterator["VfNode"]:
        with cls.running(state, whole_machine=True) as node:
            node.vsctl("add-br", "br-phys", "--", "set", "Bridge", "br-phys", "datapath_type=netdev")
            node.vsctl("set", "Open_vSwitch", ".", f"external_ids:ovn-bridge-mappings={NETWORK}:br-phys")
            node.vsctl("set", "Open_vSwitch", ".", "other_config:hw-offload=true")
            node.allot()
            node.dies_at("")
            served = (state / "kubelet" / POD_RESOURCES, state / "allotted.json")
            served[0].parent.mkdir(parents=True)
            node.forks["kubelet"] = forked(lambda: kubelet.serve(*served), state / "kubelet.log")
            try:
                yield node
            finally:
                for process in node.forks.values():
                    process.end()

    def allot(self, **pods: list[str]) -> None:
        """What the kubelet has given to pods of the namespace demo."""
        self.allotted |= {f"demo/{pod}": devices for pod, devices in pods.items()}
        fresh = self.state / "allotted.new"
        fresh.write_text(json.dumps(self.allotted))
        fresh.rename(self.state / "allotted.json")

    @property
    def death(self) -> Path:
        """The file that names the step before which the daemon dies."""
        return self.state / "death"

    def dies_at(self, step: str) -> None:
        """Let the daemon be killed before this step; empty: before none."""
        self.death.write_text(step)

    def start_daemon(self, **environment: str) -> None:
        self.socket.unlink(missing_ok=True)

        async def main() -> None:
            daemon_process.CRASH_AT = str(self.death)
            daemon_process.PODS = str(self.state / "pods.json")
            daemon_process.OVN = "absent"
            os.environ["KUBECONFIG"] = away.kubeconfig(self.state)
            await daemon_process.main(self.name, self.state, behind_netdevsim)

        self.forks["virtnet"] = forked(main, self.state / "virtnet.log")
        eventually(self.socket.exists, "the daemon serves")

    def stop_daemon(self) -> None:
        self.forks["virtnet"].end()

    def restart_daemon(self, **environment: str) -> None:
        self.stop_daemon()
        self.start_daemon(**environment)

    def killed_at(self, step: str, command: str, pod: str, device: str, netns: str) -> None:
        """A request in which the daemon dies before a step; the next daemon serves."""
        self.dies_at(step)
        assert self.vf(command, pod, device, netns=netns) == (1, DEAD), step
        eventually(lambda: not self.forks["virtnet"].alive, "the daemon is dead")
        self.dies_at("")
        self.start_daemon()

    def call(self, environment: dict[str, str], config: str) -> Answer:
        """As the plugin does: a process of its own takes ten times as long."""
        body = json.dumps({"env": environment, "config": config}).encode()
        with socket.socket(socket.AF_UNIX) as daemon, daemon.makefile("rb") as answer:
            try:
                daemon.connect(str(self.socket))
                daemon.sendall(len(body).to_bytes(4) + body)
                reply = answer.read(int.from_bytes(answer.read(4)))
            except ConnectionError:
                reply = b""
        if not reply:
            return 1, DEAD
        return reply[0], json.loads(reply[1:]) if reply[1:] else None

    def vf_pod(self, name: str, device: str, *, port: str = "", **changes: Any) -> None:
        """A pod to which the kubelet has allotted a device."""
        underlay = {"providerNetwork": NETWORK, "vlan": changes.pop("vlan", 0), "conflictDetection": False}
        given = {"port": port or f"demo/{name}.blue", "nic": "sriov", "underlay": underlay, "configure": True}
        self.pod(name, **{**given, **changes})
        self.allot(**{name: [device]})

    def vf(self, command: str, pod: str, device: str, *, netns: str = "", container: str = "", **runtime: str) -> Any:
        """Exit code and answer of the plugin, called as Multus does for a pod with a device."""
        config: dict[str, Any] = {"cniVersion": "1.1.0", "name": "blue-net", "type": "virtnet-cni", "deviceID": device}
        config |= {"runtimeConfig": runtime} if runtime else {}
        return self.cni(command, container=container or pod, pod=pod, netns=netns, config=json.dumps(config))

    def add_vf(self, pod: str, device: str, netns: str = "", **given: str) -> dict[str, Any]:
        code, answer = self.vf("ADD", pod, device, netns=netns or self.sandbox(), **given)
        assert code == 0, (answer, (self.state / "virtnet.log").read_text()[-3000:])
        return dict(answer)


def behind_netdevsim(parts: Parts) -> Parts:
    """A daemon's parts, for which the igb has the eswitch that is simulated, while there is one."""
    sriov = parts.drivers.by_kind[SRIOV]
    assert isinstance(sriov, Sriov)
    behind = Sriov(replace(sriov.node, eswitch_of=netdevsim.eswitch_of))
    return daemon_process.crashing(replace(parts, drivers=Drivers({**parts.drivers.by_kind, SRIOV: behind})))


def links(netns: str = "") -> dict[str, dict[str, Any]]:
    """What iproute2 shows of the interfaces in a namespace that have a device, by that."""
    where = ("-n", Path(netns).name) if netns else ()
    shown = json.loads(run("ip", *where, "-details", "-json", "address", "show"))
    return {link["parentdev"]: link for link in shown if "parentdev" in link}


def knobs(pf: Igb) -> list[dict[str, Any]]:
    """What iproute2 shows that a physical function has set for its virtual ones."""
    (shown,) = json.loads(run("ip", "-details", "-json", "link", "show", pf.interface))
    return sorted(shown["vfinfo_list"], key=lambda vf: int(vf["vf"]))


def states(pf: Igb) -> list[dict[str, Any]]:
    """All that is to be restored, of each."""
    there = links()
    return [_state(pf, there.get(pf.vf(vf["vf"]), {}), vf) for vf in knobs(pf)]


def _state(pf: Igb, link: dict[str, Any], vf: dict[str, Any]) -> dict[str, Any]:
    driver = PCI / "devices" / pf.vf(vf["vf"]) / "driver"
    return {
        "knobs": vf,
        "driver": driver.readlink().name if driver.exists() else "",
        "altnames": sorted(link.get("altnames", ())),
        "up": "UP" in link.get("flags", ()),
        **{name: link.get(name) for name in ("ifname", "address", "mtu", "ifalias", "master", "inet6_addr_gen_mode")},
    }
