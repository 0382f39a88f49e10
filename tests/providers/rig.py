"""A node with a real Open vSwitch and a NIC, a machine outside, and the daemon's part that plugs the NIC in."""

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.attach.rig import Node, inside, run
from virtnet.lab import netns
from virtnet.node.providers.ingress import IngressFilters
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.reconciler import ProviderNetworkReconciler
from virtnet.node.providers.records import Records, boot_id
from virtnet.ovn.provider_bridges import ProviderBridges
from virtnet.ovn.switch_database import SwitchDatabase

NIC, SECOND, BRIDGE = "eth1", "eth2", "br-blue"
PORT = 7777

ON_NIC = f"""
address add 10.7.0.5/24 dev {NIC}
address add 10.7.0.6/24 dev {NIC} label {NIC}:second
address add fd07::5/64 dev {NIC} nodad
address add fd07::6/64 dev {NIC} nodad preferred_lft 5000 valid_lft 6000
route add default via 10.7.0.1 dev {NIC} metric 77
route add ::/0 via fd07::1 dev {NIC} metric 77
route add 10.50.0.0/16 via 10.7.0.9 dev {NIC} table 70 src 10.7.0.6 mtu 1300
route add 10.51.0.0/16 via 192.0.2.9 dev {NIC} onlink
route add 10.52.0.0/16 nexthop via 10.7.0.8 dev {NIC} weight 3 nexthop via 10.7.0.9 dev {NIC}
route add fd55::/64 via fd07::9 dev {NIC} table 70 metric 7
neighbor add 10.7.0.77 lladdr 02:00:00:00:00:77 dev {NIC} nud permanent
neighbor add fd07::77 lladdr 02:00:00:00:00:77 dev {NIC} nud permanent
"""
UNSTABLE = ("valid_life_time", "preferred_life_time", "expires", "label", "tentative")


@dataclass
class Machines:
    """The node and the machine outside."""

    node: Node
    outside: str
    opened: list[Any] = field(default_factory=list)

    @property
    def here(self) -> str:
        return f"/run/netns/{self.node.name}"

    @property
    def records(self) -> Path:
        return self.node.state / "providers"

    def ip(self, *lines: str) -> None:
        netns.ip(self.node.name, *lines)

    def on(self, device: str) -> dict[str, Any]:
        """All that the node has on a device, without what the kernel counts."""
        tell = partial(inside, self.node.name)
        addresses = tell("address", "show", "dev", device)[0]["addr_info"]
        routes = [
            route
            for family in ("-4", "-6")
            for route in map(in_order, tell(family, "route", "show", "table", "all"))
            if f'"{device}"' in json.dumps(route) and route.get("table") != "local" and route.get("type") != "multicast"
        ]
        neighbours = [n for n in tell("neighbor", "show", "dev", device) if "PERMANENT" in n["state"]]
        plain = [
            {key: value for key, value in found.items() if key not in UNSTABLE}
            for found in (*addresses, *routes, *neighbours)
        ]
        return {"entries": sorted(json.dumps(found, sort_keys=True).replace(device, "DEV") for found in plain)}

    @property
    def whole(self) -> dict[str, Any]:
        """The node's network as far as it is the NIC's."""
        nic = inside(self.node.name, "-d", "link", "show", NIC)[0]
        offload = run("ip", "netns", "exec", self.node.name, "ethtool", "-k", NIC)
        switches = [line for line in offload.splitlines() if line.startswith(("tx-checksumming", "generic-receive"))]
        labels = [found.get("label") for found in inside(self.node.name, "address", "show", "dev", NIC)[0]["addr_info"]]
        return {
            **self.on(NIC),
            "labels": labels,
            "generation": nic["inet6_addr_gen_mode"],
            "up": nic["flags"],
            "offload": switches,
        }

    @property
    def bridges(self) -> list[str]:
        return self.node.vsctl("list-br").split()

    def mapping(self, name: str) -> str:
        return self.node.vsctl("--if-exists", "get", "Open_vSwitch", ".", f"external_ids:{name}").strip('"')

    def sysctl(self, path: str, value: str = "") -> str:
        """One of the node's own, set where a value is given."""
        return netns.run(
            "sysctl", "-n", f"net/{path}={value}" if value else f"net/{path}", netns=self.node.name
        ).strip()

    def wire(self) -> None:
        """Give the node its NICs, as its hardware does."""
        no_duplicates_looked_for(self.node.name)
        for number, nic in enumerate((NIC, SECOND), 1):
            netns.cable(self.outside, f"o-{nic}", self.node.name, nic)
            mac = f"02:07:00:00:00:{number:02x}"  # the same ones for ever, as hardware has
            self.ip(f"link set {nic} down", f"link set {nic} address {mac}", f"link set {nic} up")
            netns.run("ethtool", "-K", nic, "gro", "on", netns=self.node.name)
        netns.ip(self.outside, f"address add 10.7.0.1/24 dev o-{NIC}", f"address add fd07::1/64 dev o-{NIC} nodad")

    def unwire(self) -> None:
        for nic in (NIC, SECOND):
            netns.ip(self.outside, f"link del o-{nic}")

    def configure(self) -> None:
        """What the operating system gives the NIC."""
        netns.ip(self.node.name, *ON_NIC.strip().splitlines())

    def start_anew(self, *, configured: bool) -> None:
        """As a node does: its files stay, and all that the kernel had is gone."""
        for name in ("vswitchd", "ovsdb"):
            self.node.daemons[name].kill()
        (self.node.state / "db.sock").unlink()
        self.unwire()
        run("ip", "netns", "del", self.node.name)
        netns.create(self.node.name)
        self.wire()
        if configured:
            self.configure()
        for path in self.records.iterdir():
            path.write_text(path.read_text().replace(boot_id(), "an earlier one"))
        self.node.start_switch()

    @asynccontextmanager
    async def networks(self) -> AsyncIterator[ProviderNetworkReconciler]:
        """What the daemon has, as after its start."""
        database = await SwitchDatabase.connect(self.node.ovsdb)
        records, ingress = Records(self.records), IngressFilters(self.here)
        try:
            yield ProviderNetworkReconciler(
                Plugging(ProviderBridges(database, "br-int"), records, ingress, self.node.state), unguarded
            )
        finally:
            records.close()
            await ingress.close()
            await database.close()


@asynccontextmanager
async def unguarded() -> AsyncIterator[None]:
    yield


def in_order(route: dict[str, Any]) -> dict[str, Any]:
    """A route whose next hops have an order that says nothing."""
    hops = {"nexthops": sorted(route["nexthops"], key=json.dumps)} if "nexthops" in route else {}
    return {**route, **hops}


def no_duplicates_looked_for(name: str) -> None:
    netns.run("sh", "-c", "echo 0 | tee /proc/sys/net/ipv6/conf/*/accept_dad", netns=name)


@contextmanager
def machines(state: Path) -> Iterator[Machines]:
    with Node.running(state) as node:
        found = Machines(node, f"{node.name}-out")
        netns.create(found.outside)
        no_duplicates_looked_for(found.outside)
        found.wire()
        found.configure()
        try:
            yield found
        finally:
            for kept in found.opened:
                kept.close()


class Session:
    """A TCP session from the machine outside to the node's own address, and its longest silence."""

    def __init__(self, machines: Machines, address: str = "10.7.0.5") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._server = netns.inside(machines.node.name, partial(_listening, family, address))
        self._client = netns.inside(machines.outside, partial(socket.create_connection, (address, PORT), 10))
        self._peer, _ = self._server.accept()
        for end in (self._client, self._peer):
            end.settimeout(20)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.silence = 0.0
        self.turns = 0
        self.error: OSError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                self._client.sendall(b"x" * 64)
                self._peer.recv(64)
                self._peer.sendall(b"y" * 3000)
                got = 0
                while got < 3000:
                    got += len(self._client.recv(3000 - got))
                self.silence = max(self.silence, time.monotonic() - began)
                self.turns += 1
                time.sleep(0.001)
        except OSError as error:
            self.error = error

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        for kept in (self._client, self._peer, self._server):
            kept.close()
        assert self.error is None, self.error


class Questions:
    """A datagram each millisecond from outside to the node's own address, which is sent back."""

    def __init__(self, machines: Machines, address: str = "10.7.0.5") -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def bound() -> socket.socket:
            found = socket.socket(family, socket.SOCK_DGRAM)
            found.bind((address, PORT))
            return found

        self._node = netns.inside(machines.node.name, bound)
        self._outside = netns.inside(machines.outside, partial(socket.socket, family, socket.SOCK_DGRAM))
        self._outside.connect((address, PORT))
        for end in (self._node, self._outside):
            end.settimeout(0.2)
        self.sent = 0
        self._answered: set[bytes] = set()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._echo, self._hear)]
        for thread in self._threads:
            thread.start()

    def end(self) -> int:
        """How many have not been answered."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        for end in (self._node, self._outside):
            end.close()
        return self.sent - len(self._answered)

    def _ask(self) -> None:
        while not self._over.is_set():
            self._outside.send(str(self.sent).encode())
            self.sent += 1
            time.sleep(0.001)

    def _echo(self) -> None:
        for data, sender in self._heard(self._node):
            self._node.sendto(data, sender)

    def _hear(self) -> None:
        self._answered.update(data for data, _ in self._heard(self._outside))

    def _heard(self, end: socket.socket) -> Iterator[tuple[bytes, Any]]:
        while True:
            try:
                yield end.recvfrom(64)
            except TimeoutError:
                if self._over.is_set():
                    return


def _listening(family: int, address: str) -> socket.socket:
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((address, PORT))
    found.listen(1)
    return found
