"""A controller as a process of its own, and what is to be seen of it from outside."""

import asyncio
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.daemon import Daemon
from virtnet.lab.ovn_central import OvnCentral

CALM = 10
"""How often in a row, at intervals of 0.1 s, the controller has to have nothing to do."""


def controller(server: ControlPlane, central: OvnCentral, state: Path, metrics: int) -> Daemon:
    databases = ["--northbound", central.remote("nb"), "--southbound", central.remote("sb")]
    options = ["--no-leader-elect", "--metrics-port", str(metrics), *databases]
    return launch(options, server.kubeconfig, state, server.prefix)


def launch(options: Sequence[str], kubeconfig: Path, state: Path, prefix: Sequence[str] = ()) -> Daemon:
    """A controller that is not started yet. ``prefix``: before its command, as a network namespace needs."""
    whole = [*prefix, sys.executable, "-m", "virtnet.cli.main", "controller", *options]
    return Daemon("controller", whole, state, {"KUBECONFIG": str(kubeconfig)})


def peak_mb(daemon: Daemon) -> float:
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def cpu(daemon: Daemon) -> float:
    """Seconds of processor time."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def synced(daemon: Daemon) -> int:
    """How often it has known everything, over its lives."""
    return logged(daemon, "synced")


def logged(daemon: Daemon, event: str) -> int:
    """How often it has logged an event, over its lives."""
    return daemon.log.read_text().count(f'"event": "{event}"') if daemon.log.exists() else 0


def waiting(metrics: int) -> float:
    """How many keys the controller's workers have still to look at."""
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("virtnet_waiting_keys{"))


async def idle(metrics: int, seconds: float = 120) -> float:
    """Until the controller has nothing to do: its first audit is over, all is bound and reported; since when."""
    calm, since = 0, time.perf_counter()
    async with asyncio.timeout(seconds):
        while calm < CALM:
            await asyncio.sleep(0.1)
            calm = 0 if await asyncio.to_thread(waiting, metrics) else calm + 1
            since = since if calm > 1 else time.perf_counter()
    return since
