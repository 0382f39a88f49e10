"""A node of the lab: a network namespace with Open vSwitch, ovn-controller and the node daemon of its own."""

import json
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from virtnet.lab import dpdk, netns
from virtnet.lab.certificates import Authority
from virtnet.lab.daemon import AHEAD, Daemon
from virtnet.lab.databases import QUIET, SWITCH_SCHEMA, accepts, database, wait
from virtnet.lab.names import MANAGEMENT_PREFIX, TUNNEL_PREFIX, NodeNames

MANAGEMENT_BRIDGE = "mgmt"
PHYSICAL_BRIDGE = "phys"
MANAGEMENT_LINK = "mgmt0"
UPLINK = "phys0"

UPLINK_MTU = 1600
"""Room for a packet of 1500 in a tunnel."""

NAMES_OUR_END = (24, 9)
"""From this OVN on each tunnel names our address too, and Open vSwitch takes that from no routes but the kernel's."""


def takes_given_route(said: str) -> bool:
    """Whether tunnels find a route that the switch was given, by what ``ovn-controller --version`` says.

    >>> takes_given_route("ovn-controller 23.03.1"), takes_given_route("ovn-controller 25.03.0")
    (True, False)
    """
    version = re.match(r"ovn-controller (\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) < NAMES_OUR_END


@cache
def gives_route() -> bool:
    """Whether the lab's switches are given their tunnels' route, with the OVN that comes first on PATH."""
    return takes_given_route(netns.run("ovn-controller", "--version"))


@dataclass(frozen=True)
class Node:
    """Starting it takes steps in order: ``wire``, ``start_switch``, then ``virtnet``."""

    names: NodeNames
    dpdk: bool = False
    """Whether its switch has DPDK, and so serves vhost-user NICs."""

    @property
    def name(self) -> str:
        return self.names.name

    @property
    def netns(self) -> str:
        return self.names.netns

    @property
    def prefix(self) -> tuple[str, ...]:
        return netns.prefix(self.netns)

    @cached_property
    def daemons(self) -> dict[str, Daemon]:
        """By their names, in the order in which they start."""
        found = (self._database, self._switch, self._controller, self.virtnet)
        return {daemon.name: daemon for daemon in found}

    @cached_property
    def virtnet(self) -> Daemon:
        """The product's own part."""
        return Daemon(
            "virtnet",
            [
                *self.prefix,
                *(sys.executable, "-m", "virtnet.cli.main", "node"),
                *("--node", self.name),
                *("--socket", str(self.names.cni_socket)),
                *("--state-dir", str(self.names.journal)),
                *("--ovsdb", self.names.ovsdb),
                *("--ovn-run-dir", str(self.names.rundir)),
                *("--cni-bin-dir", str(self.names.cni_bin)),
                *("--kubelet-dir", str(self.names.kubelet)),
            ],
            self.names.state,
            {"KUBECONFIG": str(self.names.lab.kubeconfig(self.names.identity))},
        )

    def gates(self) -> list[str]:
        """The nftables tables that virtnet-node has here."""
        tables = netns.run("nft", "list", "tables", "netdev", netns=self.netns).splitlines()
        return [name for line in tables if (name := line.split()[-1]).startswith("virtnet-")]

    def wire(self) -> None:
        """The namespace, its management link with an address, and its uplink, which OVS is to have."""
        central = self.names.lab.central
        netns.create(self.netns)
        netns.cable(central, f"m-{self.name}", self.netns, MANAGEMENT_LINK)
        netns.cable(central, f"p-{self.name}", self.netns, UPLINK)
        netns.keep_from_kernel(self.netns, UPLINK)
        netns.ip(
            central,
            f"link set m-{self.name} master {MANAGEMENT_BRIDGE}",
            f"link set p-{self.name} mtu {UPLINK_MTU} master {PHYSICAL_BRIDGE}",
        )
        netns.ip(self.netns, f"link set {UPLINK} mtu {UPLINK_MTU}")
        netns.ip(self.netns, f"address add {self.names.management_address}/{MANAGEMENT_PREFIX} dev {MANAGEMENT_LINK}")

    def start_switch(self) -> None:
        """Open vSwitch in userspace, with the tunnels' address on ``br-phy``, and ovn-controller on top."""
        self.names.rundir.mkdir(parents=True, exist_ok=True)
        self._database.start()
        wait(self._database, lambda: accepts(self.names.ovsdb_socket), "the database answers")
        self._vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *self._settings())
        if self.names.lab.tls:
            self._vsctl("--no-wait", "set-ssl", *self._certificates())
        self._switch.start()
        self._vsctl(
            *("add-br", "br-phy", "--", "set", "Bridge", "br-phy", "datapath_type=netdev", "--"),
            *("add-port", "br-phy", UPLINK, "--"),
            *("set", "Interface", "br-phy", f"mtu_request={UPLINK_MTU}", "--"),
            *("add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev", "fail_mode=secure"),
        )
        self.address_tunnels()
        self._controller.start()

    def address_tunnels(self) -> None:
        """Give ``br-phy`` its address: a switch that starts anew makes it anew. Raises DaemonError, NetnsError."""
        wait(self._switch, lambda: "br-phy" in netns.run("ip", "-o", "link", netns=self.netns), "it has br-phy")
        address = f"{self.names.tunnel_address}/{TUNNEL_PREFIX}"
        network = IPv4Interface(address).network
        netns.ip(self.netns, f"address replace {address} dev br-phy", "link set br-phy up")
        netns.no_checksum_offload(self.netns, "br-phy")
        if gives_route():
            wait(self._switch, lambda: self._routed(network), "it takes the tunnels' route")

    def wait_for_virtnet(self) -> None:
        """Until the CNI plugin would be answered. Raises DaemonError."""
        wait(self.virtnet, lambda: accepts(self.names.cni_socket), "it serves the CNI plugin", seconds=60)

    @cached_property
    def _database(self) -> Daemon:
        return database(
            "ovsdb-server",
            self.names.rundir,
            schema=SWITCH_SCHEMA,
            unix=self.names.ovsdb_socket,
            prefix=self.prefix,
            pid_directory=self.names.state,
        )

    @cached_property
    def _switch(self) -> Daemon:
        # In userspace, Open vSwitch forgets its tunnels for some ms with every link that comes or goes beside it, while
        # it reads the kernel's routes anew. Where that can be, the one that it needs is given to it instead.
        flags = ("--disable-system-route",) if gives_route() else ()
        command = (*AHEAD, dpdk.VSWITCHD if self.dpdk else "ovs-vswitchd")
        return self._daemon(
            *("ovs-vswitchd", *command, *flags, f"--unixctl={self._control}"),
            prefix=netns.plain_prefix(self.netns),  # it sees what virtnet-node mounts for it
        )

    @cached_property
    def _controller(self) -> Daemon:
        # It takes the place of its control socket, and of those of OVS, from its environment alone.
        return self._daemon("ovn-controller", "ovn-controller", prefix=self.prefix)

    def _daemon(self, name: str, *command: str, prefix: tuple[str, ...]) -> Daemon:
        rundir = str(self.names.rundir)
        whole = [*prefix, *command, *QUIET, self.names.ovsdb]
        return Daemon(name, whole, self.names.state, {"OVS_RUNDIR": rundir, "OVN_RUNDIR": rundir})

    @property
    def _control(self) -> Path:
        return self.names.rundir / "ovs-vswitchd.ctl"

    def _routed(self, network: IPv4Network) -> bool:
        """A switch that has just started takes commands before it knows all of them."""
        with suppress(netns.NetnsError):
            netns.run("ovs-appctl", "-t", str(self._control), "ovs/route/add", str(network), "br-phy", netns=self.netns)
            return True
        return False

    def _vsctl(self, *words: str) -> None:
        netns.run("ovs-vsctl", "--timeout=30", f"--db={self.names.ovsdb}", *words, netns=self.netns)

    def _certificates(self) -> tuple[str, ...]:
        """ovn-controller's. Their common name is its chassis: by that, OVN knows what it may write."""
        authority = Authority(self.names.lab.ovn_pki)
        own = authority.client(self.names.chassis)
        return str(own.key), str(own.certificate), str(authority.root.certificate)

    def _settings(self) -> list[str]:
        external = {
            "system-id": self.names.chassis,
            "hostname": self.name,
            "ovn-remote": self.names.lab.chassis_southbound,
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": self.names.tunnel_address,
            "ovn-bridge-datapath-type": "netdev",
            # The machine is shared by all nodes and their guests: a busy minute is no lost connection.
            "ovn-remote-probe-interval": "60000",
            "ovn-openflow-probe-interval": "60",
        }
        other = {"n-handler-threads": "1", "n-revalidator-threads": "1"}
        if self.dpdk:
            other |= dpdk.settings(self.netns, self.names.number)
        return [
            *(f"external_ids:{key}={json.dumps(value)}" for key, value in external.items()),
            *(f"other_config:{key}={json.dumps(value)}" for key, value in other.items()),
        ]
