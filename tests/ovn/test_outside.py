"""What OVN makes of frames between a physical network and the Vpc's router, which has an address in it on every node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.topology.samples import NOWHERE, VPC, Range, port, underlay
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

pytestmark = pytest.mark.system

LAN = underlay(cidr="10.66.0.0/24 fd66::/64", logicalGateway=True)
SWITCH = "virtnet:ClusterSubnet/lan"
LOCALNET, UPLINK, GUEST = f"{SWITCH}:localnet", f"{SWITCH}:router", "demo/vm.net"
STRANGER = "0c:00:00:00:00:01"
ROWS = [*vpc_rows(VPC), *subnet_rows(LAN, Range.of(LAN)), *port_rows(port(LAN, 10, "vm.net"), LAN, NOWHERE)]
ROUTER = str(next(row.columns["mac"] for row in ROWS if row.key.table == "Logical_Router_Port"))


@pytest.fixture(scope="module")
def ovn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OvnCentral]:
    """Both databases and northd, which have made flows of the rows. Nothing here changes them."""
    made = OvnCentral(Path(tmp_path_factory.mktemp("outside")))
    made.start()
    yield made
    made.destroy()


@pytest.fixture
async def traced(ovn: OvnCentral) -> OvnCentral:
    async with OvsdbNorthbound(ovn.remote("nb")) as northbound:
        await northbound.commit(difference(ROWS, northbound.observed()))
    ovn.nbctl("--wait=sb", "sync")
    return ovn


def arp(sender: str, mac: str, target: str) -> str:
    return (
        f"eth.src == {mac} && eth.dst == ff:ff:ff:ff:ff:ff && arp.op == 1 && arp.sha == {mac}"
        f" && arp.spa == {sender} && arp.tpa == {target}"
    )


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(arp("10.66.0.77", STRANGER, "10.66.0.1"), id="who has its address"),
        pytest.param(
            f"eth.src == {STRANGER} && eth.dst == {ROUTER} && ip6.src == fd66::77 && ip6.dst == fd77::7"
            " && ip.ttl == 64 && icmp6.type == 128",
            id="to be routed",
        ),
    ],
)
async def test_nobody_outside_is_heard_by_the_router(traced: OvnCentral, frame: str) -> None:
    trace = traced.trace(SWITCH, f'inport == "{LOCALNET}" && {frame}')
    assert "ingress(" in trace
    assert "egress(" not in trace


async def test_guests_are_asked_from_outside(traced: OvnCentral) -> None:
    frame = arp("10.66.0.77", STRANGER, "10.66.0.10")
    assert f'output to "{GUEST}"' in traced.trace(SWITCH, f'inport == "{LOCALNET}" && {frame}')


async def test_the_router_asks_nobody_outside(traced: OvnCentral) -> None:
    trace = traced.trace(SWITCH, f'inport == "{UPLINK}" && {arp("10.66.0.1", ROUTER, "10.66.0.77")}')
    assert f'output to "{GUEST}"' in trace
    assert f'output to "{LOCALNET}"' not in trace
