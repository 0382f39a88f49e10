"""The node daemon: serves the CNI plugin, follows its NodeNetwork, tidies up after crashes."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import start_http_server
from pyroute2 import IPRoute

from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.node import links
from virtnet.node.attach import Attacher
from virtnet.node.handoffs import NodePart
from virtnet.node.journal import Journal
from virtnet.node.netns import exists, inside
from virtnet.node.nics.veth import Veth
from virtnet.node.server import Server, registry
from virtnet.node.switch import SwitchPort
from virtnet.ovn.errors import Unavailable
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

PLUGIN = "virtnet-cni"


@dataclass(frozen=True)
class Settings:
    """Flags of ``virtnet node``."""

    node: str
    socket: Path = Path("/run/virtnet/cni.sock")
    state_dir: Path = Path("/var/lib/virtnet")
    ovsdb: str = "unix:/run/openvswitch/db.sock"
    bridge: str = "br-int"
    cni_bin_dir: Path | None = None
    """Where to install the plugin; None: somebody else does."""
    patience: float = 30.0
    """Seconds that ADD waits for OVN."""
    metrics_port: int = 9404
    """0: none."""


class ClusterPods:
    """Pods from the API server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        return await self._cluster.get(kinds.PODS, name, namespace)


async def run(settings: Settings) -> None:
    """Serve until cancelled. What is attached stays: the data path needs nobody."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=registry)
    here = f"/proc/{os.getpid()}/ns/net"
    vswitch = await _vswitch(settings)
    async with await Cluster.connect(agent="virtnet-node") as cluster:
        port = SwitchPort(vswitch)
        drivers = {"veth": Veth(here, lambda: vswitch.datapath == "netdev")}
        journal = Journal(settings.state_dir / "attachments")
        attacher = Attacher(journal, ClusterPods(cluster), port, drivers, patience=settings.patience)
        await tidy(attacher, port, here)
        async with asyncio.TaskGroup() as group:
            group.create_task(Server(attacher, settings.socket).run(), name="server")
            group.create_task(NodePart(cluster, settings.node, attacher, vswitch).run(), name="node part")
            if settings.cni_bin_dir is not None:
                install_plugin(settings.cni_bin_dir, settings.socket)
            log.info("serving", socket=str(settings.socket), attached=len(journal))


async def _vswitch(settings: Settings) -> VSwitch:
    """The switch, as soon as there is one: at boot the daemon may be the first."""
    while True:
        try:
            return await VSwitch.connect(settings.ovsdb, settings.bridge)
        except Unavailable as error:
            log.warning("waiting for Open vSwitch", error=str(error))
            await asyncio.sleep(1)


async def tidy(attacher: Attacher, port: SwitchPort, here: str) -> None:
    """What a crash or a reboot has left: NICs half attached or without a pod go, lost ports come back.

    A NIC that was being attached goes: the runtime asks again, under the same name or another.
    """
    for entry in attacher.journal:
        if entry.state != "Attached" or not exists(entry.netns):
            log.info("left over", nic=str(entry.id), state=entry.state)
            await attacher.detach(entry.id)
    known = {entry.host_name: entry for entry in attacher.journal}
    await port.tidy(known)

    def strays(netlink: IPRoute) -> None:
        marks = {entry.mark for entry in known.values()}
        for index, mark in links.marked(netlink):
            if mark not in marks:
                log.info("stray link removed", mark=mark)
                links.delete(netlink, index)

    await inside(here, strays)


def install_plugin(directory: Path, socket: Path) -> None:
    """Put the CNI plugin where the runtime looks, and beside it the file that says where we listen."""
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / f".{PLUGIN}.new"
    with resources.as_file(resources.files("virtnet.cni") / "plugin.py") as source:
        shutil.copyfile(source, fresh)
    fresh.chmod(0o755)
    (directory / f"{PLUGIN}.socket").write_text(f"{socket}\n")
    fresh.rename(directory / PLUGIN)
