"""A node whose switch has DPDK, and a guest on vhost-user: QEMU as in a launcher pod, by another path and no root."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.attach.rig import Node, eventually, listens
from virtnet.api.vhostuser import LAUNCHER_SOCKETS, LAUNCHER_VOLUME, socket_name
from virtnet.lab.daemon import Daemon
from virtnet.lab.dpdk import PAGES, VSWITCHD, settings
from virtnet.lab.hugepages import NoHugePages, huge_pages
from virtnet.lab.image import BUSYBOX, debian_kernel
from virtnet.lab.initramfs import InitramfsEntry, archive
from virtnet.lab.netns import plain_prefix
from virtnet.lab.standin.qmp import Qmp

QEMU_USER = 107
"""KubeVirt's."""
MOUNTED = "/mnt"
"""Where an application has the volume of its sockets."""
THREADS = {"n-handler-threads": "1", "n-revalidator-threads": "1"}
INIT = """#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys
for module in /modules/*; do insmod "$module"; done
exec </dev/console >/dev/console 2>&1
ip address add 10.0.0.5/24 dev eth0
ip link set eth0 up
echo "guest: $(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth0/mtu)"
while :; do sleep 60; done
"""
START = """
mount -t tmpfs run /run && mkdir /run/kubevirt /run/guest && mount --bind "$1" /run/kubevirt &&
mount --bind "$2" /run/guest && shift 2 &&
exec setpriv --reuid 107 --regid 107 --clear-groups --pdeathsig KILL "$@"
"""


class DpdkNode(Node):
    """A node whose switch has DPDK."""

    @classmethod
    @contextmanager
    def with_pages(cls, state: Path) -> Iterator["DpdkNode"]:
        """One that runs; skips where the machine cannot have it."""
        if not Path(VSWITCHD).exists():
            pytest.skip("Open vSwitch with DPDK is of openvswitch-switch-dpdk, which is not installed")
        try:
            with huge_pages(PAGES), cls.running(state) as node:
                assert isinstance(node, DpdkNode)
                yield node
        except NoHugePages as problem:
            pytest.skip(f"a switch with DPDK needs huge pages: {problem}")

    @property
    def vswitchd(self) -> tuple[str, ...]:
        return (
            *plain_prefix(self.name),
            VSWITCHD,
            self.ovsdb,
            "--disable-system",
            "-vconsole:warn",
            "-vconsole:dpdk:info",
            "-vconsole:netdev_dpdk:info",
        )

    def settings(self) -> dict[str, str]:
        return {**settings(self.name, 0), **THREADS}

    def start_vswitchd(self) -> None:
        self.configure(self.settings())
        super().start_vswitchd()
        eventually(partial(listens, self.state / "br-int.mgmt"), "the switch has its bridge")

    def clean(self) -> None:
        """No guest either: another's would not be started beside it."""
        guest = self.daemons.pop("guest", None)
        if guest is not None:
            guest.stop()
        super().clean()

    def configure(self, wanted: Mapping[str, str]) -> None:
        self.vsctl(
            "set", "Open_vSwitch", ".", *(f"other_config:{key}={json.dumps(text)}" for key, text in wanted.items())
        )

    def launcher(self, **given: Any) -> "Launcher":
        """A pod with such a NIC, and the volume where its QEMU makes sockets."""
        return Launcher(self, self.volume(self.pod(nic="vhostuser", **given), LAUNCHER_VOLUME))

    def volume(self, uid: str, name: str) -> Path:
        """A pod's emptyDir, as kubelet makes it."""
        made = self.state / "kubelet/pods" / uid / "volumes/kubernetes.io~empty-dir" / name
        made.mkdir(parents=True)
        made.chmod(0o777)
        return made


@dataclass
class Launcher:
    """What a test does as the pod."""

    node: DpdkNode
    volume: Path
    """As the node sees it."""

    @property
    def socket(self) -> Path:
        return self.volume / socket_name("pod1")

    @property
    def _state(self) -> Path:
        return self.node.state / f"guest-{self.volume.parts[-4][:8]}"

    def tell(self, command: str) -> None:
        """Have QEMU do something."""

        async def told() -> None:
            qmp = await Qmp.connect(self._state / "qmp")
            await qmp.execute(command)
            await qmp.close()

        asyncio.run(told())

    def start(self, mac: str) -> Daemon:
        """The guest, once it has its NIC."""
        state = self._state
        state.mkdir(exist_ok=True)
        console = state / "console"
        console.unlink(missing_ok=True)
        console.touch()
        kernel = debian_kernel()
        shutil.copy(kernel.image, state / "kernel")
        (state / "initrd").write_bytes(initrd(INIT, "virtio_pci", "virtio_net"))
        for path in (state, *state.iterdir()):
            os.chown(path, QEMU_USER, QEMU_USER)
        daemon = self.node.background(
            "guest",
            *("unshare", "--mount", "sh", "-c", START, "sh", str(self.volume), str(state)),
            *("qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-user-config", "-cpu", "max", "-smp", "1"),
            *("-machine", "q35,memory-backend=memory", "-m", "128M"),
            *("-object", "memory-backend-memfd,id=memory,size=128M,share=on"),
            *("-kernel", "/run/guest/kernel", "-initrd", "/run/guest/initrd"),
            *("-append", "console=ttyS0 quiet panic=-1", "-serial", "file:/run/guest/console"),
            *("-qmp", "unix:/run/guest/qmp,server=on,wait=off"),
            *("-chardev", f"socket,id=net,path={LAUNCHER_SOCKETS}/{self.socket.name},server=on,wait=off"),
            *("-netdev", "vhost-user,id=net,chardev=net"),
            *("-device", f"virtio-net-pci,netdev=net,mac={mac},romfile=,host_mtu=1400,vectors=0"),
        )
        eventually(lambda: f"guest: {mac} 1400" in console.read_text(errors="replace"), "the guest has its NIC")
        return daemon


class Application(DpdkNode):
    """An application of DPDK's in a pod, and the pod's namespace: a switch whose one port is a NIC by virtio-user."""

    @classmethod
    @contextmanager
    def with_volume(cls, state: Path, volume: Path) -> Iterator["Application"]:
        """One that runs, and has the volume at MOUNTED."""
        (state / "volume").symlink_to(volume)
        with huge_pages(PAGES), cls.running(state) as application:
            yield application

    @property
    def vswitchd(self) -> tuple[str, ...]:
        return (
            *(
                "unshare",
                "--mount",
                "sh",
                "-c",
                f'mount --bind "$0" {MOUNTED} && exec "$@"',
                str(self.state / "volume"),
            ),
            *super().vswitchd,
        )

    def settings(self) -> dict[str, str]:
        mine = settings(self.name, 1)
        return {**mine, **THREADS, "dpdk-extra": f"{mine['dpdk-extra']} --single-file-segments"}

    def serve(self, name: str, mac: str) -> None:
        """Make the NIC's socket, and be in it once somebody has connected."""
        device = f"net_virtio_user0,path={MOUNTED}/{name},server=1,queues=1,queue_size=1024,mac={mac}"
        self.vsctl(
            *("add-port", "br-int", "nic", "--", "set", "Interface", "nic", "type=dpdk"),
            f"options:dpdk-devargs={json.dumps(device)}",
        )

    def leave(self) -> None:
        self.vsctl("del-port", "nic")


def initrd(init: str, *modules: str) -> bytes:
    return archive(_entries(init, debian_kernel().modules(modules)))


def _entries(init: str, modules: dict[str, bytes]) -> Iterator[InitramfsEntry]:
    for directory in ("bin", "dev", "modules", "proc", "sys"):
        yield InitramfsEntry.directory(directory)
    yield InitramfsEntry.character_device("dev/console", 5, 1)
    yield InitramfsEntry.file("bin/busybox", Path(BUSYBOX).read_bytes(), executable=True)
    yield InitramfsEntry.file("init", init.encode(), executable=True)
    for number, (name, content) in enumerate(modules.items()):
        yield InitramfsEntry.file(f"modules/{number:02}-{name}.ko", content)


def answers(netns: str, address: str) -> bool:
    """Whether an address answers, asked from a pod."""
    words = ("ip", "netns", "exec", Path(netns).name, "ping", "-c", "1", "-W", "1", address)
    return subprocess.run(words, capture_output=True, check=False).returncode == 0
