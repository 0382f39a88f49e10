"""Probes in pods: started, left alone, and asked for what they saw."""

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Self

from virtnet.lab import netns
from virtnet.lab.lab import Lab, LabError

END_SECONDS = 20


@dataclass(frozen=True)
class Probe:
    """One prober (virtnet.lab.probe) in a network namespace of the lab."""

    process: "subprocess.Popen[str]"

    @classmethod
    def start(cls, lab: Lab, pod: str, *words: str) -> Self:
        command = lab.command([sys.executable, "-m", "virtnet.lab.probe", *words], pod=pod)
        return cls(subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True))

    def stop(self) -> dict[str, Any]:
        """Ask for the result, and end it."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=END_SECONDS)
        found: dict[str, Any] = json.loads(output)
        return found


def answers(lab: Lab, pod: str, address: str) -> bool:
    """Whether an address answers one ping from a pod."""
    command = lab.command(["ping", "-c", "1", "-W", "1", address], pod=pod)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def neighbour(lab: Lab, pod: str, address: str) -> str:
    """The MAC that a pod has learnt for an address."""
    command = lab.command(["ip", "-json", "neighbour", "show", address], pod=pod)
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout or "[]")
    return str(found[0].get("lladdr", "")) if found else ""


def tap_of(lab: Lab, pod: str) -> str:
    """The tap of a launcher pod; empty while there is none."""
    try:
        links = json.loads(netns.run("ip", "-json", "link", netns=lab.pod_netns(pod)))
    except (netns.NetnsError, LabError):
        return ""
    return next((str(link["ifname"]) for link in links if link["ifname"].startswith("tap")), "")


def ping_from_guest(lab: Lab, pod: str, guest: str, other: str) -> str:
    """The last lines of a ping that a guest makes when it is told to; the lab's guest listens on TCP port 9."""
    script = (
        "import socket,sys\n"
        "with socket.create_connection((sys.argv[1], 9), timeout=15) as s:\n"
        "    s.sendall(sys.argv[2].encode() + b'\\n')\n"
        "    sys.stdout.write(s.makefile().read())\n"
    )
    command = lab.command([sys.executable, "-c", script, guest, other], pod=pod)
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return next((line for line in done.stdout.splitlines() if "packets transmitted" in line), done.stdout.strip())
