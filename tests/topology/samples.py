"""API objects for tests, as short as they can be written."""

from dataclasses import dataclass
from ipaddress import ip_address

from virtnet.api import ClusterSubnet, ClusterVpc, Port, Subnet
from virtnet.api.addresses import Address, Network
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.rows import Row

VPC = ClusterVpc.parse({"metadata": {"name": "default"}})
NOWHERE = ChassisOptions()


@dataclass(frozen=True)
class Range:
    """The part of a pool that topology reads."""

    network: Network
    gateway: Address

    @classmethod
    def of(cls, subnet: Subnet | ClusterSubnet) -> "list[Range]":
        asked = [ip_address(gateway) for gateway in subnet.spec.gateways]
        return [
            cls(network, next((one for one in asked if one.version == network.version), network[1]))
            for network in subnet.spec.networks
        ]


def subnet(name: str = "blue", cidr: str = "10.10.0.0/24", namespace: str = "demo", **spec: object) -> Subnet:
    return Subnet.parse({"metadata": {"name": name, "namespace": namespace}, "spec": {"cidrs": cidr.split(), **spec}})


def underlay(name: str = "lan", cidr: str = "10.66.0.0/24", **spec: object) -> ClusterSubnet:
    given = {"cidrs": cidr.split(), "providerNetwork": "rack", "vlan": 100, **spec}
    return ClusterSubnet.parse({"metadata": {"name": name}, "spec": given})


def port(of: Subnet | ClusterSubnet, number: int, name: str = "") -> Port:
    high, low = divmod(number, 256)
    return Port.parse(
        {
            "metadata": {"name": name or f"vm{number}.net", "namespace": of.namespace or "demo"},
            "spec": {
                "owner": {"kind": "VirtualMachine", "name": f"vm{number}"},
                "network": "net",
                "networkAttachmentDefinition": f"{of.namespace or 'demo'}/net",
                "subnet": of.ref.model_dump(),
                "macAddress": f"02:76:6e:{len(of.name):02x}:{high:02x}:{low:02x}",
                "addresses": [str(network[number]) for network in of.spec.networks],
            },
        }
    )


def topology(of: Subnet, ports: int, chassis: ChassisOptions = NOWHERE) -> list[Row]:
    """A whole Vpc with one Subnet and some ports."""
    return [
        *vpc_rows(VPC),
        *subnet_rows(of, Range.of(of)),
        *(row for number in range(10, 10 + ports) for row in port_rows(port(of, number), of, chassis)),
    ]
