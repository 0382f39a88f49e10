"""A machine with a kernel of Debian's, which has what the one beneath may lack.

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
from virtnet.lab.image import BUSYBOX, CMDLINE, Kernel
from virtnet.lab.initramfs import InitramfsEntry, archive

INIT = Path(__file__).with_name("init")
FILES = ("virtio_pci", "virtiofs", "overlay")
"""The modules by which it has its files."""
PROGRAMS = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
"""Debian 13's, in Rust, and that of Debian 12, which is QEMU's own: they take different words."""
ENDED = "machine: ended with "


class MachineError(Exception):
    """The machine has not come up, or not to its end. The message ends with what its console said."""


@dataclass(frozen=True)
class Machine:
    """What is emulated."""

    kernel: Kernel
    modules: Sequence[str]
    """Loaded before its command is run, for nothing loads them later."""
    program: str = "qemu-system-x86_64"
    devices: Sequence[str] = ()
    """In QEMU's words."""
    parameters: str = ""
    """Of the kernel."""
    cpus: int = 1
    """With two, Linux 6.12 has died of its own patching, once in five boots."""


@dataclass(frozen=True)
class Ended:
    """A command of the machine's."""

    status: int
    output: str
    """With what else its console has said."""


def run(
    machine: Machine, state: Path, command: Sequence[str], *, directory: Path, seconds: float, **environment: str
) -> Ended:
    """Boot, run a command as root, and power off. The state directory is to be a new one. Raises MachineError."""
    script = state / "run"
    script.write_text(_script(command, directory, environment))
    script.chmod(0o755)
    files = state / "files.sock"
    served = Daemon("virtiofsd", ["setpriv", "--pdeathsig", "KILL", *_virtiofsd(files)], state)
    served.start()
    try:
        wait(served, files.exists, "it serves the machine's files")
        console = _booted(machine, state, script, files, seconds)
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
            # Before that Open vSwitch 3.1 counts no CPU, and has no thread that handles what the kernel hands up.
            "until [ $(cut -d. -f1 /proc/uptime) -ge 11 ]; do sleep 0.2; done",
            shlex.join(command),
            f'echo "{ENDED}$?"',
            "echo o >/proc/sysrq-trigger",
            "sleep 60",
            "",
        )
    )


def _entries(machine: Machine) -> Iterator[InitramfsEntry]:
    yield from (InitramfsEntry.directory(name) for name in ("bin", "dev", "modules", "proc", "sys"))
    yield InitramfsEntry.character_device("dev/console", 5, 1)
    yield InitramfsEntry.file("bin/busybox", Path(BUSYBOX).read_bytes(), executable=True)
    yield InitramfsEntry.file("init", INIT.read_bytes(), executable=True)
    for number, (name, content) in enumerate(machine.kernel.modules((*FILES, *machine.modules)).items()):
        yield InitramfsEntry.file(f"modules/{number:03}-{name}.ko", content)


def _virtiofsd(socket: Path) -> list[str]:
    program = next((path for path in PROGRAMS if Path(path).exists()), PROGRAMS[0])
    if program == PROGRAMS[1]:
        return [program, f"--socket-path={socket}", "-o", "source=/,cache=always,sandbox=chroot"]
    cached = ("--shared-dir", "/", "--cache", "always", "--sandbox", "chroot")
    # An overlay refuses what is below a submount that is told of.
    return [program, "--socket-path", str(socket), *cached, "--no-announce-submounts"]


def _booted(machine: Machine, state: Path, script: Path, files: Path, seconds: float) -> str:
    """What the machine's console has said."""
    initrd = state / "initrd"
    initrd.write_bytes(archive(_entries(machine)))
    command = [
        *("setpriv", "--pdeathsig", "KILL", machine.program),
        # Above 36 bits QEMU 10.0.2 has the registers of virtual functions elsewhere than the kernel looks for them.
        *("-machine", "q35,memory-backend=memory", "-accel", "tcg", "-cpu", "max,phys-bits=36"),
        *("-smp", str(machine.cpus), "-m", "3G"),
        *("-object", "memory-backend-memfd,id=memory,size=3G,share=on"),  # virtiofsd reads and writes it
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *machine.devices,
        *("-chardev", f"socket,id=files,path={files}", "-device", "vhost-user-fs-pci,chardev=files,tag=files"),
        *("-kernel", str(machine.kernel.image), "-initrd", str(initrd)),
        *("-append", f"{CMDLINE} machine.run={script} {machine.parameters}"),
    ]
    said = state / "console.log"
    with said.open("wb") as console, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, timeout=seconds, check=False)
    return said.read_text(errors="replace")
