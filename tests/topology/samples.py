"""API objects for tests, as short as they can be written."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

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
    former: frozenset[Address] = frozenset()

    @classmethod
    def of(cls, subnet: Subnet | ClusterSubnet) -> "list[Range]":
        gateways = [ip_address(gateway) for gateway in subnet.spec.gateways]
        return [
            cls(network, next((one for one in gateways if one.version == network.version), network[1]))
            for network in subnet.spec.networks
        ]


def subnet(name: str = "blue", cidr: str = "10.10.0.0/24", namespace: str = "demo", **spec: Any) -> Subnet:
    whole = {"vpc": {"kind": "ClusterVpc"}, "cidrs": cidr.split(), **spec}
    return Subnet.parse({"metadata": {"name": name, "namespace": namespace}, "spec": whole})


def underlay(name: str = "lan", cidr: str = "10.66.0.0/24", **spec: Any) -> ClusterSubnet:
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


def text_of(row: Row, column: str) -> str:
    """What is in a column of text."""
    value = row.columns[column]
    assert isinstance(value, str)
    return value


def map_of(row: Row, column: str) -> Mapping[str, str]:
    """What is in a column of keys and values."""
    value = row.columns[column]
    assert isinstance(value, Mapping)
    return {key: str(text) for key, text in value.items()}


def topology(of: Subnet, ports: int, chassis: ChassisOptions = NOWHERE) -> list[Row]:
    """A whole Vpc with one Subnet and some ports."""
    return [
        *vpc_rows(VPC),
        *subnet_rows(of, Range.of(of)),
        *(row for number in range(10, 10 + ports) for row in port_rows(port(of, number), of, chassis)),
    ]
