"""Security groups and a VM's NIC, and what its ACLs are."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.topology.samples import port, subnet
from virtnet.api import ClusterSubnet, Subnet
from virtnet.api.meta import Metadata
from virtnet.api.security_group import ClusterSecurityGroup, SecurityGroup, SecurityGroupSpec
from virtnet.engine.graph import Graph
from virtnet.engine.keys import ObjectKey
from virtnet.features.group_membership import CLUSTER_GROUPS, GROUPS
from virtnet.features.security_groups import compile_group
from virtnet.features.sources import CLUSTER_SUBNETS, INSTANCES, SUBNETS, VMS
from virtnet.features.workloads import Vm, VmInstance
from virtnet.topology.rows import Row

PORT = port(subnet(), 10)
VM = ObjectKey("VirtualMachine", "demo", "vm10")
VMI = VM._replace(kind="VirtualMachineInstance")
WEB = {"matchLabels": {"app": "web"}}
NOT_DB = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}


def group(name: str, namespace: str = "demo", **spec: Any) -> SecurityGroup:
    return SecurityGroup(metadata=Metadata(name=name, namespace=namespace), spec=SecurityGroupSpec.model_validate(spec))


def cluster_group(name: str, **spec: Any) -> ClusterSecurityGroup:
    return ClusterSecurityGroup(metadata=Metadata(name=name), spec=SecurityGroupSpec.model_validate(spec))


def graph_of(
    *objects: SecurityGroup | ClusterSecurityGroup | Subnet | ClusterSubnet,
    names: tuple[str, ...] | None = None,
    template: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Graph:
    """What there is; ``names``: the groups that the VM names for its NIC; ``labels``: of its instance, if it runs."""
    graph = Graph()
    collections = {
        SecurityGroup: GROUPS,
        ClusterSecurityGroup: CLUSTER_GROUPS,
        Subnet: SUBNETS,
        ClusterSubnet: CLUSTER_SUBNETS,
    }
    for one in (subnet(), *objects):
        graph.put(collections[type(one)], ObjectKey.of(one), one)
    graph.put(
        VMS,
        VM,
        Vm("demo/vm10", "u", security_groups={"net": names} if names is not None else {}, labels=template or {}),
    )
    if labels is not None:
        graph.put(INSTANCES, VMI, VmInstance(uid="i", labels=labels))
    return graph


def matches(graph: Graph, of: SecurityGroup | ClusterSecurityGroup) -> list[tuple[str, int, str, str]]:
    """Its ACLs: direction, priority, action, and the match without the port's group."""
    rows = graph.peek(partial(compile_group, ObjectKey.of(of))).rows
    assert rows is not None
    return sorted(
        (
            text(row, "direction"),
            number(row),
            text(row, "action"),
            text(row, "match").replace(text(rows[0], "name"), "G"),
        )
        for row in rows[1:]
    )


def text(row: Row, column: str) -> str:
    return str(row.columns[column])


def number(row: Row) -> int:
    value = row.columns["priority"]
    assert isinstance(value, int)
    return value


IN_SERVICES = (
    "to-lport",
    2400,
    "allow-stateless",
    "((outport == @G) && ((udp.src == 67 && udp.dst == 68) || (udp.src == 547 && udp.dst == 546)"
    " || (ip4 && ip.proto == 2)))",
)
IN_DROP = ("to-lport", 1000, "drop", "((outport == @G) && (ip))")
NOTHING = (1, "allow-related", "((outport == @G) && (0))")
"""Without an ACL of this action answers to what the NIC sends would not pass."""
HTTP = {"protocol": "TCP", "port": 80}
