"""What a vhost-user NIC is worth beside a tap: the same guest, the same flows, in turns of one run. Alone on the machine:

    python tests/bench/vhostuser.py

Frames have 64 bytes. Into a guest they come from DPDK's null device, which the thread that polls the port polls too, and
out of it from its kernel's pktgen. For the port alone an application of DPDK's takes the place of the guest (the second
switch, by virtio-user), and for the tap a process that reads it: a guest here is emulated, and slower than either.
"""

import os
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.attach.dpdk import Application, DpdkNode, answers, initrd
from tests.attach.rig import SECONDS, eventually, listens, run
from tests.attach.samples import MAC
from tests.bench.figures import begin, publish
from tests.bench.packets import processor_time
from virtnet.lab.daemon import Daemon
from virtnet.lab.dpdk import LONGEST_SLEEP_US, PAGES
from virtnet.lab.hugepages import NoHugePages, huge_pages
from virtnet.lab.image import debian_kernel

ROUNDS = 3
SETTLE_SECONDS, MEASURE_SECONDS = 2, 5
PINGS = 300
GUEST, SOURCE = 7, 8
"""OpenFlow ports: of what is measured, and of the null device."""
NIC = "nic0"
VHOST_USER, TAP = "vhostuser", "tap"
NETDEVS = {
    VHOST_USER: "vhost-user,id=net,chardev=vhost",
    TAP: f"tap,id=net,ifname={NIC},script=no,downscript=no,vhost=off",
}
OUTSIDE_POLLING = ("taskset", "--cpu-list", "1")
"""The switch polls on processor 0."""
INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mknod /dev/null c 1 3
for module in /modules/*; do insmod "$module"; done
exec </dev/console >/dev/console 2>&1
ip address add 10.0.0.5/24 dev eth0
ip link set eth0 up
echo "add_device eth0" >/proc/net/pktgen/kpktgend_0
for setting in "count 0" "pkt_size 64" "clone_skb 64" "dst_mac 02:76:6e:00:00:99" "dst 10.0.0.9"; do
    echo "$setting" >/proc/net/pktgen/eth0
done
echo "guest: ready"
while read word; do
    case "$word" in
    count) echo "received $(cat /sys/class/net/eth0/statistics/rx_packets) at $(cut -d ' ' -f 1 /proc/uptime)" ;;
    send) echo start >/proc/net/pktgen/pgctrl & ;;
    esac
done
"""
READER = """
import fcntl, os, struct
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"nic0", 0x0002 | 0x1000))
while True:
    os.read(tap, 2048)
"""


def sleeping(most_us: str) -> dict[str, str]:
    """For how long threads may that poll."""
    return {"pmd-maxsleep": most_us, "pmd-sleep-max": most_us}


@dataclass(frozen=True)
class Bench:
    node: DpdkNode

    @property
    def bridge(self) -> str:
        return f"unix:{self.node.state}/br-int.mgmt"

    @property
    def socket(self) -> Path:
        return self.node.state / "vm.sock"

    def flows(self, *lines: str) -> None:
        run("ovs-ofctl", "replace-flows", self.bridge, "-", input="\n".join(lines))

    def add_port(self, name: str, number: int, *settings: str) -> None:
        self.node.vsctl(
            "add-port", "br-int", name, "--", "set", "Interface", name, f"ofport_request={number}", *settings
        )
        eventually(lambda: self.node.vsctl("get", "Interface", name, "ofport") == str(number), f"port {name}")

    def packets(self, way: str) -> int:
        """How many have passed the port: ``rx``, out of the guest, or ``tx``."""
        said = run("ovs-ofctl", "dump-ports", self.bridge, str(GUEST))
        found = re.search(rf"{way} pkts=(\d+)", said)
        assert found, said
        return int(found[1])

    def beside(self, name: str, *command: str) -> Daemon:
        """A process in the node's namespace, and not where the switch polls."""
        return self.node.background(name, "ip", "netns", "exec", self.node.name, *OUTSIDE_POLLING, *command)

    def idle(self) -> float:
        """The part of one processor that the switch takes."""
        pid = self.node.daemons["vswitchd"].pid
        assert pid is not None
        return rate(lambda: processor_time(pid))

    def round_trip(self) -> float:
        """Microseconds, in the middle, from the bridge's own port."""
        words = ("ping", "-c", str(PINGS), "-i", "0.005", "10.0.0.5")
        said = run("ip", "netns", "exec", self.node.name, *words)
        return 1000 * statistics.median(float(found) for found in re.findall(r"time=([\d.]+) ms", said))

    @contextmanager
    def source(self, *actions: str) -> Iterator[None]:
        """Frames into the port as fast as it takes them."""
        self.flows(f"in_port={SOURCE},actions={','.join((*actions, f'output:{GUEST}'))}")
        self.add_port("source", SOURCE, "type=dpdk", "options:dpdk-devargs=net_null0,size=64")
        yield
        self.node.vsctl("del-port", "source")


def rate(count: Callable[[], float]) -> float:
    """How much it grows in a second."""
    began, before = time.monotonic(), count()
    time.sleep(MEASURE_SECONDS)
    return (count() - before) / (time.monotonic() - began)


@dataclass(frozen=True)
class Guest:
    console: socket.socket

    def hears(self, pattern: str) -> re.Match[str]:
        """Wait for a line."""
        said = ""
        while not (found := re.search(pattern, said)):
            said += self.console.recv(4096).decode(errors="replace")
        return found

    def say(self, word: str) -> None:
        self.console.sendall(f"{word}\n".encode())

    def receives(self) -> float:
        """Frames a second, by the guest's own clock."""
        time.sleep(SETTLE_SECONDS)
        before, began = self._received()
        time.sleep(MEASURE_SECONDS)
        after, ended = self._received()
        return (after - before) / (ended - began)

    def _received(self) -> tuple[int, float]:
        self.say("count")
        found = self.hears(r"received (\d+) at ([\d.]+)\s")
        return int(found[1]), float(found[2])


@contextmanager
def port(bench: Bench, kind: str) -> Iterator[None]:
    """The port that is measured, for whoever gets into it."""
    within = ("ip", "-n", bench.node.name)
    bench.socket.unlink(missing_ok=True)
    if kind == TAP:
        run(*within, "tuntap", "add", NIC, "mode", "tap")
        run(*within, "link", "set", NIC, "up")
        bench.add_port(NIC, GUEST)
    else:
        bench.add_port(NIC, GUEST, "type=dpdkvhostuserclient", f"options:vhost-server-path={bench.socket}")
    yield
    bench.node.vsctl("del-port", NIC)
    if kind == TAP:
        run(*within, "link", "del", NIC)


@contextmanager
def guest(bench: Bench, kind: str) -> Iterator[Guest]:
    console = bench.node.state / "console"
    console.unlink(missing_ok=True)
    daemon = bench.beside(
        "guest",
        *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-user-config", "-cpu", "max", "-smp", "1"),
        *("-machine", "q35,memory-backend=memory", "-m", "128M"),
        *("-object", "memory-backend-memfd,id=memory,size=128M,share=on"),
        *("-kernel", str(debian_kernel().image), "-initrd", str(bench.node.state / "initrd")),
        *("-append", "console=ttyS0 quiet panic=-1", "-serial", f"unix:{console},server=on,wait=off"),
        *("-chardev", f"socket,id=vhost,path={bench.socket},server=on,wait=off"),
        *("-netdev", NETDEVS[kind], "-device", f"virtio-net-pci,netdev=net,mac={MAC},romfile=,vectors=0"),
    )
    try:
        eventually(lambda: listens(console), "the guest's console")
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(SECONDS)
            link.connect(str(console))
            found = Guest(link)
            found.hears("guest: ready")
            yield found
    finally:
        daemon.kill()


def of_guest(bench: Bench, kind: str) -> dict[str, float]:
    """What a guest gets by one kind of port."""
    found = {}
    with port(bench, kind), guest(bench, kind) as one:
        bench.flows(f"in_port=LOCAL,actions=output:{GUEST}", f"in_port={GUEST},actions=LOCAL")
        eventually(partial(answers, bench.node.name, "10.0.0.5"), "the guest answers")
        found["rr_us"] = bench.round_trip()
        if kind == VHOST_USER:
            found["idle_cpu"] = bench.idle()
            bench.node.configure(sleeping(LONGEST_SLEEP_US))
            found["sleeping_rr_us"] = bench.round_trip()
            found["sleeping_idle_cpu"] = bench.idle()
            bench.node.configure(sleeping("0"))
        with bench.source(f"mod_dl_dst:{MAC}"):
            found["receive_pps"] = one.receives()
        bench.flows(f"in_port={GUEST},actions=drop")
        one.say("send")
        time.sleep(SETTLE_SECONDS)
        found["send_pps"] = rate(lambda: bench.packets("rx"))
    return found


def of_port(bench: Bench, application: Application, kind: str) -> float:
    """Frames a second that the port alone takes."""
    with port(bench, kind):
        if kind == TAP:
            reader = bench.beside("reader", sys.executable, "-c", READER)
            leave: Callable[[], None] = reader.kill
        else:
            application.serve(bench.socket.name, MAC)
            leave = application.leave
        try:
            eventually(lambda: bench.node.vsctl("get", "Interface", NIC, "link_state") == "up", "the port is up")
            with bench.source():
                time.sleep(SETTLE_SECONDS)
                return rate(lambda: bench.packets("tx"))
        finally:
            leave()


def main() -> None:
    begin()
    try:
        measure()
    except NoHugePages as problem:
        print(f"vhost-user beside tap: not measured: {problem}", file=sys.stderr)


def measure() -> None:
    load = os.getloadavg()[0]
    found: dict[str, dict[str, list[float]]] = {VHOST_USER: {}, TAP: {}}
    with network() as (bench, application):
        for _ in range(ROUNDS):
            for kind, samples in found.items():
                for name, value in {**of_guest(bench, kind), "port_pps": of_port(bench, application, kind)}.items():
                    samples.setdefault(name, []).append(value)
    medians = {kind: {name: statistics.median(values) for name, values in each.items()} for kind, each in found.items()}
    by_vhost_user, by_tap = medians[VHOST_USER], medians[TAP]
    figures = {
        f"{name}_ratio": by_vhost_user[f"{name}_pps"] / by_tap[f"{name}_pps"] for name in ("send", "receive", "port")
    }
    figures["rr_ratio"] = by_tap["rr_us"] / by_vhost_user["rr_us"]
    figures |= by_vhost_user | {f"tap_{name}": value for name, value in by_tap.items()} | {"load_before": load}
    publish("vhost-user beside tap", {f"vhostuser.{name}": value for name, value in figures.items()})


@contextmanager
def network() -> Iterator[tuple[Bench, Application]]:
    """A node, and an application on its other processor."""
    with tempfile.TemporaryDirectory() as directory, huge_pages(PAGES):
        state, other = Path(directory) / "node", Path(directory) / "application"
        state.mkdir()
        other.mkdir()
        with DpdkNode.running(state) as node, Application.with_volume(other, state) as application:
            (state / "initrd").write_bytes(initrd(INIT, "virtio_pci", "virtio_net", "af_packet", "pktgen"))
            for one in (node, application):
                one.configure(sleeping("0"))
            run("ovs-ofctl", "replace-flows", f"unix:{other}/br-int.mgmt", "-", input="actions=drop")
            for words in ("address add 10.0.0.1/24 dev br-int", "link set br-int up"):
                run("ip", "-n", node.name, *words.split())
            run("ip", "netns", "exec", node.name, "ethtool", "-K", "br-int", "tx", "off")
            yield Bench(node), application


if __name__ == "__main__":
    main()
