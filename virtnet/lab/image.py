"""The guest of the lab: Debian's kernel for clouds and an initramfs of busybox, small enough to boot without KVM.

The kernel is not installed: its package is fetched by apt and taken apart. What comes of it is kept in the cache, under
names that say what it was made of. DHCPv6 is dhcpcd's, as on a machine of Debian's: busybox has no client for it.
"""

import fcntl
import hashlib
import lzma
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from virtnet.lab.initramfs import InitramfsEntry, archive

GUEST = Path(__file__).parent / "guest"
BUSYBOX, DHCPCD = "/bin/busybox", "/usr/sbin/dhcpcd"
SCRIPTS = ("init", "dhcp", "dhcp6", "pinger", "caller", "server", "sender")
DIRECTORIES = ("dev", "etc", "proc", "run", "run/nics", "sys", "tmp", "var", "var/lib", "var/lib/dhcpcd")

MODULES = ("virtio_pci", "virtio_net", "af_packet", "button", "evdev")

CMDLINE = "console=ttyS0 quiet panic=-1 random.trust_cpu=on"
"""What the kernel must be told. ``virtnet.hostname=NAME`` may follow."""


class ImageError(Exception):
    """The guest's kernel or busybox cannot be had. The message says what failed."""


@dataclass(frozen=True)
class Image:
    """What QEMU boots: ``-kernel``, ``-initrd``, and ``-append`` with CMDLINE."""

    kernel: Path
    initrd: Path


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel: ``vmlinuz``, and all of its modules in one directory."""

    directory: Path

    @property
    def image(self) -> Path:
        return self.directory / "vmlinuz"

    def modules(self, names: Iterable[str]) -> dict[str, bytes]:
        """Names and contents of these, and of what they depend on, as far as they are there, in the order to load them.

        What a kernel has built in, or has no more, is not among its files.
        """
        found: dict[str, bytes] = {}
        for name in names:
            self._add(name, found)
        return found

    def _add(self, name: str, found: dict[str, bytes]) -> None:
        """What the module says that it depends on comes before it: the kernel loads one by one."""
        for path in self.directory.glob(f"modules/{name}.ko*"):
            if name in found:
                return
            content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
            said = re.search(rb"\0depends=([^\0]*)\0", content)
            for other in said[1].decode().split(",") if said else ():
                self._add(other.replace("-", "_"), found)
            found[name] = content


def cache() -> Path:
    """$VIRTNET_CACHE, else /var/cache/virtnet."""
    return Path(os.environ.get("VIRTNET_CACHE") or "/var/cache/virtnet")


def guest_image() -> Image:
    """The guest, made when it is first asked for. Raises ImageError."""
    with _alone():
        kernel = _kernel()
        initrd = _initrd(kernel)
    return Image(kernel.image, initrd)


def debian_kernel() -> Kernel:
    """Debian's kernel for clouds, fetched when it is first asked for. Raises ImageError."""
    with _alone():
        return _kernel()


@contextmanager
def _alone() -> Iterator[None]:
    """Two labs that come up at once fetch one kernel."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _initrd(kernel: Kernel) -> Path:
    entries, made_of = list(_entries(kernel)), hashlib.sha256()
    for one in entries:
        made_of.update(f"{one.path} {one.mode} {one.device} {len(one.content)}\n".encode() + one.content)
    path = cache() / f"initrd-{made_of.hexdigest()[:16]}"
    if not path.exists():  # to compress it takes longer than to say what is in it
        half = path.with_suffix(".part")
        half.write_bytes(archive(entries))
        half.rename(path)
    return path


def _entries(kernel: Kernel) -> Iterator[InitramfsEntry]:
    files = [
        InitramfsEntry.file("bin/busybox", _program(BUSYBOX, "busybox-static"), executable=True),
        InitramfsEntry.file("bin/dhcpcd", _program(DHCPCD, "dhcpcd-base"), executable=True),
        *(
            InitramfsEntry.file(path.lstrip("/"), Path(path).read_bytes(), executable=True)
            for path in _loaded_by(DHCPCD)
        ),
        InitramfsEntry.file("etc/dhcpcd.conf", (GUEST / "dhcpcd.conf").read_bytes()),
        *(InitramfsEntry.file(script, (GUEST / script).read_bytes(), executable=True) for script in SCRIPTS),
    ]
    for number, (name, content) in enumerate(kernel.modules(MODULES).items()):
        files.append(InitramfsEntry.file(f"modules/{number:02}-{name}.ko", content))
    parents = {str(parent) for one in files for parent in Path(one.path).parents} - {"."}
    for directory in sorted(parents.union(DIRECTORIES)):
        yield InitramfsEntry.directory(directory)
    yield InitramfsEntry.character_device("dev/console", 5, 1)
    yield from files


def _program(path: str, package: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path} is missing: install the package {package}") from None


def _loaded_by(program: str) -> list[str]:
    """The loader and the libraries of a program, where the loader looks for them in the guest too."""
    return re.findall(r"(/\S+) \(0x", _run("ldd", program))


def _kernel() -> Kernel:
    """The newest one in the cache, else the one that Debian has now."""
    kept = sorted(cache().glob("linux-*/vmlinuz"), key=lambda path: path.stat().st_mtime)
    return Kernel(kept[-1].parent) if kept else _fetch()


def _fetch() -> Kernel:
    with tempfile.TemporaryDirectory(dir=cache(), prefix="fetch-") as directory:
        work = Path(directory)
        work.chmod(0o777)  # apt fetches as a user of its own
        package = _current_package()
        _run("apt-get", "-q", "download", package, cwd=work)
        for deb in work.glob("*.deb"):
            _run("dpkg-deb", "-x", deb.name, "root", cwd=work)
        made = work / "made"
        (made / "modules").mkdir(parents=True)
        for path in (work / "root").glob("**/*.ko*"):
            path.rename(made / "modules" / path.name.replace("-", "_"))
        for path in (work / "root" / "boot").glob("vmlinuz-*"):
            path.rename(made / "vmlinuz")
        if not (made / "vmlinuz").exists():
            raise ImageError(f"the package {package} has no boot/vmlinuz-*")
        target = cache() / package.replace("linux-image", "linux")
        made.rename(target)
    return Kernel(target)


def _current_package() -> str:
    """The package with the kernel itself, which the one without a version depends on."""
    name = f"linux-image-cloud-{_run('dpkg', '--print-architecture').strip()}"
    found = re.search(r"Depends: (linux-image-\d\S+)", _run("apt-cache", "depends", name))
    if not found:
        raise ImageError(f"apt knows no kernel by the name {name}: run apt-get update")
    return found[1]


def _run(*command: str, cwd: Path | None = None) -> str:
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ImageError(f"{' '.join(command)} failed: {(ran.stderr or ran.stdout).strip()}")
    return ran.stdout
