"""OVN's central daemons for labs and tests: both databases and northd. Each can be stopped, killed and restarted.

Real ones, from Debian's ovn-central, in a directory of their own; nothing is shared with the machine's OVN.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Daemon = Literal["nb", "sb", "northd"]

DAEMONS: tuple[Daemon, ...] = ("nb", "sb", "northd")
SCHEMAS = Path("/usr/share/ovn")
START_TIMEOUT = 20.0
_DATABASES = {"nb": "OVN_Northbound", "sb": "OVN_Southbound"}


class NotReadyError(Exception):
    """A daemon did not come up; the message has the end of its log."""


@dataclass
class OvnCentral:
    """The three daemons. Used synchronously: starting takes a fraction of a second.

    ``command`` is put before every command, such as ``("ip", "netns", "exec", "vn-lab-central")``. ``listen`` are
    further remotes to listen on by daemon, such as ``{"nb": "ptcp:6641:172.31.0.1"}``; a unix socket is always there.
    """

    state: Path
    command: Sequence[str] = ()
    listen: dict[str, str] = field(default_factory=dict)
    northd_threads: int = 1
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def remote(self, daemon: Daemon) -> str:
        """How to reach a database through its unix socket."""
        return f"unix:{self._socket(daemon)}"

    def database(self, daemon: Daemon) -> Path:
        return self.state / f"ovn{daemon}.db"

    def log(self, daemon: Daemon) -> Path:
        return self.state / f"{daemon}.log"

    def start(self, *daemons: Daemon) -> None:
        """Start daemons, all if none is named, on what their databases hold. Raises NotReadyError."""
        self.state.mkdir(parents=True, exist_ok=True)
        for daemon in daemons or DAEMONS:
            if self.running(daemon):
                continue
            self._launch(daemon)
        for daemon in daemons or DAEMONS:
            self._wait(daemon)

    def stop(self, *daemons: Daemon) -> None:
        """Ask daemons to end, all if none is named, and see that they do."""
        for daemon in daemons or tuple(reversed(DAEMONS)):
            self._end(daemon, signal.SIGTERM)

    def kill(self, *daemons: Daemon) -> None:
        """End daemons as a crash does, all if none is named."""
        for daemon in daemons or tuple(reversed(DAEMONS)):
            self._end(daemon, signal.SIGKILL)

    def freeze(self, daemon: Daemon) -> None:
        """Let a daemon hang: its connections stay, but it answers nothing until it is thawed."""
        self._processes[daemon].send_signal(signal.SIGSTOP)

    def thaw(self, daemon: Daemon) -> None:
        self._processes[daemon].send_signal(signal.SIGCONT)

    def restart(self, *daemons: Daemon) -> None:
        self.stop(*daemons)
        self.start(*daemons)

    def erase(self, *daemons: Daemon) -> None:
        """Delete databases, as if the disk were lost. Their daemons must not run."""
        for daemon in daemons or ("nb", "sb"):
            for path in self.state.glob(f"{self.database(daemon).name}*"):
                path.unlink()
            for lock in self.state.glob(f".{self.database(daemon).name}*"):
                lock.unlink()

    def running(self, daemon: Daemon) -> bool:
        process = self._processes.get(daemon)
        return process is not None and process.poll() is None

    def pid(self, daemon: Daemon) -> int:
        return self._processes[daemon].pid

    def nbctl(self, *arguments: str) -> str:
        """Run ovn-nbctl; what it prints. Raises CalledProcessError."""
        return self._run("ovn-nbctl", "--timeout=20", f"--db={self.remote('nb')}", *arguments)

    def sbctl(self, *arguments: str) -> str:
        return self._run("ovn-sbctl", "--timeout=20", f"--db={self.remote('sb')}", *arguments)

    def trace(self, datapath: str, packet: str) -> str:
        """Run ovn-trace; the summary of what would become of a packet."""
        return self._run("ovn-trace", f"--db={self.remote('sb')}", "--summary", datapath, packet)

    def destroy(self) -> None:
        """End everything and leave no file."""
        self.kill()
        shutil.rmtree(self.state, ignore_errors=True)

    def _run(self, *command: str) -> str:
        return subprocess.run([*self.command, *command], check=True, text=True, capture_output=True).stdout

    def _socket(self, daemon: str) -> Path:
        return self.state / f"{daemon}.sock"

    def _launch(self, daemon: Daemon) -> None:
        arguments = self._northd() if daemon == "northd" else self._server(daemon)
        environment = {**os.environ, "OVN_RUNDIR": str(self.state), "OVS_RUNDIR": str(self.state)}
        with self.log(daemon).open("ab") as log:
            self._processes[daemon] = subprocess.Popen(
                [*self.command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def _server(self, daemon: Daemon) -> list[str]:
        database = self.database(daemon)
        if not database.exists():
            schema = SCHEMAS / f"ovn-{daemon}.ovsschema"
            subprocess.run(["ovsdb-tool", "create", database, schema], check=True, capture_output=True)
        self._socket(daemon).unlink(missing_ok=True)
        listen = [f"--remote={remote}" for remote in (self.listen.get(daemon),) if remote]
        return [
            "ovsdb-server",
            "-vconsole:info",
            "-vsyslog:off",
            "-vfile:off",
            "--no-chdir",
            f"--unixctl={self.state / f'{daemon}.ctl'}",
            f"--remote=punix:{self._socket(daemon)}",
            *listen,
            str(database),
        ]

    def _northd(self) -> list[str]:
        return [
            "ovn-northd",
            "-vconsole:info",
            "-vsyslog:off",
            "-vfile:off",
            "--no-chdir",
            f"--unixctl={self.state / 'northd.ctl'}",
            f"--ovnnb-db={self.remote('nb')}",
            f"--ovnsb-db={self.remote('sb')}",
            f"--n-threads={self.northd_threads}",
        ]

    def _wait(self, daemon: Daemon) -> None:
        """Until the daemon does its work: a server accepts connections, northd is the one that is active."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._ready(daemon):
            if not self.running(daemon) or time.monotonic() > deadline:
                end = self.log(daemon).read_text(errors="replace")[-2000:]
                raise NotReadyError(f"{daemon} in {self.state} did not come up:\n{end}")
            time.sleep(0.02)

    def _ready(self, daemon: Daemon) -> bool:
        if daemon == "northd":
            status = subprocess.run(
                ["ovn-appctl", "-t", str(self.state / "northd.ctl"), "status"],
                check=False,
                text=True,
                capture_output=True,
            )
            return "active" in status.stdout
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self._socket(daemon)))
            return True
        return False

    def _end(self, daemon: Daemon, how: signal.Signals) -> None:
        process = self._processes.pop(daemon, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
            os.kill(process.pid, how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
