"""API objects for tests, as short as they can be written."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from virtnet.api import ClusterSubnet, ClusterVpc, Port, Subnet
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.rows import Row

VPC = ClusterVpc.parse({"metadata": {"name": "default"}})
NOWHERE = ChassisOptions()


@dataclass(frozen=True)
class Range:
    """The part of a pool that topology reads."""

    network: IPv4Network
    gateway: IPv4Address

    @classmethod
    def of(cls, subnet: Subnet | ClusterSubnet) -> "Range":
        network = IPv4Network(subnet.spec.cidr)
        return cls(network, IPv4Address(subnet.spec.gateway) if subnet.spec.gateway else network[1])


def subnet(name: str = "blue", cidr: str = "10.10.0.0/24", namespace: str = "demo", **spec: object) -> Subnet:
    return Subnet.parse({"metadata": {"name": name, "namespace": namespace}, "spec": {"cidr": cidr, **spec}})


def underlay(name: str = "lan", cidr: str = "10.66.0.0/24", **spec: object) -> ClusterSubnet:
    given = {"cidr": cidr, "providerNetwork": "rack", "vlan": 100, **spec}
    return ClusterSubnet.parse({"metadata": {"name": name}, "spec": given})


def port(of: Subnet | ClusterSubnet, number: int, name: str = "") -> Port:
    address = IPv4Network(of.spec.cidr)[number]
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
                "addresses": [str(address)],
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
