"""OVN's central daemons: both databases and northd. Each can be stopped, killed, frozen and restarted.

Real ones, from Debian's ovn-central, in a directory of their own; nothing is shared with the machine's OVN.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from virtnet.lab.certificates import Authority
from virtnet.lab.daemon import Daemon
from virtnet.lab.databases import QUIET, accepts, database, installed_file, wait

Name = Literal["nb", "sb", "northd"]

NAMES: tuple[Name, ...] = ("nb", "sb", "northd")
SCHEMAS = installed_file("ovn-northd", "ovn")


@dataclass(frozen=True)
class OvnCentral:
    """The three daemons, and the tools that talk with them. Starting takes a fraction of a second."""

    state: Path
    prefix: Sequence[str] = ()
    """Put before every command, such as ``("ip", "netns", "exec", "vn-lab-central")``."""
    listen: Mapping[str, str] = field(default_factory=dict)
    """A further remote of a database, such as ``{"nb": "ptcp:6641:172.31.0.1"}``; a unix socket is always there."""
    northd_threads: int = 1
    nice: int = 0
    authority: Authority | None = None
    """Signs for ``pssl:`` remotes."""
    controllers_listen: str = ""
    """A further remote of the southbound database, where a client may do what OVN's role ``ovn-controller`` may."""

    @cached_property
    def daemons(self) -> dict[str, Daemon]:
        """By their names, in the order in which they start."""
        return {"nb": self._database("nb"), "sb": self._database("sb"), "northd": self._northd()}

    def remote(self, name: Name) -> str:
        """How to reach a database through its unix socket."""
        return f"unix:{self._socket(name)}"

    def database(self, name: Name) -> Path:
        return self.state / f"{name}.db"

    def log(self, name: Name) -> Path:
        return self.daemons[name].log

    def start(self, *names: Name) -> None:
        """Start daemons, all if none is named, on what their databases hold. Raises DaemonError."""
        for name in names or NAMES:
            self.daemons[name].start()
        for name in names or NAMES:
            wait(self.daemons[name], lambda name=name: self._ready(name), "it is ready")  # type: ignore[misc]  # mypy knows no lambda with a default

    def stop(self, *names: Name) -> None:
        """Ask daemons to end, all if none is named, and see that they do."""
        for name in names or tuple(reversed(NAMES)):
            self.daemons[name].thaw()
            self.daemons[name].stop()

    def kill(self, *names: Name) -> None:
        """End daemons as a crash does, all if none is named."""
        for name in names or tuple(reversed(NAMES)):
            self.daemons[name].kill()

    def restart(self, *names: Name) -> None:
        self.stop(*names)
        self.start(*names)

    def erase(self, *names: Name) -> None:
        """Delete databases, as if the disk were lost. Their daemons must not run."""
        for name in names or ("nb", "sb"):
            for pattern in (f"{name}.db*", f".{name}.db*"):
                for path in self.state.glob(pattern):
                    path.unlink()

    def running(self, name: Name) -> bool:
        return self.daemons[name].pid is not None

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
        return subprocess.run([*self.prefix, *command], check=True, text=True, capture_output=True).stdout

    def _socket(self, name: str) -> Path:
        return self.state / f"{name}.sock"

    def _database(self, name: Name) -> Daemon:
        guarded = self.controllers_listen if name == "sb" else ""
        listen = [self.listen[name]] if name in self.listen else []
        return database(
            name,
            self.state,
            schema=SCHEMAS / f"ovn-{name}.ovsschema",
            unix=self._socket(name),
            listen=[*listen, "db:OVN_Southbound,SB_Global,connections"] if guarded else listen,
            prefix=self.prefix,
            nice=self.nice,
            authority=self.authority,
            contents=_connection(guarded) if guarded else "",
        )

    def _northd(self) -> Daemon:
        command = [
            *self.prefix,
            "ovn-northd",
            *QUIET,
            f"--unixctl={self.state / 'northd.ctl'}",
            f"--ovnnb-db={self.remote('nb')}",
            f"--ovnsb-db={self.remote('sb')}",
            f"--n-threads={self.northd_threads}",
        ]
        environment = {"OVN_RUNDIR": str(self.state), "OVS_RUNDIR": str(self.state)}
        return Daemon("northd", command, self.state, environment, self.nice)

    def _ready(self, name: Name) -> bool:
        """A database accepts connections; northd is the active one and has begun the southbound database.

        An ovn-controller that is there earlier ends at once, without a word (OVN 23.03).
        """
        if name != "northd":
            return accepts(self._socket(name))
        control = str(self.state / "northd.ctl")
        status = subprocess.run(["ovn-appctl", "-t", control, "status"], check=False, text=True, capture_output=True)
        return "active" in status.stdout and self.begun

    @property
    def begun(self) -> bool:
        """Whether the southbound database has its first row. ovn-sbctl cannot tell: it makes one if there is none."""
        dump = ("ovsdb-client", "--format=list", "dump", self.remote("sb"), "OVN_Southbound", "SB_Global", "nb_cfg")
        return "nb_cfg" in self._run(*dump)


def _connection(target: str) -> str:
    """The transaction that makes a remote with the role: only a row can have one (ovn-sb(5), Connection TABLE)."""
    connection = {"target": target, "role": "ovn-controller"}
    return json.dumps(
        [
            "OVN_Southbound",
            {"op": "insert", "table": "Connection", "uuid-name": "remote", "row": connection},
            {"op": "insert", "table": "SB_Global", "row": {"connections": ["named-uuid", "remote"]}},
        ]
    )
