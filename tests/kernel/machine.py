"""A machine with Debian's own kernel, which has what the one beneath may lack: Open vSwitch, tunnels, VLANs, bonds, teams.

QEMU emulates it, so nothing in it is fast. Its files are those of this machine, by virtiofs; what it writes to them is
forgotten.
"""

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from virtnet.lab.daemon import Daemon
from virtnet.lab.databases import wait
from virtnet.lab.image import BUSYBOX, Kernel, debian_kernel
from virtnet.lab.initramfs import Entry, archive

INIT = Path(__file__).with_name("init")
MODULES = (
    *("virtio_pci", "virtiofs", "overlay"),
    *("openvswitch", "vport_geneve", "nf_tables", "veth", "tun", "bridge"),
    *("8021q", "bonding", "team", "team_mode_activebackup", "macvlan", "vrf", "sch_tbf"),
)
PROGRAMS = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
"""Debian 13's, in Rust, and that of Debian 12, which is QEMU's own: they take different words."""
ENDED = "machine: ended with "


class MachineError(Exception):
    """The machine has not come up, or not to its end. The message ends with what its console said."""


@dataclass(frozen=True)
class Ended:
    """A command of the machine's."""

    status: int
    output: str
    """With what else its console has said."""


def run(state: Path, command: Sequence[str], *, directory: Path, seconds: float, **environment: str) -> Ended:
    """Boot, run a command as root, and power off. The state directory is to be a new one. Raises MachineError."""
    script = state / "run"
    script.write_text(_script(command, directory, environment))
    script.chmod(0o755)
    files = state / "files.sock"
    served = Daemon("virtiofsd", ["setpriv", "--pdeathsig", "KILL", *_virtiofsd(files)], state)
    served.start()
    try:
        wait(served, files.exists, "it serves the machine's files")
        console = _booted(state, script, files, seconds)
    finally:
        served.stop()
    output, ended, status = console.replace("\r", "").rpartition(ENDED)
    if not ended:
        raise MachineError(f"it has not come to an end within {seconds:g} s; its console: {console[-2000:]}")
    return Ended(int(status.split()[0]), output)


def _script(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    given = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **environment}
    return "\n".join(
        (
            "#!/bin/sh",
            *(f"export {name}={shlex.quote(value)}" for name, value in given.items()),
            f"cd {shlex.quote(str(directory))}",
            shlex.join(command),
            f'echo "{ENDED}$?"',
            "echo o >/proc/sysrq-trigger",
            "sleep 60",
            "",
        )
    )


def _entries(kernel: Kernel) -> Iterator[Entry]:
    yield from (Entry.directory(name) for name in ("bin", "dev", "modules", "proc", "sys"))
    yield Entry.character_device("dev/console", 5, 1)
    yield Entry.file("bin/busybox", Path(BUSYBOX).read_bytes(), executable=True)
    yield Entry.file("init", INIT.read_bytes(), executable=True)
    for number, (name, content) in enumerate(kernel.modules(MODULES).items()):
        yield Entry.file(f"modules/{number:02}-{name}.ko", content)


def _virtiofsd(socket: Path) -> list[str]:
    program = next((path for path in PROGRAMS if Path(path).exists()), PROGRAMS[0])
    cached, whole = ["--socket-path", str(socket), "--sandbox", "chroot"], ["--shared-dir", "/", "--cache", "always"]
    if program == PROGRAMS[1]:
        cached, whole = [f"--socket-path={socket}"], ["-o", "source=/,cache=always,sandbox=chroot"]
    return [program, *cached, *whole]


def _booted(state: Path, script: Path, files: Path, seconds: float) -> str:
    """What the machine's console has said."""
    kernel, initrd = debian_kernel(), state / "initrd"
    initrd.write_bytes(archive(_entries(kernel)))
    command = [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
        *("-machine", "q35,memory-backend=memory", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "3G"),
        *("-object", "memory-backend-memfd,id=memory,size=3G,share=on"),  # virtiofsd reads and writes it
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-chardev", f"socket,id=files,path={files}", "-device", "vhost-user-fs-pci,chardev=files,tag=files"),
        *("-kernel", str(kernel.image), "-initrd", str(initrd)),
        *("-append", f"console=ttyS0 quiet panic=-1 random.trust_cpu=on machine.run={script}"),
    ]
    said = state / "console.log"
    with said.open("wb") as console, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=seconds, check=False)
    return said.read_text(errors="replace")
