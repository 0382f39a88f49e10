"""Names and keys of rows, derived from the API objects that they are compiled from.

A key's id is ``Kind/object`` with an optional ``:part``; a row's name in OVN is that with ``virtnet:`` before it. The
names of Kubernetes have no colon, so nobody else's name can be the same, and ``ovn-nbctl show`` reads well. The one
exception is the port of a NIC: it is named after its Port, as the interface's iface-id is.
"""

import hashlib
from collections.abc import Collection

from virtnet.api import ClusterSubnet, ClusterVpc, Port, Subnet, SubnetRef, Vpc
from virtnet.topology.rows import Key
from virtnet.topology.tables import NAME


def vpc_key(vpc: Vpc | ClusterVpc) -> Key:
    return Key("Logical_Router", f"{type(vpc).__name__}/{vpc.key}")


def router_key(subnet: Subnet | ClusterSubnet) -> Key:
    """The router that a Subnet hangs on: that of its Vpc."""
    vpc = subnet.spec.vpc
    return Key("Logical_Router", f"{vpc.kind}/{vpc.key(subnet.namespace)}")


def switch_key(ref: SubnetRef) -> Key:
    return Key("Logical_Switch", f"{ref.kind}/{ref.key}")


def part(table: str, whole: Key, name: str = "") -> Key:
    """The key of another row of the same API object."""
    return Key(table, f"{whole.id}:{name}" if name else whole.id)


def added(table: str, whole: Key, kind: str, name: str) -> Key:
    """The key of a row that another kind adds to an API object's own."""
    return part(table, whole, f"{kind}/{name}")


def port_key(port: Port | str) -> Key:
    """The key of a NIC's logical switch port, from the Port or from its key ``namespace/name``."""
    return Key("Logical_Switch_Port", f"Port/{port if isinstance(port, str) else port.key}")


def is_named(port: Port, subnet: Subnet | ClusterSubnet, names: Collection[str]) -> bool:
    """Whether a NIC's VM or pod is among those that its Subnet names."""
    owner = port.spec.owner.name
    return (owner if subnet.namespace else f"{port.namespace}/{owner}") in names


def uplink_key(ref: SubnetRef) -> Key:
    """The port by which a switch hangs on its Vpc's router."""
    return part("Logical_Switch_Port", switch_key(ref), "router")


def localnet_key(ref: SubnetRef) -> Key:
    """The port by which an underlay's switch is a part of its physical network."""
    return part("Logical_Switch_Port", switch_key(ref), "localnet")


def localnet_name(ref: SubnetRef) -> str:
    return row_name(localnet_key(ref))


def row_name(key: Key) -> str:
    """A row's name. Of those that matches name it is a hash: OVN takes a match with another for one that never holds.

    So is a mirror's, of which ovn-controller makes an interface's name.

    >>> row_name(Key("Port_Group", "SecurityGroup/demo/web"))
    'virtnet_08e23853de565058'
    """
    if key.table in ("Port_Group", "Address_Set", "Mirror"):
        return f"virtnet_{hashlib.sha256(key.id.encode()).hexdigest()[:16]}"
    return f"{NAME}{key.id}"


def router_mac(key: Key) -> str:
    """The MAC of a router port: locally administered, the same whenever it is asked, and never that of a NIC.

    Generated MACs of NICs begin with 02, these with 0a.
    """
    digest = hashlib.sha256(key.id.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x0A, *digest[:5]))


def chassis_mac(chassis: str, provider_network: str) -> str:
    """The MAC by which a chassis' router ports speak on a ProviderNetwork: its own, and always the same.

    These begin with 06.
    """
    digest = hashlib.sha256(f"{chassis}/{provider_network}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x06, *digest[:5]))
