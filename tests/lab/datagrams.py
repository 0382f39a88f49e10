"""UDP between a guest and a pod, as much as both can send: what is offered, and what has passed the network."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from virtnet.kube.kinds import PODS
from virtnet.lab import netns
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.lab import Lab

TO_GUEST, FROM_GUEST = 40001, 40002
SIZE = 200
BURST_SECONDS = 0.8
"""Of the rate, where a policy says nothing of bursts."""
SLACK = 1.25
"""What a meter lets pass beside its rate and burst: frames of DHCP and TCP are not counted here, its ticks are coarse."""
WINDOW = 3.0

_TELL = (
    "import socket,sys\n"
    "with socket.create_connection((sys.argv[1], 13), timeout=15) as s:\n"
    "    s.sendall(f'{sys.argv[2]} {sys.argv[3]}\\n'.encode())\n"
    "    assert s.recv(100)\n"
)


class Datagrams:
    """Counts kilobits of frames, to the guest and from it; the moments are those of ``time.monotonic``."""

    def __init__(self, lab: Lab, vm: str, wire: socket.socket, guest: str) -> None:
        self._lab = lab
        self._vm = vm
        self._wire = wire
        self._guest = guest
        self._taps: dict[str, socket.socket] = {}
        self._seen: list[tuple[float, str, float]] = []
        self._over = threading.Event()

    @classmethod
    @contextmanager
    def between(cls, lab: Lab, pod: str, vm: str, guest: str) -> Iterator["Datagrams"]:
        """Both send until the end, and the guest for longer."""

        def bound() -> socket.socket:
            found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            found.bind(("", FROM_GUEST))
            found.setblocking(False)  # noqa: FBT003
            return found

        place = lab.pod_netns(pod)
        links = json.loads(netns.run("ip", "-json", "-4", "address", "show", "dev", "net1", netns=place))
        here = links[0]["addr_info"][0]["local"]
        with netns.inside(place, bound) as wire:
            made = cls(lab, vm, wire, guest)
            made.follow()
            thread = threading.Thread(target=made._work)
            thread.start()
            try:
                command = lab.command([sys.executable, "-c", _TELL, guest, here, str(FROM_GUEST)], pod=pod)
                subprocess.run(command, check=True, timeout=60)
                yield made
            finally:
                made._over.set()
                thread.join()
                for tap in made._taps.values():
                    tap.close()

    def follow(self) -> bool:
        """Listen at the taps of the VM's pods that have come since."""
        items, _ = self._lab.ask(lambda cluster: cluster.list(PODS, NAMESPACE, labels="kubevirt.io=virt-launcher"))
        for item in items:
            uid = item["metadata"]["uid"]
            if item["metadata"]["name"].startswith(f"virt-launcher-{self._vm}-") and uid not in self._taps:
                with contextlib.suppress(netns.NetnsError, OSError, StopIteration):
                    self._taps[uid] = self._tap(self._lab.names.pod(uid))
        return True

    def begin(self) -> float:
        """A moment from which on is counted."""
        return time.monotonic()

    def offered(self, start: float) -> tuple[float, float]:
        """To the guest and from it, since then."""
        return self._sum("sent", start), self._sum("from guest", start)

    def passed(self, start: float, end: float = float("inf")) -> tuple[float, float]:
        """As ``offered``."""
        return self._sum("to guest", start, end), self._sum("received", start, end)

    def allowed(self, start: float, rate: int, end: float = 0, *, meters: int = 1) -> float:
        """What may pass in one direction from then on, by so many meters, each with a full bucket."""
        return SLACK * meters * rate * ((end or time.monotonic()) - start + BURST_SECONDS)

    def bounded(self, rate: int) -> bool:
        """Whether no more has passed lately than the rate and a bucket."""
        start = time.monotonic() - WINDOW
        return 0 < max(self.passed(start)) < self.allowed(start, rate)

    def _sum(self, what: str, start: float, end: float = float("inf")) -> float:
        return sum(kilobits for moment, kind, kilobits in list(self._seen) if kind == what and start <= moment < end)

    def _tap(self, place: str) -> socket.socket:
        links = json.loads(netns.run("ip", "-json", "link", netns=place))
        name = next(str(link["ifname"]) for link in links if link["ifname"].startswith("tap"))

        def listening() -> socket.socket:
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            found.bind((name, 3))
            found.setblocking(False)  # noqa: FBT003
            return found

        return netns.inside(place, listening)

    def _work(self) -> None:
        while not self._over.wait(0.001):
            with contextlib.suppress(OSError):
                self._wire.sendto(bytes(SIZE), (self._guest, TO_GUEST))
                self._note("sent", SIZE + 42)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._note("received", len(self._wire.recv(2048)) + 42)
            for tap in list(self._taps.values()):
                with contextlib.suppress(OSError):
                    while True:
                        frame, address = tap.recvfrom(2048)
                        port = int.from_bytes(frame[36:38], "big") if frame[23] == socket.IPPROTO_UDP else 0
                        if port in {TO_GUEST, FROM_GUEST}:
                            outgoing = address[2] == socket.PACKET_OUTGOING
                            self._note("to guest" if outgoing else "from guest", len(frame))

    def _note(self, what: str, size: int) -> None:
        self._seen.append((time.monotonic(), what, size * 8 / 1000))
