"""A large cluster as objects of the API server and rows of OVN: what is measured, as admission, nodes and northd left it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from tests.bench.api_server import ApiServer
from virtnet.api import AddressLease, NodeNetwork, Port, Subnet, SubnetRef, Vpc
from virtnet.api.kubevirt import MIGRATION_JOB_UID
from virtnet.api.meta import API_VERSION
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, OWNER_LABEL, PINNED, label_value, pod_interface, port_name
from virtnet.api.records import Attachment, PinnedNic, PinnedRecord, attachments_annotation
from virtnet.controllers.ownership import desired_ports
from virtnet.features.leases import leases_of
from virtnet.features.workloads import Vm
from virtnet.kube import kinds
from virtnet.kube.kinds import NADS, NODES, PODS, VMIMS, VMIS, VMS

Body = dict[str, Any]

NAMESPACE = "demo"
NET = "net"
SMALL_VPC = 10
"""Subnets in each Vpc but the large one, which has half of all."""
CROWD = 5
"""The part of all Ports that is in one Subnet is one of so many."""

PORTS, LEASES, SUBNETS = kinds.of(Port), kinds.of(AddressLease), kinds.of(Subnet)


@dataclass(frozen=True)
class Size:
    """How large a cluster is."""

    ports: int
    subnets: int

    @property
    def nodes(self) -> int:
        return max(2, self.subnets // 2)

    @property
    def crowd(self) -> int:
        """The Ports in the first Subnet."""
        return self.ports // CROWD

    def subnet_of(self, guest: int) -> tuple[int, int]:
        """The Subnet of a guest, and its number there. Guests that come later are in small Subnets, too."""
        if guest < self.crowd:
            return 0, guest
        rest = guest - self.crowd
        return 1 + rest % (self.subnets - 1), rest // (self.subnets - 1)

    def node_of(self, guest: int) -> str:
        return f"node{guest % self.nodes}"


def chassis_of(node: str) -> str:
    return f"chassis-{node}"


def subnet_name(number: int) -> str:
    return f"net{number}"


def subnet(size: Size, number: int) -> Body:
    vpc = {} if number < size.subnets // 2 else {"vpc": {"kind": "Vpc", "name": f"vpc{number // SMALL_VPC}"}}
    cidr = "172.16.0.0/16" if number == 0 else f"10.{number >> 8}.{number & 255}.0/24"
    metadata = {"name": subnet_name(number), "namespace": NAMESPACE}
    return {"apiVersion": API_VERSION, "kind": "Subnet", "metadata": metadata, "spec": {"cidrs": [cidr], **vpc}}


def network(number: int) -> Body:
    """The NetworkAttachmentDefinition of a Subnet, by its name."""
    name = subnet_name(number)
    config = {"cniVersion": "1.1.0", "name": name, "type": "virtnet-cni", "subnet": name}
    metadata = {"name": name, "namespace": NAMESPACE}
    kind = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
    return {**kind, "metadata": metadata, "spec": {"config": json.dumps(config)}}


@dataclass(frozen=True)
class Guest:
    """A VM with one NIC."""

    size: Size
    number: int

    @property
    def name(self) -> str:
        return f"vm{self.number}"

    @property
    def port(self) -> str:
        """The Port's key."""
        return f"{NAMESPACE}/{port_name(self.name, NET)}"

    @property
    def node(self) -> str:
        return self.size.node_of(self.number)

    @property
    def nic(self) -> PinnedNic:
        """What its NIC holds."""
        of, place = self.size.subnet_of(self.number)
        network = IPv4Address("172.16.0.0") if of == 0 else IPv4Address(f"10.{of >> 8}.{of & 255}.0")
        return PinnedNic(
            nad=f"{NAMESPACE}/{subnet_name(of)}",
            subnet=SubnetRef(kind="Subnet", namespace=NAMESPACE, name=subnet_name(of)),
            mac=f"02:76:6e:{self.number >> 16:02x}:{self.number >> 8 & 255:02x}:{self.number & 255:02x}",
            addresses=(str(network + 10 + place),),
        )

    def vm(self) -> Body:
        """As admission lets it in."""
        nic, of = self.nic, self.size.subnet_of(self.number)[0]
        record = PinnedRecord(vm=f"{NAMESPACE}/{self.name}", nics={NET: nic})
        devices = {
            "interfaces": [{"name": NET, "bridge": {}, "macAddress": nic.mac}],
            "disks": [{"name": "root", "disk": {"bus": "virtio"}}],
        }
        template = {
            "domain": {"devices": devices, "memory": {"guest": "1Gi"}},
            "networks": [{"name": NET, "multus": {"networkName": subnet_name(of)}}],
            "volumes": [{"name": "root", "containerDisk": {"image": "registry.example/debian:12"}}],
        }
        return {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": self.name, "namespace": NAMESPACE, "annotations": {PINNED: record.annotation()}},
            "spec": {"runStrategy": "Halted", "template": {"spec": template}},
        }

    def owned(self, vm: Body) -> tuple[Body, list[Body]]:
        """The Port of a VM as the API server has that, and its leases, as the controller made and bound them."""
        read = Vm.of(vm)
        ((key, spec),) = desired_ports(read.key, read, ()).items()
        labels = {OWNER_LABEL: label_value(self.name)}
        metadata = {"name": key.partition("/")[2], "namespace": NAMESPACE, "labels": labels}
        port = {"apiVersion": API_VERSION, "kind": "Port", "metadata": metadata}
        bound = {"phase": "Bound", "ownerUid": read.uid, "boundAt": "2026-01-01T00:00:00Z"}
        leases = [{**lease.manifest(), "status": bound} for lease in leases_of(key, spec).values()]
        return {**port, "spec": spec.model_dump(mode="json", by_alias=True)}, leases

    def leases(self) -> list[Body]:
        """What admission writes before the VM is let in."""
        body = self.vm()
        _, leases = self.owned({**body, "metadata": {**body["metadata"], "uid": "-"}})
        return [{name: value for name, value in lease.items() if name != "status"} for lease in leases]


def fill(server: ApiServer, size: Size) -> None:
    """Put all objects of a cluster into an API server; ClusterVpc default is made by the controller."""
    for number in range(size.nodes):
        _put_node(server, f"node{number}", number)
    vpcs = {number // SMALL_VPC for number in range(size.subnets // 2, size.subnets)}
    for vpc in sorted(vpcs):
        metadata = {"name": f"vpc{vpc}", "namespace": NAMESPACE}
        server.put(kinds.of(Vpc), {"apiVersion": API_VERSION, "kind": "Vpc", "metadata": metadata})
    for number in range(size.subnets):
        server.put(SUBNETS, subnet(size, number))
        server.put(NADS, network(number))
    for number in range(size.ports):
        guest = Guest(size, number)
        port, leases = guest.owned(server.put(VMS, guest.vm()))
        server.put(PORTS, port)
        for lease in leases:
            server.put(LEASES, lease)


def _put_node(server: ApiServer, name: str, number: int) -> None:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    server.put(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
    status = {"chassis": chassis_of(name), "encapIps": [encap(number)], "tunnelMtu": 1500, "datapath": "system"}
    body = {"apiVersion": API_VERSION, "kind": "NodeNetwork", "metadata": {"name": name}, "spec": {}}
    server.put(kinds.of(NodeNetwork), {**body, "status": status})


def encap(number: int) -> str:
    return str(IPv4Address("192.168.0.0") + number + 1)


@dataclass(frozen=True)
class Move:
    """A live migration of one guest to another node."""

    guest: Guest

    @property
    def target(self) -> str:
        return self.guest.size.node_of(self.guest.number + 1)

    @property
    def migration(self) -> str:
        return f"migration-{self.guest.name}"

    def begin(self, server: ApiServer) -> None:
        """The guest runs, and its target pod is there."""
        guest = self.guest
        instance = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance"}
        metadata = {"name": guest.name, "namespace": NAMESPACE}
        status = {"nodeName": guest.node, "phase": "Running"}
        uid = server.put(VMIS, {**instance, "metadata": metadata, "spec": {}, "status": status})["metadata"]["uid"]
        owner = {**instance, "name": guest.name, "uid": uid, "controller": True}
        server.put(PODS, _pod(guest, "a", guest.node, owner))
        migration = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": self.migration, "namespace": NAMESPACE},
            "spec": {"vmiName": guest.name},
            "status": {"phase": "Running"},
        }
        made = server.put(VMIMS, migration)["metadata"]["uid"]
        server.put(PODS, _pod(guest, "b", self.target, owner, {MIGRATION_JOB_UID: made}))

    def arrive(self, server: ApiServer) -> None:
        """The guest runs on the target."""
        uid = server.body(VMIMS, NAMESPACE, self.migration)["metadata"]["uid"]
        state = {"migrationUid": uid, "targetNodeDomainReadyTimestamp": "2026-01-01T00:00:00Z"}
        server.change(VMIS, NAMESPACE, self.guest.name, {"status": {"migrationState": state}})


def _pod(guest: Guest, which: str, node: str, owner: Body, labels: Mapping[str, str] | None = None) -> Body:
    """A launcher pod as admission marks it."""
    nic = guest.nic
    attachment = Attachment(
        port=guest.port,
        network=NET,
        nad=nic.network_attachment_definition,
        subnet=nic.subnet,
        mac=nic.mac,
        addresses=tuple(f"{address}/24" for address in nic.addresses),
        mtu=1442,
    )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"virt-launcher-{guest.name}-{which}",
            "namespace": NAMESPACE,
            "annotations": {ATTACHMENTS: attachments_annotation({pod_interface(NET): attachment})},
            "labels": {ATTACHED_LABEL: "true", **(labels or {})},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": node},
        "status": {"phase": "Running"},
    }


def bindings(size: Size) -> Iterator[tuple[str, int, str]]:
    """Port, Subnet and node of every guest."""
    for number in range(size.ports):
        guest = Guest(size, number)
        yield guest.port, size.subnet_of(number)[0], guest.node
