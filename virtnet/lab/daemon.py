"""One background process of the lab, known by its pid file: any later command can find it, restart it or end it."""

import os
import select
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

AHEAD = ("chrt", "--rr", "1")
"""Before the command of a switch in userspace: guests do not keep it waiting, as they do not keep waiting a kernel."""

ELSEWHERE = 10
"""The niceness of what would run on other machines: it keeps no guest waiting."""

NICENESS = "VIRTNET_LAB_NICENESS"
"""In the environment: how much nicer than usual every daemon is, for what must not keep another lab waiting."""

MARK = "VIRTNET_LAB_DAEMON"
"""In the environment of a daemon and of all that it starts, from their first moment on: the daemon's pid file."""


class DaemonError(Exception):
    """A process could not be started, or has ended when it should run. The message ends with its last words."""


@dataclass(frozen=True)
class Daemon:
    """A command that runs in a session of its own, with its output in a log file."""

    name: str
    command: Sequence[str]
    directory: Path
    """Where ``NAME.pid`` and ``NAME.log`` are."""
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        return self.directory / f"{self.name}.pid"

    @property
    def pid(self) -> int | None:
        """The process, if it runs. A pid that now belongs to another process does not count."""
        try:
            pid, started = self.pid_file.read_text().split()
        except FileNotFoundError:
            return None
        return int(pid) if start_of(int(pid)) == started else None

    def start(self) -> None:
        """Start it unless it runs. It may still fail: wait for what it should provide. Raises DaemonError."""
        if self.pid is not None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        if shutil.which(self.command[0]) is None:
            raise DaemonError(f"{self.name}: there is no program {self.command[0]}")
        pid = os.posix_spawnp(
            self.command[0],
            list(self.command),
            {**os.environ, **self.environment, MARK: str(self.pid_file)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGPIPE],
        )
        self.pid_file.write_text(f"{pid} {start_of(pid)}\n")
        # Whatever whoever starts it has: what a lab's daemons start may be less nice than they are.
        _set_niceness(pid, self.nice + int(os.environ.get(NICENESS, "0")))

    def kill(self) -> None:
        """End it at once, as a crash would, and wait until it is gone."""
        self._end(signal.SIGKILL, 10)

    def stop(self, *, grace: float = 5) -> None:
        """Ask it to end, and kill it if it has not after the grace period. Nothing if it does not run."""
        if not self._end(signal.SIGTERM, grace):
            self.kill()
        self.pid_file.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Let it hang: its connections stay, but it does nothing until it is thawed. Nothing if it does not run."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def last_words(self) -> str:
        """The end of its log, for error messages."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:])
        except FileNotFoundError:
            return ""

    def _signal(self, how: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            os.kill(pid, how)

    def _end(self, how: signal.Signals, seconds: float) -> bool:
        """Signal it and wait. Whether it is gone. The descriptor makes sure that no other process is hit."""
        pid = self.pid
        if pid is None:
            return True
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        try:
            if self.pid != pid:
                return True
            signal.pidfd_send_signal(handle, how)
            gone = select.poll()
            gone.register(handle, select.POLLIN)
            if not gone.poll(seconds * 1000):
                return False
            _reap(pid)
        except ProcessLookupError:
            return True
        finally:
            os.close(handle)
        return True


def started_below(directory: Path) -> list[int]:
    """The daemons whose pid files are below a directory, and what they started; also those without a pid file yet."""
    mark = f"{MARK}={directory}/".encode()
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if _has(path, mark)]


def _has(environ: Path, mark: bytes) -> bool:
    try:
        return any(entry.startswith(mark) for entry in environ.read_bytes().split(b"\0"))
    except OSError:
        return False  # it has ended


def _set_niceness(pid: int, nice: int) -> None:
    """Of a session: most kernels share the processors out among sessions first, and then within each."""
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    with suppress(OSError):  # a kernel that does not, or the process has ended
        Path(f"/proc/{pid}/autogroup").write_text(f"{nice}\n")


def start_of(pid: int) -> str | None:
    """When a process started, in the kernel's ticks, which with its pid names it for good. None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] == "Z":
        _reap(pid)
        return None
    return fields[19]


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # another command's child: init takes care of it
