"""Nine pods and VMs in three namespaces, as the API server has them, and what virtnet makes of them and of policies."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from tests.policies.oracle import Endpoint, Manifest
from tests.topology.samples import VPC, Range
from virtnet.api import ClusterSubnet, Port
from virtnet.api.kubevirt import LEFT_OUT
from virtnet.engine.collection import Collection
from virtnet.engine.graph import Graph, Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features import FEATURES, FOREIGN_FEATURES
from virtnet.features.nodes import NodeLabels
from virtnet.features.policy_groups import MULTI_POLICIES, NAMESPACES, PEERS, POLICIES, NamespaceLabels, NetworkPolicy
from virtnet.features.sources import INSTANCES, NODES, PODS, VMS
from virtnet.features.workloads import Pod, Vm, instance_of
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows
from virtnet.topology.names import port_key
from virtnet.topology.rows import Row

NAMESPACE_LABELS = {
    "x": {"ns": "x", "team": "red"},
    "y": {"ns": "y", "team": "blue"},
    "z": {"ns": "z"},
}
NUMBERS = {"a": 80, "b": 81, "c": 80}
"""What each calls ``serve``, of TCP; of UDP it is the other."""
FIRST = 10
PODS_ON = ClusterSubnet.parse(
    {"metadata": {"name": "pods"}, "spec": {"cidrs": ["10.10.0.0/24", "fd00:10::/64"], "vpc": {"kind": "ClusterVpc"}}}
)


def named_ports(name: str) -> dict[tuple[str, str], int]:
    return {("TCP", "serve"): NUMBERS[name], ("UDP", "serve"): 161 - NUMBERS[name]}


def endpoints(network: str = "") -> list[Endpoint]:
    """Of the pod network, or of a NAD."""
    return [
        Endpoint(
            namespace,
            name,
            {"pod": name, **({"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": name} if name == "c" else {})},
            (f"10.10.0.{FIRST + number}", f"fd00:10::{FIRST + number:x}"),
            named_ports(name),
            network,
        )
        for number, (namespace, name) in enumerate((space, pod) for space in NAMESPACE_LABELS for pod in "abc")
    ]


def port_of(endpoint: Endpoint) -> Port:
    """Of pods a and b, and of the VM c."""
    is_vm = endpoint.name == "c"
    network = (LEFT_OUT if is_vm else "eth0") if not endpoint.network else "blue"
    address, _ = endpoint.addresses
    return Port.parse(
        {
            "metadata": {"name": f"{endpoint.name}.{network}", "namespace": endpoint.namespace},
            "spec": {
                "owner": {"kind": "VirtualMachine" if is_vm else "Pod", "name": endpoint.name},
                "network": network,
                "networkAttachmentDefinition": endpoint.network or "virtnet/pod-network",
                "subnet": PODS_ON.ref.model_dump(),
                "macAddress": f"02:76:6e:00:00:{int(address.rpartition('.')[2]):02x}",
                "addresses": list(endpoint.addresses),
            },
        }
    )


def graph_of(network: str = "") -> Graph:
    """The VM is stopped in namespace y; its instance has labels of its own in z, for there it runs."""
    graph = Graph()
    for namespace, labels in NAMESPACE_LABELS.items():
        graph.put(NAMESPACES, NAMESPACES.key(namespace), NamespaceLabels(labels))
    graph.put(NODES, NODES.key("node1"), NodeLabels("node1", {}, ("192.168.0.1", "fd00:192::1", "no address")))
    for one in endpoints(network):
        ports = [{"name": name, "protocol": protocol, "port": number} for (protocol, name), number in one.ports.items()]
        identity = {"name": one.name, "namespace": one.namespace, "uid": one.key}
        if one.name != "c":
            containers = [{"ports": [{**port, "containerPort": port["port"]} for port in ports]}]
            pod = {"metadata": {**identity, "labels": {"pod": one.name}}, "spec": {"containers": containers}}
            graph.put(PODS, PODS.key(one.key), Pod.of(pod))
            continue
        interfaces = [{"name": "blue" if network else LEFT_OUT, "ports": ports}]
        networks = [{"name": "blue", "multus": {"networkName": "blue"}} if network else {"name": LEFT_OUT, "pod": {}}]
        spec = {"domain": {"devices": {"interfaces": interfaces}}, "networks": networks}
        labels = {"pod": "c"} if one.namespace != "z" else {"pod": "changed since"}
        template = {"metadata": {"labels": labels}, "spec": spec}
        graph.put(VMS, VMS.key(one.key), Vm.of({"metadata": identity, "spec": {"template": template}}))
        if one.namespace != "y":
            instance = instance_of({"metadata": {**identity, "labels": {"pod": "c"}}, "spec": spec})
            graph.put(INSTANCES, INSTANCES.key(one.key), instance)
    return graph


def put(graph: Graph, manifest: Manifest, *, gone: bool = False) -> None:
    """Let a policy be there, or go."""
    multi = manifest["kind"] == "MultiNetworkPolicy"
    collection: Collection[NetworkPolicy] = MULTI_POLICIES if multi else POLICIES
    found = NetworkPolicy.of_multi(manifest) if multi else NetworkPolicy.of(manifest)
    graph.put(collection, found.key, None if gone else found)


_FOREIGN = {one.kind: one.compile for one in FOREIGN_FEATURES}
_ADDED = [one for some in (FOREIGN_FEATURES, FEATURES) for feature in some for one in feature.extensions]


def policy_rows(key: ObjectKey, reader: Reader) -> list[Row]:
    return list(_FOREIGN[key.kind](key, reader).rows or ())


def rows_of_port(port: Port, reader: Reader) -> list[Row]:
    """Its row in all its groups, and what others add."""
    added = [one for one in _ADDED if one.model is Port]
    groups = frozenset(group for one in added if one.groups for group in one.groups(port, reader))
    own = [
        replace(row, groups=groups) if row.key == port_key(port) else row
        for row in port_rows(port, PODS_ON, ChassisOptions())
    ]
    return [*own, *(row for one in added for row in one.rows(port, reader))]


def rows_of(
    graph: Graph, ports: Iterable[Port], policies: Iterable[Manifest], further: Iterable[Row] = ()
) -> list[Row]:
    """All rows, from nothing."""
    keys = [ObjectKey(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]) for one in policies]
    keys += graph.objects(PEERS).keys()
    added = [one for one in _ADDED if one.model is ClusterSubnet]
    return [
        *vpc_rows(VPC),
        *subnet_rows(PODS_ON, Range.of(PODS_ON)),
        *further,
        *(row for one in added for row in graph.peek(partial(one.rows, PODS_ON))),
        *(row for key in keys for row in graph.peek(partial(policy_rows, key))),
        *(row for port in ports for row in graph.peek(partial(rows_of_port, port))),
    ]
