"""Two guests on a real OVN's switch, and a machine of the physical network."""

import asyncio
import json

from tests.attach.rig import eventually, run
from tests.safety.conftest import Chassis
from tests.topology.samples import NOWHERE, VPC, Range, port
from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.difference import difference

SENDER, VICTIM = 11, 12


def attach(chassis: Chassis, of: Subnet | ClusterSubnet, *, outside: bool = False) -> tuple[Port, Port]:
    """The guests, by ``p1`` and ``p2``. With ``outside``, the machine is there by ``out``, on VLAN 100."""
    sender, victim = nics = port(of, SENDER), port(of, VICTIM)
    chassis.node.vsctl("add-br", "br-rack", "--", "set", "Bridge", "br-rack", "datapath_type=netdev")
    chassis.node.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-bridge-mappings=rack:br-rack")
    write(chassis, of)
    for device, nic in zip(("p1", "p2"), nics, strict=True):
        plug(chassis, device, f"external_ids:iface-id={nic.key}")
    if outside:
        plug(chassis, "out", bridge="br-rack")
        chassis.node.vsctl("set", "Port", "out", "tag=100")
    for nic in nics:
        chassis.ovn.nbctl("--timeout=60", "wait-until", "Logical_Switch_Port", nic.key, "up=true")
    chassis.settled()
    return sender, victim


def write(chassis: Chassis, of: Subnet | ClusterSubnet) -> None:
    async def work() -> None:
        nics = [row for number in (SENDER, VICTIM) for row in port_rows(port(of, number), of, NOWHERE)]
        async with OvsdbNorthbound(chassis.ovn.remote("nb")) as northbound:
            rows = [*vpc_rows(VPC), *subnet_rows(of, Range.of(of)), *nics]
            await northbound.commit(difference(rows, northbound.observed()))

    asyncio.run(work())
    chassis.settled()


def plug(chassis: Chassis, device: str, *words: str, bridge: str = "br-int") -> None:
    chassis.node.vsctl("add-port", bridge, device, "--", "set", "Interface", device, "type=internal", *words)

    def there() -> bool:
        links = json.loads(run("ip", "-n", chassis.node.name, "-j", "link"))
        return device in {link["ifname"] for link in links}

    eventually(there, f"{device} is made")
    run("ip", "-n", chassis.node.name, "link", "set", device, "addrgenmode", "none", "up")
