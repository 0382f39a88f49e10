"""A guest in a pod as KubeVirt lays it out: a tap that a process holds, which reads when it is told to."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.attach.rig import run
from tests.attach.samples import MAC
from virtnet.node.handoff import geneve

PEER = "02:76:6e:00:00:99"
HOLD = """
import fcntl, os, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"tap0", 0x0002 | 0x1000 | 0x4000))
print("held", flush=True)
for line in sys.stdin:
    count = 0
    try:
        while True:
            count += os.read(tap, 65536)[22:24] in (b"\\x88\\xb5", b"\\x88\\xb6")
    except BlockingIOError:
        print(count, flush=True)
"""
"""It says how many frames of ours there were."""


@dataclass
class Guest:
    process: "subprocess.Popen[str]"

    def read(self) -> int:
        """How many frames the guest gets when it reads."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    @classmethod
    @contextmanager
    def running(cls, netns: str) -> Iterator["Guest"]:
        """In a pod's namespace, given by path."""
        name = Path(netns).name
        command = ["ip", "netns", "exec", name, sys.executable, "-c", HOLD]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            for words in (
                "link add k6t type bridge mcast_snooping 0",
                "link set tap0 master k6t up",
                "link set pod1 address 02:00:00:00:00:01 master k6t",
                "link set k6t addrgenmode none up",
            ):
                run("ip", "-n", name, *words.split())
            yield cls(process)
            process.kill()


def frame(number: int) -> bytes:
    """To the guest."""
    return bytes.fromhex((MAC + PEER).replace(":", "")) + b"\x88\xb6" + number.to_bytes(50, "big")


def far_end() -> socket.socket:
    """Of the source's tunnel, in the namespace of the calling thread."""
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    far.bind(("127.0.0.1", geneve.PORT))
    return far


def holds_the_tap(pid: int | None) -> bool:
    """Whether a process has a handle on the guest's queue."""
    found = Path(f"/proc/{pid}/fdinfo").glob("*") if pid else ()
    return any("iff:\ttap0" in _text(one) for one in found)


def _text(path: Path) -> str:
    """Of a descriptor that may be closed meanwhile, of a process that may have ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
