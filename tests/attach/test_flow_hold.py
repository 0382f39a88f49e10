"""With a real ovn-controller: the way to a port's other chassis outlasts its NIC's letting go, and nothing else does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attach.rig import Node, eventually, run
from virtnet.api import HandoffPath
from virtnet.lab.ovn_central import OvnCentral
from virtnet.node.handoff.flow_hold import COOKIE, hold_flows
from virtnet.node.handoff.keys import HandoffKeys

NIC, PORT, OTHER = "nic0", "vm", "other"


@pytest.fixture
def bridge(node_of_module: Node, real_ovn: OvnCentral) -> Iterator[Path]:
    """OVN's bridge, with a NIC whose port another chassis has, too."""
    node = node_of_module
    node.vsctl("add-port", "br-int", NIC, "--", "set", "Interface", NIC, "type=internal")
    node.vsctl("set", "Interface", NIC, f"external_ids:iface-id={PORT}")
    real_ovn.sbctl("chassis-add", OTHER, "geneve", "127.0.0.2")
    both = f"requested-chassis=chassis-x,{OTHER}"
    real_ovn.nbctl("ls-add", "blue", "--", "lsp-add", "blue", PORT, "--", "lsp-set-options", PORT, both)
    eventually(lambda: bound(real_ovn, "chassis"), "the NIC has its port")
    other = real_ovn.sbctl("--bare", "--columns=_uuid", "find", "Chassis", f"name={OTHER}").strip()
    real_ovn.sbctl("set", "Port_Binding", PORT, f"additional_chassis={other}")
    yield node.state / "br-int.mgmt"
    node.vsctl("del-port", "br-int", NIC)
    real_ovn.nbctl("ls-del", "blue")
    real_ovn.sbctl("chassis-del", OTHER)


def bound(ovn: OvnCentral, column: str) -> str:
    return ovn.sbctl("--bare", f"--columns={column}", "find", "Port_Binding", f"logical_port={PORT}").strip()


def path(ovn: OvnCentral) -> HandoffPath:
    datapath = ovn.sbctl("--bare", "--columns=tunnel_key", "find", "Datapath_Binding", "external_ids:name=blue")
    return HandoffPath(
        remote="127.0.0.2",
        datapath=int(datapath),
        port=int(bound(ovn, "tunnel_key")),
        peer_key=HandoffKeys.generate().public,
    )


def flows(bridge: Path, to: HandoffPath, *, ours: bool) -> list[str]:
    """Fields and actions of flows that send what is for the port to a tunnel: OVN's, or ours."""
    match = f"metadata={to.datapath},reg15={to.port}"
    lines = run("ovs-ofctl", "-O", "OpenFlow13", "--no-stats", "dump-flows", f"unix:{bridge}", match).splitlines()
    found = [line.strip() for line in lines if "tun_metadata0" in line]
    return [line.partition(", ")[2] for line in found if line.startswith(f"cookie={COOKIE:#x},") is ours]


async def test_the_way_is_there_before_and_after_ovn_makes_it_anew(bridge: Path, real_ovn: OvnCentral) -> None:
    to = path(real_ovn)
    eventually(lambda: flows(bridge, to, ours=False), "OVN sends on")
    (before,) = flows(bridge, to, ours=False)
    assert await hold_flows(bridge, to) == 1
    (copied,) = flows(bridge, to, ours=True)
    sends, to_this_nodes_own, _ = before.partition(",resubmit(")
    assert to_this_nodes_own
    assert copied == sends.replace("priority=100,", "hard_timeout=1, priority=101,")
    eventually(lambda: not flows(bridge, to, ours=True), "it has gone by itself")
    assert flows(bridge, to, ours=False) == [before]


async def test_a_port_that_no_other_chassis_has_needs_nothing(bridge: Path, real_ovn: OvnCentral) -> None:
    to = path(real_ovn)
    real_ovn.nbctl("lsp-set-options", PORT, "requested-chassis=chassis-x")
    real_ovn.sbctl("clear", "Port_Binding", PORT, "additional_chassis")
    eventually(lambda: not flows(bridge, to, ours=False), "OVN sends on no more")
    assert await hold_flows(bridge, to) == 0
    assert not flows(bridge, to, ours=True)


async def test_a_bridge_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await hold_flows(
            tmp_path / "br-int.mgmt",
            HandoffPath(remote="127.0.0.2", datapath=1, port=1, peer_key=HandoffKeys.generate().public),
        )
