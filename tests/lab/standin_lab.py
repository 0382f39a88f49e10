"""Two nodes without any network of virtnet's: namespaces with a bridge, a CNI plugin of a few lines, and the stand-in."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from virtnet.api.vhostuser import LAUNCHER_SOCKETS
from virtnet.lab import netns
from virtnet.lab.daemon import Daemon
from virtnet.lab.image import guest_image
from virtnet.lab.names import LabNames

PLUGIN = """#!/usr/bin/python3 -IS
import json, os, subprocess, sys, hashlib
env, config = os.environ, json.load(sys.stdin)
command, netns, interface = env["CNI_COMMAND"], env["CNI_NETNS"].rsplit("/", 1)[1], env["CNI_IFNAME"]
host = "v" + hashlib.sha256((env["CNI_CONTAINERID"] + interface).encode()).hexdigest()[:10]
with open(config["log"], "a") as log:
    print(command, env["CNI_CONTAINERID"], interface, file=log)
def ip(*arguments, check=True):
    subprocess.run(["ip", *arguments], check=check, stderr=subprocess.DEVNULL)
if os.path.exists(config["log"] + ".fail") and command == "ADD":
    os.unlink(config["log"] + ".fail")
    print(json.dumps({"code": 11, "msg": "not now"}))
    sys.exit(1)
if command == "ADD":
    ip("link", "add", host, "type", "veth", "peer", "name", interface, "netns", netns)
    ip("link", "set", host, "master", "br0", "up")
    ip("-n", netns, "link", "set", interface, "up")
    mac = "02:00:00:00:00:09"
    print(json.dumps({"cniVersion": "1.1.0", "interfaces": [{"name": host}, {"name": interface, "mac": mac, "sandbox": env["CNI_NETNS"]}],
                      "ips": [{"address": "10.10.0.5/24", "interface": 1}]}))
else:
    ip("link", "delete", host, check=False)
"""


class StandinLab:
    """A state directory, two nodes and one process."""

    def __init__(self, name: str, state: Path, kubeconfig: Path) -> None:
        self.names = LabNames(name)
        self.state = state
        self.plugin_log = state / "cni.log"
        self.nodes = [f"{self.names.prefix}node{number}" for number in (1, 2)]
        (state / "bin").mkdir()
        plugin = state / "bin" / "test-cni"
        plugin.write_text(PLUGIN)
        plugin.chmod(0o755)
        image = guest_image()
        record = {
            "name": name,
            "nodes": {
                f"node{number}": {
                    "number": number,
                    "netns": node,
                    "cni_bin": str(state / "bin"),
                    "kubelet": str(state / f"kubelet{number}"),
                    "chassis": f"chassis-node{number}",
                }
                for number, node in enumerate(self.nodes, start=1)
            },
            "kubeconfigs": {"admin": str(kubeconfig)},
            "image": {"kernel": str(image.kernel), "initrd": str(image.initrd)},
        }
        (state / "lab.json").write_text(json.dumps(record))
        command = (sys.executable, "-m", "virtnet.lab.standin", "--lab", name, "--state", str(state))
        self.process = Daemon("standin", command, state)

    @property
    def nad_config(self) -> str:
        return json.dumps({"cniVersion": "1.1.0", "type": "test-cni", "log": str(self.plugin_log)})

    def up(self) -> None:
        for node in self.nodes:
            subprocess.run(["ip", "netns", "add", node], check=True)
            subprocess.run(["ip", "-n", node, "link", "add", "br0", "type", "bridge"], check=True)
            subprocess.run(["ip", "-n", node, "link", "set", "br0", "up"], check=True)
        self.process.start()

    def down(self) -> None:
        self.process.kill()
        netns.kill_all(self.names.existing_namespaces())
        for namespace in self.names.existing_namespaces():
            subprocess.run(["ip", "netns", "delete", namespace], check=False)
        with suppress(OSError):  # no guest had its own there
            Path(LAUNCHER_SOCKETS).rmdir()

    def plugin_calls(self) -> list[list[str]]:
        return [line.split() for line in self.plugin_log.read_text().splitlines()]


@contextmanager
def standin_lab(name: str, kubeconfig: Path) -> Iterator[StandinLab]:
    """Its state is in a short path: sockets cannot be in a long one."""
    state = Path(tempfile.mkdtemp(prefix=f"{name}-", dir="/tmp"))
    lab = StandinLab(name, state, kubeconfig)
    try:
        lab.up()
        yield lab
    finally:
        lab.down()
        shutil.rmtree(state)
