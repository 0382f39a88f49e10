"""A real OVN with one real chassis; two tenants (tests.safety.tenants); and admission alone (tests.pinning)."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.attach.rig import Node, run
from tests.pinning.conftest import admission, tenant
from tests.safety.tenants import scene, servers
from virtnet.lab.ovn_central import OvnCentral

__all__ = ["admission", "scene", "servers", "tenant"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if {"admission", "servers"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.system)


@dataclass(frozen=True)
class Chassis:
    """A switch and an ovn-controller, and the databases that it reads."""

    ovn: OvnCentral
    node: Node

    def bind(self, port: str) -> None:
        """Have a logical port on this chassis, and with it the flows of all that its router leads to."""
        self.node.vsctl(
            *("--may-exist", "add-port", "br-int", "p1", "--"),
            *("set", "Interface", "p1", "type=internal", f"external_ids:iface-id={port}"),
        )

    def settled(self) -> None:
        """Return when northd and ovn-controller have done all that is written."""
        self.ovn.nbctl("--wait=hv", "sync")

    def complaints(self) -> list[str]:
        """What OVN's daemons have said of things that they cannot read."""
        logs = (self.ovn.log("northd"), self.node.daemons["ovn-controller"].log)
        lines = [line for log in logs for line in log.read_text().splitlines()]
        return [line for line in lines if "pars" in line or "yntax" in line or "invalid" in line]

    def flows(self) -> str:
        """The bridge's flows, as ovs-ofctl reads them."""
        return run("ovs-ofctl", "-O", "OpenFlow15", "dump-flows", str(self.node.state / "br-int.mgmt"))


@pytest.fixture
def chassis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chassis]:
    ovn = OvnCentral(tmp_path_factory.mktemp("ovn") / "central")
    with Node.running(tmp_path_factory.mktemp("node")) as node:
        try:
            ovn.start()
            node.vsctl(
                *("set", "Open_vSwitch", ".", f"external_ids:ovn-remote={ovn.remote('sb')}"),
                *("external_ids:ovn-encap-type=geneve", "external_ids:ovn-bridge-datapath-type=netdev"),
            )
            node.background("ovn-controller", *("ip", "netns", "exec", node.name), "ovn-controller", node.ovsdb)
            yield Chassis(ovn, node)
        finally:
            ovn.destroy()
