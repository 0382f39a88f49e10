"""libvirt starts the domain that the sidecar has made, and the switch's end of the socket sees the guest's memory.

As in a launcher pod: libvirt without a daemon and without root, and the socket in a directory that the node knows by
another path, too long for a socket.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.binding.pod import Pod
from tests.binding.samples import BLUE, bound, vmi
from tests.binding.vhost_user import Backend
from virtnet.lab.image import BUSYBOX, debian_kernel
from virtnet.lab.initramfs import InitramfsEntry, archive

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not shutil.which("virt-qemu-run"),
        reason="virt-qemu-run is of libvirt-daemon-driver-qemu, which is not installed",
    ),
]

MEMORY = 128 * 1024 * 1024
INIT = b"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys
for module in /modules/*; do insmod "$module"; done
exec </dev/console >/dev/console 2>&1
ip address add 10.0.0.2/24 dev eth0
ip link set eth0 up
echo "guest: $(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth0/mtu)"
while :; do ping -c 1 -W 1 10.0.0.1; done
"""
DOMAIN = """<domain type="qemu" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
	<name>demo_db</name>
	<memory unit="b">{memory}</memory>
	<os>
		<type arch="x86_64" machine="q35">hvm</type>
		<kernel>{state}/kernel</kernel>
		<initrd>{state}/initrd</initrd>
		<cmdline>console=ttyS0 quiet panic=-1 maxcpus=1</cmdline>
	</os>
	<features><acpi></acpi></features>
	<cpu mode="maximum"></cpu>
	<vcpu placement="static">2</vcpu>
	<devices>
		<emulator>/usr/bin/qemu-system-x86_64</emulator>
		<serial type="file"><source path="{state}/console"></source><target port="0"></target></serial>
		<memballoon model="none"></memballoon>
	</devices>
</domain>
"""
START = """
mount -t tmpfs run /run && mkdir /run/kubevirt && mount --bind "$1" /run/kubevirt && cd "$2" &&
exec setpriv --reuid nobody --regid nogroup --clear-groups --pdeathsig KILL env HOME="$2" XDG_RUNTIME_DIR="$2" \
    virt-qemu-run --root "$2/root" "$2/domain.xml"
"""


class Launcher:
    """A launcher pod's compute container."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.public = state / "kubelet/pods/5a8b5c4e-7c1f-4d3a-9c53-0123456789ab/volumes/kubernetes.io~empty-dir/public"
        """The emptyDir where QEMU makes its sockets, as the node sees it."""
        self.public.mkdir(parents=True)
        (state / "short").symlink_to(self.public)
        kernel = debian_kernel()
        shutil.copy(kernel.image, state / "kernel")
        (state / "initrd").write_bytes(archive(_entries(kernel.modules(("virtio_pci", "virtio_net")))))
        (state / "console").touch()
        (state / "root/etc").mkdir(parents=True)
        (state / "root/etc/qemu.conf").write_text('stdio_handler = "file"\n')  # there is no virtlogd, either
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, domain: bytes) -> None:
        (self.state / "domain.xml").write_bytes(domain)
        subprocess.run(["chown", "-R", "nobody:nogroup", str(self.state)], check=True)
        # QEMU outlives libvirt, but not the first process of its PID namespace.
        alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--mount-proc"]
        with (self.state / "log").open("wb") as log:
            words = [*alone, "sh", "-c", START, "sh", str(self.public), str(self.state)]
            self._process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    @property
    def ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def console(self) -> str:
        return (self.state / "console").read_text(errors="replace")

    def log(self) -> str:
        return (self.state / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Returns when all of the namespace's processes have ended."""
        if self._process and not self.ended:
            number = self._process.pid
            for first in Path(f"/proc/{number}/task/{number}/children").read_text().split():
                os.kill(int(first), signal.SIGKILL)
            self._process.wait()


def _entries(modules: dict[str, bytes]) -> Iterator[InitramfsEntry]:
    for directory in ("bin", "dev", "modules", "proc", "sys"):
        yield InitramfsEntry.directory(directory)
    yield InitramfsEntry.character_device("dev/console", 5, 1)
    yield InitramfsEntry.file("bin/busybox", Path(BUSYBOX).read_bytes(), executable=True)
    yield InitramfsEntry.file("init", INIT, executable=True)
    for number, (name, content) in enumerate(modules.items()):
        yield InitramfsEntry.file(f"modules/{number:02}-{name}.ko", content)


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    state = Path(tempfile.mkdtemp(prefix="vn"))  # short: libvirt makes sockets below it
    made = Launcher(state)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(state, ignore_errors=True)


async def test_a_guest_sends_by_the_nic_that_the_sidecar_has_made(pod: Pod, launcher: Launcher) -> None:
    pod.start("--vectors", "0")  # QEMU 7.2, which Debian 12 has, crashes with others where there is no KVM
    domain = DOMAIN.format(memory=MEMORY, state=launcher.state).encode()
    rewritten = await (await pod.sidecar()).on_define_domain(domain, vmi(bound(), networkInterfaceMultiqueue=True))
    launcher.start(rewritten)

    made = launcher.public / Path(BLUE.socket).name
    async with asyncio.timeout(60):
        while not made.is_socket():
            assert not launcher.ended, launcher.log()
            await asyncio.sleep(0.05)
    assert len(os.fsencode(made)) > 108
    backend = Backend(launcher.state / "short" / made.name)
    try:
        mac = bytes.fromhex(BLUE.mac.replace(":", ""))
        backend.serve_until("the guest's frames are seen", lambda: any(one[6:12] == mac for one in backend.frames()))
        backend.serve_until("the guest has its NIC", lambda: "guest: " in launcher.console())
    finally:
        backend.close()
    assert f"guest: {BLUE.mac} {BLUE.mtu}" in launcher.console()
    assert backend.mtu == BLUE.mtu
    assert {one.file_size for one in backend.regions} == {MEMORY}
    launcher.stop()
    with pytest.raises(ConnectionRefusedError):
        Backend(launcher.state / "short" / made.name)
