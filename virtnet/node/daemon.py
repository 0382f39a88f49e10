"""The node daemon: serves the CNI plugin, follows its NodeNetwork, recovers after crashes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import structlog

from virtnet.api.names import CNI_TYPE as PLUGIN
from virtnet.api.nic_kinds import SRIOV, SWITCHDEV, VETH, VHOSTUSER
from virtnet.health import serving
from virtnet.kube.client import Cluster
from virtnet.node.allocations import POD_RESOURCES, Allocations
from virtnet.node.attach import Attacher, Parts
from virtnet.node.devices.reading import SYSFS
from virtnet.node.devices.switch import FastSwitch
from virtnet.node.devices.tree import Tree
from virtnet.node.devices.watch import Devices
from virtnet.node.egress import Egress
from virtnet.node.guest_addresses import GuestAddresses
from virtnet.node.guest_rings import GuestRings
from virtnet.node.handoff.announcements import Announcer
from virtnet.node.handoff.assignments import Assignments
from virtnet.node.handoff.flow_hold import FlowHold
from virtnet.node.handoff.gates import Gates
from virtnet.node.handoff.keys import HandoffKeys
from virtnet.node.handoff.node_handoffs import NodeHandoffs
from virtnet.node.handoff.ways_out import WaysOut
from virtnet.node.journal import Journal
from virtnet.node.nic_policies import of_node
from virtnet.node.nic_policies.records import NicRecords
from virtnet.node.nics import Drivers
from virtnet.node.nics.sriov import Sriov
from virtnet.node.nics.switchdev import Switchdev
from virtnet.node.nics.veth import Veth
from virtnet.node.nics.vhostuser import VhostUser
from virtnet.node.openflow import socket_of
from virtnet.node.orphans import Orphans
from virtnet.node.pods import ClusterPods, Pods
from virtnet.node.providers.fallback import fall_back
from virtnet.node.providers.guard import guarded
from virtnet.node.providers.ingress import IngressFilters
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.reconciler import ProviderNetworkReconciler
from virtnet.node.providers.records import Records
from virtnet.node.providers.watch import Watch
from virtnet.node.publish import OwnNodeNetwork
from virtnet.node.readiness import NodeReadiness
from virtnet.node.record_store import when_free
from virtnet.node.recovery import Repair, recover
from virtnet.node.reservations import Reservations
from virtnet.node.router_messages import RouterMessages
from virtnet.node.server import CniServer, registry
from virtnet.node.switch import SwitchPorts
from virtnet.node.tunnel import TunnelAddress
from virtnet.node.underlays import Underlays
from virtnet.node.virtual_functions.physical import PhysicalFunctions
from virtnet.ovn.errors import OvnUnavailable
from virtnet.ovn.provider_bridges import ProviderBridges
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()


@dataclass(frozen=True)
class NodeSettings:
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
    metrics_address: str = ""
    """Empty: all."""
    metrics_port: int = 9404
    """For probes, too; 0: none."""
    here: str = "/proc/self/ns/net"
    """The node's network namespace, as a path."""
    kubelet_dir: Path = Path("/var/lib/kubelet")
    """Where kubelet has the volumes of pods (its ``--root-dir``)."""

    @property
    def vhost_user_sockets(self) -> Path:
        """The ways to the sockets of vhost-user NICs. A boot takes them along with the NICs."""
        return self.socket.parent / "vhost"

    @property
    def provider_networks(self) -> Path:
        """The journal of plugged-in NICs."""
        return self.state_dir / "provider-networks"

    @property
    def nic_policies(self) -> Path:
        """The journal of NICs that NicPolicies have changed."""
        return self.state_dir / "nic-policies"

    @property
    def switch_sockets(self) -> Path | None:
        """Where Open vSwitch has its sockets, if it is on this machine."""
        return Path(self.ovsdb.removeprefix("unix:")).parent if self.ovsdb.startswith("unix:") else None


@dataclass(frozen=True)
class Seam:
    """Where tests put something of theirs in the place of ours."""

    journal: Callable[[Path], Journal] = Journal
    parts: Callable[[Parts], Parts] = lambda parts: parts


async def run(settings: NodeSettings, seam: Seam = Seam()) -> None:
    """Serve until cancelled. What is attached stays: the data path needs nobody.

    Raises StoreInUse, and Unavailable where there is no configuration of an API server.
    """
    readiness = NodeReadiness(settings.socket, settings.ovn_run_dir)
    async with serving(settings.metrics_address, settings.metrics_port, registry, readiness.obstacles):
        await _run(settings, seam, readiness)


async def _run(settings: NodeSettings, seam: Seam, readiness: NodeReadiness) -> None:
    journal = await when_free(lambda: seam.journal(settings.state_dir / "attachments"))
    records, ingress = await when_free(lambda: Records(settings.provider_networks)), IngressFilters(settings.here)
    nics = await when_free(lambda: NicRecords(settings.nic_policies))
    await fall_back(records, ingress)  # what fails is tried again, and told of
    vswitch = readiness.vswitch = await _vswitch(settings)
    plugging = Plugging(ProviderBridges(vswitch.database, settings.bridge), records, ingress, settings.switch_sockets)
    try:
        async with await Cluster.connect(agent="virtnet-node") as cluster:
            readiness.cluster = cluster
            gates = Gates(settings.here, HandoffKeys.kept_in(settings.state_dir), lambda: geneve_address(vswitch))
            pods = ClusterPods(cluster)
            parts = seam.parts(_parts(settings, vswitch, journal, pods, gates))
            await _serve(
                settings, cluster, vswitch, parts, gates=gates, plugging=plugging, nics=nics, readiness=readiness
            )
    finally:
        await vswitch.close()
        journal.close()
        records.close()
        nics.close()


async def _serve(
    settings: NodeSettings,
    cluster: Cluster,
    vswitch: VSwitch,
    parts: Parts,
    *,
    gates: Gates,
    plugging: Plugging,
    nics: NicRecords,
    readiness: NodeReadiness,
) -> None:
    attacher, journal = Attacher(parts), parts.journal
    await recover(attacher, parts)
    guard = (settings.provider_networks, settings.ovsdb, settings.bridge, settings.here)
    async with asyncio.TaskGroup() as group:
        group.create_task(CniServer(attacher, settings.socket, readiness).run(), name="server")
        group.create_task(readiness.run(), name="readiness")
        tunnel = TunnelAddress(cluster, settings.node, vswitch, settings.here)
        group.create_task(tunnel.run(), name="tunnel")
        guest_addresses = GuestAddresses(settings.here, journal, attacher.hook)
        group.create_task(guest_addresses.run(), name="guests' addresses")
        group.create_task(GuestRings(vswitch).run(), name="guests' rings")
        devices, switch = Devices(settings.here), FastSwitch(vswitch, settings.switch_sockets)
        group.create_task(devices.run(), name="devices")
        networks = ProviderNetworkReconciler(plugging, lambda: guarded(*guard))
        group.create_task(Watch(networks).run(), name="provider networks")
        ways_out = WaysOut(settings.here, vswitch, settings.switch_sockets, attacher.uplink)
        policies = of_node.reconciler(
            settings.here,
            nics,
            devices,
            journal,
            Allocations(settings.kubelet_dir / POD_RESOURCES),
            bridges=plugging.bridges,
            tunnel=tunnel,
            dpdk=switch.dpdk,
            server=cluster.server,
        )
        group.create_task(policies.run(), name="NIC policies")
        own = OwnNodeNetwork(
            cluster,
            settings.node,
            attacher,
            vswitch,
            assignments=parts.assignments,
            handoffs=NodeHandoffs(attacher, gates, Announcer(journal, ways_out)),
            tunnel=tunnel,
            router_messages=parts.router_messages,
            underlays=parts.underlays,
            guest_addresses=guest_addresses,
            devices=devices,
            dpdk=switch.dpdk,
            policies=policies,
            networks=networks,
            ovn_run_dir=settings.ovn_run_dir,
        )
        group.create_task(parts.underlays.run(), name="conflicts")
        group.create_task(parts.router_messages.run(), name="router messages")
        group.create_task(own.run(), name="NodeNetwork")
        group.create_task(Repair(attacher, parts, vswitch).run(), name="repair")
        if settings.switch_sockets is not None:
            group.create_task(Egress(vswitch, journal, settings.switch_sockets).run(), name="egress")
        if settings.cni_bin_dir is not None:
            install_plugin(settings.cni_bin_dir, settings.socket)
        log.info("serving", socket=str(settings.socket), attached=len(journal))


def drivers_of(settings: NodeSettings, vswitch: VSwitch, gates: Gates) -> Drivers:
    """The driver of each kind in SERVED_NICS."""
    physical_functions = PhysicalFunctions(settings.here, Tree(SYSFS))
    switch = FastSwitch(vswitch, settings.switch_sockets)
    return Drivers(
        {
            VETH: Veth(
                settings.here,
                lambda: vswitch.datapath == "netdev",
                gates,
                lambda: next(iter(vswitch.encap_ips), ""),
            ),
            SRIOV: Sriov(physical_functions),
            SWITCHDEV: Switchdev(physical_functions),
            VHOSTUSER: VhostUser(
                switch.dpdk, switch.process, settings.vhost_user_sockets, settings.kubelet_dir / "pods"
            ),
        }
    )


def _parts(settings: NodeSettings, vswitch: VSwitch, journal: Journal, pods: Pods, gates: Gates) -> Parts:
    """What the attacher works with."""
    here, assignments = settings.here, Assignments()
    sockets = settings.switch_sockets
    drivers = drivers_of(settings, vswitch, gates)
    ports = SwitchPorts(vswitch, drivers)
    bridge = socket_of(sockets, vswitch.bridge) if sockets else None
    return Parts(
        journal=journal,
        pods=pods,
        ports=ports,
        drivers=drivers,
        orphans=Orphans(ports, drivers),
        underlays=Underlays(here, vswitch),
        assignments=assignments,
        reservations=Reservations(journal, pods, drivers, Allocations(settings.kubelet_dir / POD_RESOURCES)),
        flow_hold=FlowHold(assignments, bridge),
        router_messages=RouterMessages(vswitch, journal, drivers, bridge),
        patience=settings.patience,
    )


def geneve_address(vswitch: VSwitch) -> str:
    """The address of this node's tunnels; empty where there are none of Geneve."""
    geneve = "geneve" in vswitch.external_ids.get("ovn-encap-type", "").split(",")
    return next(iter(vswitch.encap_ips), "") if geneve else ""


async def _vswitch(settings: NodeSettings) -> VSwitch:
    """The switch, as soon as there is one: at boot the daemon may be the first."""
    while True:
        try:
            return await VSwitch.connect(settings.ovsdb, settings.bridge)
        except OvnUnavailable as error:
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
