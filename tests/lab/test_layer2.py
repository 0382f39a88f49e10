"""Guests with machines and VLANs of their own, on real nodes: they keep both when they migrate, and from node to node."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.lab.labs import running
from tests.safety.spoken import octets, tagged
from tests.safety.wire import heard, wire
from virtnet.api.meta import API_VERSION
from virtnet.kube.kinds import VMIMS, VMIS
from virtnet.lab import netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.node.frames import announcements

pytestmark = pytest.mark.lab

NESTED, OUTSIDE = "0a:00:00:00:00:99", "0a:00:00:00:00:77"
TRUNK = {"vlanTrunks": [{"vlans": [{"id": 200}]}]}


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running("layer2", 3) as lab:
        found = Demo(lab)
        for body in (manifests.namespace(), manifests.provider_network()):
            found.apply(body)
        until(lambda: len(found.plugged("rack")) == 3, "NICs plugged in")
        subnet(found, "lan", providerNetwork="rack", vlan=100, portSecurity={"exempt": [f"{NAMESPACE}/outer"]})
        subnet(found, "untagged", "172.31.101.0/24", providerNetwork="rack", **TRUNK)
        subnet(found, "overlay", "172.31.102.0/24", **TRUNK)
        yield found


def subnet(demo: Demo, name: str, cidr: str = "172.31.100.0/24", **spec: object) -> None:
    """A ClusterSubnet, and the network by which VMs and pods name it."""
    whole = {"cidrs": [cidr], **spec}
    demo.apply({"apiVersion": API_VERSION, "kind": "ClusterSubnet", "metadata": {"name": name}, "spec": whole})
    demo.apply(manifests.nad(f"{name}-net", clusterSubnet=name))


@contextmanager
def nic(demo: Demo, vm: str, node: str) -> Iterator[socket.socket]:
    """The NIC of a VM's pod on a node: what is sent there seems to come from the guest."""
    pods = (demo.get(VMIS, vm) or {})["status"]["activePods"]
    where = demo.lab.names.pod(next(uid for uid, home in pods.items() if home == node))
    links = json.loads(netns.run("ip", "-json", "link", netns=where))
    with wire(where, next(link["ifname"] for link in links if link["ifname"].endswith("-nic"))) as found:
        yield found


def heard_of(listener: socket.socket, sender: socket.socket, *frames: bytes) -> list[bytes]:
    """What is heard until the last of these frames, or for a second."""
    for frame in frames:
        sender.send(frame)
    listener.settimeout(1)
    found: list[bytes] = []
    with suppress(TimeoutError):
        while frames[-1] not in found:
            found.append(heard(listener))
    return found


def migrated(demo: Demo, vm: str, mac: str, vlan: int, tag: int = 0) -> str:
    """Have a VM migrate whose MAC the switch outside knows in a VLAN; the node where it is when that knows of it."""
    home = until(lambda: demo.node_of(vm), "the VM running")
    target = next(node for node in demo.lab.nodes if node != home)
    (said,) = announcements(mac, (), tag)
    with nic(demo, vm, home) as guest:

        def learned() -> bool:
            guest.send(said)
            return demo.lab.physical.where(mac, vlan) == home

        until(learned, "its MAC known outside")
    migration = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": vm, "namespace": NAMESPACE},
        "spec": {"vmiName": vm, "addedNodeSelector": {"kubernetes.io/hostname": target}},
    }
    demo.lab.ask(lambda cluster: cluster.create(VMIMS, migration, NAMESPACE))
    until(lambda: demo.node_of(vm) == target, "the VM moved")
    until(lambda: demo.lab.physical.where(mac, vlan) == target, "its MAC known elsewhere")
    return target


def test_a_machine_within_a_guest_is_reached_after_a_live_migration_though_it_says_nothing(demo: Demo) -> None:
    """OVN goes on sending what is for its MAC to the guest, and the switch outside is told where that is."""
    demo.apply(manifests.vm("outer", network="lan"))
    target = migrated(demo, "outer", NESTED, 100)
    asked = octets(NESTED) + octets(OUTSIDE) + b"\x88\xb5" + bytes(50)
    with nic(demo, "outer", target) as guest, wire(demo.lab.physical.outside, "vlan100") as outside:
        until(lambda: asked in heard_of(guest, outside, asked), "it is reached")


def test_a_guest_is_known_in_its_vlans_after_a_live_migration_though_it_says_nothing_there(demo: Demo) -> None:
    demo.apply(manifests.vm("tagger", network="untagged"))
    until(lambda: demo.node_of("tagger"), "the VM running")
    _, mac = demo.pinned("tagger")
    migrated(demo, "tagger", mac, 200, tag=200)


def test_a_trunk_keeps_its_tags_from_node_to_node(demo: Demo) -> None:
    """Through a tunnel."""
    pods = ("on-node1", "on-node3")
    for name in pods:
        demo.apply(manifests.probe(name.removeprefix("on-"), name=name, network="overlay"))
    until(lambda: all(map(demo.pod_runs, pods)), "both running")
    here, there = (demo.lab.pod_netns(f"{NAMESPACE}/{name}") for name in pods)
    (link,) = json.loads(netns.run("ip", "-json", "link", "show", "net1", netns=here))
    said = octets("ff:ff:ff:ff:ff:ff") + octets(link["address"]) + b"\x88\xb5" + bytes(50)
    permitted, other = tagged(said, 200), tagged(said, 201)
    with wire(here, "net1") as one, wire(there, "net1") as two:
        until(lambda: permitted in heard_of(two, one, permitted), "tagged frames passing")
        assert other not in heard_of(two, one, other, permitted)
