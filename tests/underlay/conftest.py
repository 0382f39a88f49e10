"""A node with a bridge to a physical network: its NIC is one end of a cable, the test is at the other."""

import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attach.datapath import DATAPATH
from tests.attach.rig import SECONDS, Node, run
from tests.attach.samples import attachment
from virtnet.lab import netns
from virtnet.node.journal import Entry, Journal
from virtnet.ovn.vswitch import VSwitch

BRIDGE, NETWORK, NIC, WIRE = "br-rack", "rack", "phys1", "wire1"
LOCALNET = "virtnet:ClusterSubnet/lan:localnet"
PATCH = f"patch-{LOCALNET}-to-br-int"

MAC, ADDRESSES, VLAN, PORT, MIGRATION = "02:76:6e:00:00:0a", ("10.66.0.10", "fd66::a"), 100, "demo/db.lan", "m1"
"""Of the guest."""


@dataclass(frozen=True)
class Site:
    """The node, and the physical network's side of its cable."""

    node: Node
    outside: str
    """The network namespace at the other end."""

    def listen(self) -> socket.socket:
        """A socket on the wire, which hears and says whole frames."""

        def bound() -> socket.socket:
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            wire.bind((WIRE, 0))
            wire.settimeout(SECONDS)
            return wire

        return netns.inside(self.outside, bound)

    def learned(self) -> dict[tuple[str, int], str]:
        """What the node's bridge knows: MAC and VLAN -> name of the port."""
        control = next(self.node.state.glob("ovs-vswitchd.*.ctl"))
        said = run("ovs-appctl", "-t", str(control), "fdb/show", BRIDGE).splitlines()[1:]
        rows = [line.split() for line in said]
        names = {self.node.vsctl("get", "Interface", name, "ofport"): name for name in (PATCH, NIC)}
        return {(mac, int(vlan)): names.get(port, port) for port, vlan, mac, _ in rows}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Node.running(Path(tmp_path_factory.mktemp("site"))) as node:
        outside = f"{node.name}w"
        netns.create(outside)
        netns.cable(node.name, NIC, outside, WIRE)
        run(
            *("ovs-vsctl", "--timeout=20", f"--db={node.ovsdb}"),
            *("set", "Open_vSwitch", ".", f"external_ids:ovn-bridge-mappings=other:br-x,{NETWORK}:{BRIDGE}"),
            *("--", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, f"datapath_type={DATAPATH}"),
            *("--", "add-port", BRIDGE, NIC, "--", "add-port", BRIDGE, PATCH),
            *("--", "set", "Interface", PATCH, "type=patch", f"options:peer=patch-br-int-to-{LOCALNET}"),
            *("--", "add-port", "br-int", f"patch-br-int-to-{LOCALNET}"),
            *("--", "set", "Interface", f"patch-br-int-to-{LOCALNET}", "type=patch", f"options:peer={PATCH}"),
        )
        yield Site(node, outside)


@pytest.fixture
async def vswitch(site: Site) -> AsyncIterator[VSwitch]:
    vswitch = await VSwitch.connect(site.node.ovsdb, "br-int")
    yield vswitch
    await vswitch.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


@pytest.fixture
def wire(site: Site) -> Iterator[socket.socket]:
    with site.listen() as wire:
        yield wire


async def entry_of(journal: Journal, mac: str = MAC, **changes: object) -> Entry:
    """A NIC of the physical network, as the journal has it."""
    nic = {
        **attachment(PORT),
        "mac": mac,
        "addresses": ["10.66.0.10/24", "fd66::a/64"],
        "subnet": {"kind": "ClusterSubnet", "name": "lan"},
        "underlay": {"providerNetwork": NETWORK, "vlan": VLAN},
    }
    return await journal.write(
        Entry.model_validate(
            {
                "container": "c1",
                "interface": "pod1",
                "networkName": "lan",
                "netns": "/run/netns/x",
                "podNamespace": "demo",
                "podName": "launcher",
                "podUid": "u1",
                "migration": MIGRATION,
                "state": "Attached",
                "attachment": nic,
                **changes,
            }
        )
    )
