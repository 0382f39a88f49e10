"""The lab's physical network: a VLAN-aware learning switch, a NIC of every node on it, and a machine outside.

The switch is an Open vSwitch of its own: this is the one that learns MAC addresses per VLAN where the kernel has no
VLANs. It learns as soon as hardware does because it forgets its flows at once: from frames of a flow that it knows, it
learns only twice a second. Nodes are on trunk ports; the machine outside, which is also the router, has an access port
in each network.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from virtnet.lab import netns
from virtnet.lab.daemon import AHEAD, Daemon
from virtnet.lab.databases import QUIET, SWITCH_SCHEMA, accepts, database, wait
from virtnet.lab.names import LabNames, NodeNames

BRIDGE = "learning"
VLAN = 100

FORGOTTEN_MS = 5
"""How long flows of the switch are kept without a frame."""

UNTAGGED_PORT, VLAN_PORT = 901, 902
OUTSIDE = {UNTAGGED_PORT: "untagged", VLAN_PORT: f"vlan{VLAN}"}
"""OpenFlow ports of the machine outside, with its interfaces. Those of nodes have the nodes' numbers."""

UNTAGGED_ADDRESSES = ("172.31.2.1/24", "fd31:2::1/64")
VLAN_ADDRESSES = ("172.31.100.1/24", "fd31:100::1/64")


@dataclass(frozen=True)
class Learned:
    """Where the switch has seen a MAC address last."""

    port: str
    """A node's name, or ``untagged`` or ``vlan100`` for the machine outside."""
    vlan: int
    mac: str


@dataclass(frozen=True)
class Physical:
    """Starting it takes steps in order: ``wire`` and ``plug`` for each node, then ``start``."""

    names: LabNames

    @property
    def outside(self) -> str:
        """The network namespace of the machine that is outside of the cluster: peer and router."""
        return self.names.outside

    @cached_property
    def daemons(self) -> dict[str, Daemon]:
        """By their names, in the order in which they start."""
        return {daemon.name: daemon for daemon in (self._database, self._switch)}

    def wire(self) -> None:
        """The machine outside, with a cable and addresses in either network; it forwards between them."""
        netns.create(self.outside)
        addresses = {"untagged": UNTAGGED_ADDRESSES, OUTSIDE[VLAN_PORT]: VLAN_ADDRESSES}
        for link in OUTSIDE.values():
            netns.cable(self.names.central, link, self.outside, link)
            netns.ip(self.outside, *(f"address add {address} dev {link} nodad" for address in addresses[link]))
        forward = "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding"
        netns.run("sh", "-c", forward, netns=self.outside)

    def plug(self, node: NodeNames) -> None:
        """The node's NIC, with addresses of the untagged network, as its operating system would configure it."""
        netns.cable(self.names.central, _port(node), node.netns, node.physical_nic)
        netns.ip(
            node.netns,
            *(f"address add {address} dev {node.physical_nic} nodad" for address in node.physical_addresses),
        )

    def start(self, nodes: list[NodeNames]) -> None:
        """Raises DaemonError."""
        self.names.physical_state.mkdir(parents=True, exist_ok=True)
        self._database.start()
        wait(self._database, lambda: accepts(self._socket), "the database answers")
        self._vsctl("--no-wait", "init")
        self._switch.start()
        ports = [
            *((_port(node), f"ofport_request={node.number}", "") for node in nodes),
            (OUTSIDE[UNTAGGED_PORT], f"ofport_request={UNTAGGED_PORT}", ""),
            (OUTSIDE[VLAN_PORT], f"ofport_request={VLAN_PORT}", f"tag={VLAN}"),
        ]
        words = ["set", "Open_vSwitch", ".", f"other_config:max-idle={FORGOTTEN_MS}", "--"]
        words += ["add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, "datapath_type=netdev"]
        for name, number, tag in ports:
            words += ["--", "add-port", BRIDGE, name, *([tag] if tag else []), "--", "set", "Interface", name, number]
        self._vsctl(*words)

    def learned(self) -> list[Learned]:
        """The switch's table. Raises NetnsError."""
        said = netns.run("ovs-appctl", "-t", str(self._control), "fdb/show", BRIDGE)
        rows = (line.split() for line in said.splitlines()[1:])
        return [Learned(_owner(port), int(vlan), mac) for port, vlan, mac, _ in rows if port.isdigit()]

    def where(self, mac: str, vlan: int = 0) -> str:
        """The port that the switch sends frames for this MAC address to; empty where it would flood them."""
        return next((row.port for row in self.learned() if (row.mac, row.vlan) == (mac.lower(), vlan)), "")

    @property
    def _socket(self) -> Path:
        return self.names.physical_state / "db.sock"

    @property
    def _control(self) -> str:
        return str(self.names.physical_state / "ovs-vswitchd.ctl")

    @cached_property
    def _database(self) -> Daemon:
        return database(
            "ovsdb-server",
            self.names.physical_state,
            schema=SWITCH_SCHEMA,
            unix=self._socket,
            prefix=netns.prefix(self.names.central),
        )

    @cached_property
    def _switch(self) -> Daemon:
        state = str(self.names.physical_state)
        command = [*AHEAD, "ovs-vswitchd", *QUIET, f"--unixctl={self._control}", f"unix:{self._socket}"]
        return Daemon(
            "ovs-vswitchd",
            [*netns.prefix(self.names.central), *command],
            self.names.physical_state,
            {"OVS_RUNDIR": state},
        )

    def _vsctl(self, *words: str) -> None:
        netns.run("ovs-vsctl", "--timeout=30", f"--db=unix:{self._socket}", *words)


def _port(node: NodeNames) -> str:
    return f"x-{node.name}"


def _owner(port: str) -> str:
    return OUTSIDE.get(int(port), f"node{port}")
