"""The node daemon: serves the CNI plugin, follows its NodeNetwork, tidies up after crashes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from virtnet.api.names import CNI_TYPE as PLUGIN
from virtnet.kube.client import Cluster
from virtnet.node.announce import Announcer
from virtnet.node.asked import Asked
from virtnet.node.attach import Attacher, Parts
from virtnet.node.egress import Egress
from virtnet.node.folder import when_free
from virtnet.node.gates import Gates
from virtnet.node.journal import Journal
from virtnet.node.leftovers import Leftovers
from virtnet.node.nics.veth import Veth
from virtnet.node.onward import Onward
from virtnet.node.openflow import socket_of
from virtnet.node.pods import ClusterPods, Pods
from virtnet.node.providers.guard import guarded
from virtnet.node.providers.hearing import Hearing
from virtnet.node.providers.networks import ProviderNetworks
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.records import Records
from virtnet.node.providers.rescue import rescue
from virtnet.node.providers.watch import Watch
from virtnet.node.publish import OwnNodeNetwork
from virtnet.node.server import Server, registry
from virtnet.node.switch import SwitchPort
from virtnet.node.tidy import Repair, tidy
from virtnet.node.tunnel import Tunnel
from virtnet.node.underlays import Underlays
from virtnet.ovn.errors import Unavailable
from virtnet.ovn.provider_bridges import ProviderBridges
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()


@dataclass(frozen=True)
class Settings:
    """Flags of ``virtnet node``."""

    node: str
    socket: Path = Path("/run/virtnet/cni.sock")
    state_dir: Path = Path("/var/lib/virtnet")
    ovsdb: str = "unix:/run/openvswitch/db.sock"
    ovn_run_dir: Path = Path("/run/ovn")
    """Where ovn-controller has its control socket."""
    bridge: str = "br-int"
    cni_bin_dir: Path | None = None
    """Where to install the plugin; None: somebody else does."""
    patience: float = 30.0
    """Seconds that ADD waits for the controller, and for OVN."""
    metrics_port: int = 9404
    """0: none."""
    here: str = "/proc/self/ns/net"
    """The node's network namespace, as a path."""

    @property
    def provider_networks(self) -> Path:
        """The journal of plugged-in NICs."""
        return self.state_dir / "provider-networks"

    @property
    def switch_sockets(self) -> Path | None:
        """Where Open vSwitch has its sockets, if it is on this machine."""
        return Path(self.ovsdb.removeprefix("unix:")).parent if self.ovsdb.startswith("unix:") else None


@dataclass(frozen=True)
class Seam:
    """Where tests put something of theirs in the place of ours."""

    journal: Callable[[Path], Journal] = Journal
    parts: Callable[[Parts], Parts] = lambda parts: parts


async def run(settings: Settings, seam: Seam = Seam()) -> None:
    """Serve until cancelled. What is attached stays: the data path needs nobody.

    Raises JournalInUse, and Unavailable where there is no configuration of an API server.
    """
    journal = await when_free(lambda: seam.journal(settings.state_dir / "attachments"))
    records, hearing = await when_free(lambda: Records(settings.provider_networks)), Hearing(settings.here)
    _serve_metrics(settings.metrics_port)
    await rescue(records, hearing)  # what fails is tried again, and told of
    vswitch = await _vswitch(settings)
    plugging = Plugging(ProviderBridges(vswitch.database, settings.bridge), records, hearing, settings.switch_sockets)
    try:
        async with await Cluster.connect(agent="virtnet-node") as cluster:
            gates = Gates(settings.here)
            pods = ClusterPods(cluster)
            parts = seam.parts(_parts(settings, vswitch, journal, pods, gates))
            await _serve(settings, cluster, vswitch, parts, gates=gates, plugging=plugging)
    finally:
        await vswitch.close()
        journal.close()
        records.close()


async def _serve(
    settings: Settings, cluster: Cluster, vswitch: VSwitch, parts: Parts, *, gates: Gates, plugging: Plugging
) -> None:
    attacher, journal = Attacher(parts), parts.journal
    await tidy(attacher, parts)
    guard = (settings.provider_networks, settings.ovsdb, settings.bridge, settings.here)
    async with asyncio.TaskGroup() as group:
        group.create_task(Server(attacher, settings.socket).run(), name="server")
        tunnel = Tunnel(cluster, settings.node, vswitch, settings.here)
        group.create_task(tunnel.run(), name="tunnel")
        announcer = Announcer(journal, vswitch, settings.switch_sockets)
        networks = ProviderNetworks(plugging, lambda: guarded(*guard))
        group.create_task(Watch(networks).run(), name="provider networks")
        own = OwnNodeNetwork(
            cluster,
            settings.node,
            attacher,
            vswitch,
            asked=parts.asked,
            gates=gates,
            tunnel=tunnel,
            announcer=announcer,
            underlays=parts.underlays,
            networks=networks,
            ovn_run_dir=settings.ovn_run_dir,
        )
        group.create_task(parts.underlays.run(), name="conflicts")
        group.create_task(own.run(), name="NodeNetwork")
        group.create_task(Repair(attacher, parts, vswitch).run(), name="repair")
        if settings.switch_sockets is not None:
            group.create_task(Egress(vswitch, journal, settings.switch_sockets).run(), name="egress")
        if settings.cni_bin_dir is not None:
            install_plugin(settings.cni_bin_dir, settings.socket)
        log.info("serving", socket=str(settings.socket), attached=len(journal))


def _parts(settings: Settings, vswitch: VSwitch, journal: Journal, pods: Pods, gates: Gates) -> Parts:
    """What the attacher works with."""
    port, here, asked = SwitchPort(vswitch), settings.here, Asked()
    sockets = settings.switch_sockets
    return Parts(
        journal=journal,
        pods=pods,
        port=port,
        drivers={
            "veth": Veth(here, lambda: vswitch.datapath == "netdev", gates, lambda: next(iter(vswitch.encap_ips), ""))
        },
        leftovers=Leftovers(port, here),
        underlays=Underlays(here, vswitch),
        asked=asked,
        onward=Onward(asked, socket_of(sockets, vswitch.bridge) if sockets else None),
        patience=settings.patience,
    )


def _serve_metrics(port: int) -> None:
    """The port is the node's: somebody else may have it, and no pod must wait for that."""
    try:
        if port:
            start_http_server(port, registry=registry)
    except OSError as error:
        log.warning("no metrics; choose another --metrics-port", port=port, error=str(error))


async def _vswitch(settings: Settings) -> VSwitch:
    """The switch, as soon as there is one: at boot the daemon may be the first."""
    while True:
        try:
            return await VSwitch.connect(settings.ovsdb, settings.bridge)
        except Unavailable as error:
            log.warning("waiting for Open vSwitch", error=str(error))
            await asyncio.sleep(1)


def install_plugin(directory: Path, socket: Path) -> None:
    """Put the CNI plugin where the runtime looks, and beside it the file that says where we listen."""
    directory.mkdir(parents=True, exist_ok=True)
    source = resources.files("virtnet.cni") / "plugin.py"
    _put(directory / f"{PLUGIN}.socket", f"{socket}\n".encode(), 0o644)
    _put(directory / PLUGIN, source.read_bytes(), 0o755)


def _put(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all: a runtime may start it at any time."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    fresh.chmod(mode)
    fresh.rename(path)
