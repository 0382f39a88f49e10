"""OVSDB servers as the lab's daemons. Each makes its database when there is none: a lost one comes back empty."""

import contextlib
import shlex
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from virtnet.lab.certificates import Authority
from virtnet.lab.daemon import Daemon, DaemonError


def installed_file(program: str, *path: str) -> Path:
    """A file of the installation whose program comes first on PATH: its schemas are those of its version.

    >>> str(installed_file("sh", "misc", "magic"))
    '/usr/share/misc/magic'
    """
    directory = Path(shutil.which(program) or f"/usr/bin/{program}").parent.resolve()  # /bin is /usr/bin
    return directory.parent.joinpath("share", *path)


SWITCH_SCHEMA = installed_file("ovs-vswitchd", "openvswitch", "vswitch.ovsschema")

READY_SECONDS = 20.0
POLL_SECONDS = 0.02


def database(
    name: str,
    directory: Path,
    *,
    schema: Path,
    unix: Path,
    listen: Sequence[str] = (),
    prefix: Sequence[str] = (),
    pid_directory: Path | None = None,
    nice: int = 0,
    authority: Authority | None = None,
    contents: str = "",
) -> Daemon:
    """An ovsdb-server on ``DIRECTORY/NAME.db``, on a unix socket and on further remotes such as ``ptcp:6641:IP``.

    ``authority`` signs for remotes with TLS; ``contents`` is a transaction that is done when the database is made.
    """
    file = directory / f"{name}.db"
    server = [
        "ovsdb-server",
        *QUIET,
        f"--unixctl={directory / f'{name}.ctl'}",
        f"--remote=punix:{unix}",
        *(f"--remote={remote}" for remote in listen),
        *(_tls(authority) if authority else ()),
        str(file),
    ]
    # A server that was killed leaves its sockets, and one of the same name may not be mistaken for a live one.
    create = f"ovsdb-tool create {file} {schema}"
    if contents:  # whole or not at all
        create = (
            f"ovsdb-tool create {file}.new {schema} && {_transact(f'{file}.new', contents)} && mv {file}.new {file}"
        )
    script = (
        f"[ -e {file} ] || {{ {create}; }} || exit; rm -f {unix} {directory / f'{name}.ctl'}; exec {shlex.join(server)}"
    )
    return Daemon(name, [*prefix, "sh", "-c", script], pid_directory or directory, nice=nice)


def _transact(file: str, contents: str) -> str:
    return f"{shlex.join(('ovsdb-tool', 'transact', file, contents))} >/dev/null"


def _tls(authority: Authority) -> Sequence[str]:
    """Flags of a server that has a certificate and asks its clients for theirs."""
    served = authority.server("ovn")
    return (
        f"--private-key={served.key}",
        f"--certificate={served.certificate}",
        f"--ca-cert={authority.root.certificate}",
    )


QUIET = ("-vconsole:info", "-vsyslog:off", "-vfile:off", "--no-chdir")
"""Flags of every OVS and OVN daemon: its log is what it prints."""


def accepts(path: Path) -> bool:
    """Whether a server listens on a unix socket."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        return True
    return False


def wait(daemon: Daemon, ready: Callable[[], bool], what: str, *, seconds: float = READY_SECONDS) -> None:
    """Until a started daemon does its work. Raises DaemonError, with its last words, when it ends or takes too long."""
    end = time.monotonic() + seconds
    while not ready():
        if daemon.pid is None:
            raise DaemonError(f"{daemon.directory.name}/{daemon.name} has ended, before {what}:\n{daemon.last_words()}")
        if time.monotonic() > end:
            raise DaemonError(
                f"{daemon.directory.name}/{daemon.name}: not within {seconds:.0f} s: {what}\n{daemon.last_words()}"
            )
        time.sleep(POLL_SECONDS)
