"""The demonstration itself: each step says what it does, and what came out of it."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from virtnet.kube.kinds import VMIS
from virtnet.lab import migrate
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.leftovers import Machine
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import Probe, answers, neighbour, ping_from_guest, tap_of
from virtnet.lab.demo.report import DemoReport, MigrationRow, VmRow
from virtnet.lab.dpdk import NoDpdk
from virtnet.lab.hugepages import NoHugePages
from virtnet.lab.lab import Lab
from virtnet.lab.physical import VLAN

LAB = "demo"
PROBE = f"{NAMESPACE}/probe"
SETTLE_SECONDS = 1.0
"""How long is probed before and after a migration."""
LOOKS = 5
"""Pings that a VM may leave unanswered before it is said to be silent."""


@dataclass
class Show:
    """One run."""

    console: Console = field(default_factory=lambda: Console(highlight=False))
    report: DemoReport = field(default_factory=DemoReport)

    target: str = ""
    """The node that app migrates to."""

    def __post_init__(self) -> None:
        self.lab = Lab(LAB, say=lambda line: self.console.print(f"  [dim]{line}[/dim]"))
        self.demo = Demo(self.lab)
        self.before = Machine.now()

    def run(self) -> int:
        """The exit code: 0 when every promise was kept. The lab is taken down in any case."""
        try:
            with self.step("A cluster in a box: 3 nodes"):
                self.lab.down()
                self.up()
            self.pin()
            self.boot()
            self.restart_elsewhere()
            self.migrate("app", "overlay", self.target, "probe")
            self.underlay()
            if not self.report.no_vhost_user:
                self.vhost_user()
            self.delete()
        finally:
            with self.step("Tear down"):
                self.lab.down()
                self.report.leftovers = self.before.left(self.lab.names)
        self.report.show(self.console)
        if path := os.environ.get("DEMO_JSON"):
            self.report.write(Path(path))
        for promise in self.report.broken():
            self.console.print(f"[red]broken:[/red] {promise}")
        return 1 if self.report.broken() else 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        began = time.monotonic()
        self.console.print(f"[bold]{title}[/bold]")
        yield
        self.console.print(f"  [dim]{time.monotonic() - began:.1f} s[/dim]")

    def say(self, line: str) -> None:
        self.console.print(f"  {line}")

    def up(self) -> None:
        """With DPDK in the switches of two nodes, if the machine can have that."""
        try:
            self.lab.up(nodes=3, dpdk=2)
        except (NoDpdk, NoHugePages) as problem:
            self.report.no_vhost_user = str(problem)
            self.say(f"without vhost-user NICs: {problem}")
            self.lab.up(nodes=3)

    def pin(self) -> None:
        with self.step("VM manifests go in without addresses, and come out pinned"):
            for body in (manifests.namespace(), manifests.subnet(), manifests.nad()):
                self.demo.apply(body)
            for name, node, address in (("db", "node1", ""), ("web", "node2", ""), ("app", "", "10.10.0.77")):
                self.demo.apply(manifests.vm(name, node=node, address=address))
                _, mac = self.demo.pinned(name)
                self.say(f"{name}: {' '.join(self.demo.addresses(name))} {mac}" + (" (asked for)" if address else ""))
        with self.step("A manifest that asks for an address of another is refused"):
            self.report.refused = self.demo.refusal(manifests.vm("copy", node="node1", address="10.10.0.77"))
            self.say(self.report.refused)

    def boot(self) -> None:
        with self.step("The VMs boot and get their addresses by DHCP; a pod pings them"):
            home = until(lambda: self.demo.node_of("app"), "app running")
            # So that the peer of the migration is on a third node.
            peer, self.target = [node for node in self.lab.nodes if node != home]
            self.demo.apply(manifests.probe(peer))
            until(lambda: self.demo.pod_runs("probe"), "the probe pod running")
            for name in ("db", "web", "app"):
                ip, _ = self.demo.pinned(name)
                until(lambda ip=ip: answers(self.lab, PROBE, ip), f"{name} answering at {ip}")  # type: ignore[misc]
                mac = neighbour(self.lab, PROBE, ip)
                self.report.vms.append(VmRow(name, ip, mac, addresses=self.demo.addresses(name)))
                self.say(f"{name} on {self.demo.node_of(name)} answers at {ip} from {mac}")
            db, web = self.report.vms[0].ip_before, self.report.vms[1].ip_before
            self.say(f"db pings web across nodes: {ping_from_guest(self.lab, PROBE, db, web)}")
            web6 = self.demo.addresses("web")[1]
            until(lambda: answers(self.lab, PROBE, web6), f"web answering at {web6}, which it has by DHCPv6")
            self.say(f"by IPv6, at {web6}: {ping_from_guest(self.lab, PROBE, db, web6)}")

    def restart_elsewhere(self) -> None:
        with self.step("web is stopped, and started on another node"):
            self.demo.set_run("web", "Halted")
            until(lambda: self.demo.get(VMIS, "web") is None, "web stopped")
            self.demo.set_run("web", "Always", node="node1")
            ip = self.report.vms[1].ip_before
            until(lambda: self.demo.node_of("web") == "node1", "web running on node1")
            until(lambda: answers(self.lab, PROBE, ip), f"web answering at {ip} again")
            self.say(f"web on {self.demo.node_of('web')} answers at {ip}")
        for vm in self.report.vms:
            self.look_again(vm, PROBE)

    def look_again(self, vm: VmRow, pod: str) -> None:
        """What a VM holds by now, and at which of its addresses it answers a pod."""
        held = self.demo.addresses(vm.name)
        vm.addresses_after = [one for one in held if any(answers(self.lab, pod, one) for _ in range(LOOKS))]
        vm.ip_after, vm.mac_after = held[0], neighbour(self.lab, pod, held[0])

    def underlay(self) -> None:
        """A VM on VLAN 100 of the physical network, which machines outside reach as they reach each other."""
        with self.step("A physical network: its NICs are plugged in, a VM boots on VLAN 100"):
            for body in (manifests.provider_network(), manifests.lan(), manifests.nad("lan-net", clusterSubnet="lan")):
                self.demo.apply(body)
            until(lambda: len(self.demo.plugged("rack")) == len(self.lab.nodes), "NICs plugged in")
            self.say(f"plugged in on {', '.join(self.demo.plugged('rack'))}")
            self.demo.apply(manifests.vm("edge", network="lan"))
            home = until(lambda: self.demo.node_of("edge"), "edge running")
            target, peer = [node for node in self.lab.nodes if node != home]
            self.demo.apply(manifests.probe(peer, name="watch", network="lan"))
            until(lambda: self.demo.pod_runs("watch"), "the probe pod running")
            ip, mac = self.demo.pinned("edge")
            until(lambda: answers(self.lab, f"{NAMESPACE}/watch", ip), f"edge answering at {ip}")
            self.report.vms.append(VmRow("edge", ip, mac, addresses=self.demo.addresses("edge")))
            self.say(f"edge answers at {ip}; the switch outside has learnt it on {self.lab.physical.where(mac, VLAN)}")
        self.migrate("edge", "underlay", target, "watch")
        self.say(f"the switch outside has it on {self.lab.physical.where(mac, VLAN)} now")

    def vhost_user(self) -> None:
        """A VM on the same Subnet as the others, whose NIC is served by DPDK in its node's switch."""
        with self.step("Open vSwitch has DPDK on two nodes: a VM with a vhost-user NIC boots beside the others"):
            self.demo.apply(manifests.vm("fast", vhost_user=True))
            ip, mac = self.demo.pinned("fast")
            self.report.vms.append(VmRow("fast", ip, mac, addresses=self.demo.addresses("fast")))
            home = until(lambda: self.demo.node_of("fast"), "fast running")
            target, peer = sorted(
                (node for node in self.lab.nodes if node != home), key=lambda node: not self.lab.nodes[node].dpdk
            )
            self.demo.apply(manifests.probe(peer, name="far"))
            until(lambda: self.demo.pod_runs("far"), "the probe pod running")
            until(lambda: answers(self.lab, f"{NAMESPACE}/far", ip), f"fast answering at {ip}")
            self.say(f"fast on {home} answers at {ip}, {peer} reaches it from a switch without DPDK")
            app = next(vm for vm in self.report.vms if vm.name == "app")
            self.say(f"app pings fast: {ping_from_guest(self.lab, PROBE, app.ip_before, ip)}")
        self.migrate("fast", "vhost-user", target, "far")

    def migrate(self, name: str, network: str, target: str, probe: str) -> None:
        with self.step(f"{name} is live-migrated while a pod on a third node probes it every millisecond"):
            vm = next(vm for vm in self.report.vms if vm.name == name)
            pod, ip, source = f"{NAMESPACE}/{probe}", vm.ip_before, self.demo.node_of(name)
            icmp = Probe.start(self.lab, pod, "icmp", ip, "--interval-ms", "1")
            tcp = Probe.start(self.lab, pod, "tcp", ip, "--port", "7")
            time.sleep(SETTLE_SECONDS)
            uid, frames = self._migrate(name, to=target, probe=probe, tapped=network != "vhost-user")
            time.sleep(SETTLE_SECONDS)
            seen, stream, first = icmp.stop(), tcp.stop(), frames.stop() if frames else {"times": ()}
            pause = json.loads((self.lab.names.state / "migrations" / f"{uid}.json").read_text())
            after = [moment for moment in first["times"] if moment >= pause["resume"]]
            self.report.migrations.append(
                MigrationRow(
                    vm=name,
                    network=network,
                    pause_ms=pause["pause_ms"],
                    gap_ms=seen["gap_ms"],
                    first_frame_ms=(after[0] - pause["resume"]) * 1000 if after else -1 if frames else None,
                    sent=seen["sent"],
                    lost=seen["lost"],
                    duplicates=seen["duplicates"],
                    tcp_survived=stream["survived"],
                )
            )
            self.say(f"{source} -> {self.demo.node_of(name)}; the stream carried {stream['lines']} lines")
            self.look_again(vm, pod)

    def _migrate(self, vm: str, *, to: str, probe: str, tapped: bool) -> tuple[str, Probe | None]:
        """Migrate, and watch the tap of the target, if there is to be one, from before the guest runs there."""
        with ThreadPoolExecutor(1) as pool:
            moving = pool.submit(
                self.lab.ask, lambda cluster: migrate.migrate(cluster, vm, NAMESPACE, to=to, say=self.say)
            )
            uid, pod = until(self.demo.target, "a target pod")
            frames = self._frames(pod, probe) if tapped else None
            moving.result()
        return uid, frames

    def _frames(self, pod: str, probe: str) -> Probe:
        """What the tap of a pod is given by a peer."""
        tap = until(lambda: tap_of(self.lab, pod), "the target's tap")
        peer = self.demo.address_of_pod(probe)
        return Probe.start(self.lab, pod, "frames", "--interface", tap, "--source-ip", peer)

    def delete(self) -> None:
        with self.step("The VMs are deleted, and their leases go"):
            self.demo.delete_vms(*(vm.name for vm in self.report.vms))
            for pod in ("probe", "watch", *(() if self.report.no_vhost_user else ("far",))):
                self.demo.delete_pod(pod)
            until(lambda: self.demo.leases() == 0, "no lease left", seconds=30)
            self.report.leases_left = self.demo.leases()
            self.say(f"{self.report.leases_left} leases left")
