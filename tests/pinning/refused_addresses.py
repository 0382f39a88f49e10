"""Addresses and routes that VMs and pods may not ask for, and the whole text of each refusal."""

import json

from tests.pinning.inputs import (
    BLUE,
    CHECK,
    CHECK_NAD,
    LONG,
    MARK_POD,
    PIN_VM,
    SCHEMA,
    UNCHECKED,
    Body,
    Change,
    Row,
    asking,
    bringing,
    instance,
    lan,
    long,
    nad,
    pod,
    pod_routing,
    routing,
    subnet,
    vm,
)
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ADDRESSES, KUBEVIRT_ADDRESSES, PINNED, ROUTES

TWO = (("a", "blue-net"), ("b", "blue-net"))
FAR = {"destination": "192.168.0.0/16"}
OFF = (
    "route 192.168.0.0/16 by 10.9.0.1: 10.9.0.1 is no host address of 10.0.0.0/24, so that the NIC cannot reach it; "
    "name a machine of this network, or none for its gateway 10.0.0.1"
)
JSON_FORM = f'annotation {ADDRESSES} must be JSON like {{"blue": ["10.0.0.5"]}}'
TINY = (subnet("tiny", "10.2.0.0/30"), nad({"subnet": "tiny"}, "tiny-net"), vm(networks=(("tiny", "tiny-net"),)))
KEPT = (
    subnet("red", reservations=[{"address": "10.5.0.5", "vm": "web"}], excludes=["10.5.0.6-10.5.0.9"]),
    nad({"subnet": "red"}, "red-net"),
)
GOING: tuple[Body | Change, ...] = (
    {**subnet("red"), "metadata": {"name": "red", "finalizers": ["example.com/backup"]}},
    Change("Subnet", "red"),
    *(nad({"subnet": "red"}, name) for name in ("other-net", "red-net")),
)
RED = (("red", "red-net"),)
STOP_IT = "the guest still uses it there; stop the VM, and write this again"
ITS_NIC = (
    "an address stays with its NIC: write the VM without NIC {}, and ask for it when kubectl get addressleases has no "
    "{} any more"
)
RENAMED = asking("10.0.0.5", network="nic-0", networks=(("nic-0", "blue-net"),))
SWAPPED = {"metadata": {"annotations": {ADDRESSES: '{"a": ["10.0.0.6"], "b": ["10.0.0.5"]}'}}}
WITHOUT = {"metadata": {"annotations": {ADDRESSES: None}}, "spec": vm(networks=(("other", "foreign"),))["spec"]}

ADDRESSING: dict[str, tuple[Row, ...]] = {
    "Addresses that a VM asks for": (
        Row("outside of the Subnet's network", asking("10.0.1.5"), PIN_VM,
            "Subnet NS/blue: NIC blue: 10.0.1.5 is outside 10.0.0.0/24; choose an address of that network"),
        Row("the gateway", asking("10.0.0.1"), PIN_VM,
            "Subnet NS/blue: NIC blue: 10.0.0.1 is the gateway; choose another"),
        Row("the network address", asking("10.0.0.0"), PIN_VM,
            "Subnet NS/blue: NIC blue: 10.0.0.0 is the network address; choose another"),
        Row("the broadcast address", asking("10.0.0.255"), PIN_VM,
            "Subnet NS/blue: NIC blue: 10.0.0.255 is the broadcast address; choose another"),
        Row("malformed", asking("ten"), PIN_VM,
            "Subnet NS/blue: NIC blue: ten is not an IPv4 address; write it like 10.0.0.10"),
        Row("of a family that the Subnet does not have", asking("fd00::5"), PIN_VM,
            "Subnet NS/blue: NIC blue: fd00::5 is not an IPv4 address; write it like 10.0.0.10"),
        Row("two of one family", asking("10.0.0.5", "10.0.0.6"), PIN_VM,
            "Subnet NS/blue: NIC blue: 10.0.0.5 and 10.0.0.6 are both IPv4; a NIC has one address of each family"),
        Row("held by another VM", asking("10.0.0.5", name="web"), PIN_VM,
            "Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; choose another or remove the request",
            code=409, after=(asking("10.0.0.5"),)),
        Row("held by the VM's own NIC of an earlier name", Change("VirtualMachine", "db", RENAMED), PIN_VM,
            f"Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; {STOP_IT}",
            code=409, after=(asking("10.0.0.5"), instance())),
        Row("swapped between two NICs of the VM", Change("VirtualMachine", "db", SWAPPED), PIN_VM,
            f"Subnet NS/blue: 10.0.0.6 is held by VM NS/db, NIC b; {STOP_IT}",
            code=409, after=(vm(networks=TWO, annotations={ADDRESSES: '{"a": ["10.0.0.5"], "b": ["10.0.0.6"]}'}), instance())),
        Row("held by a NIC that the VM had a moment ago", Change("VirtualMachine", "db", RENAMED), PIN_VM,
            f"Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; {ITS_NIC.format('blue', '10.0.0.5.blue.NS')}",
            code=409, after=(asking("10.0.0.5"), Change("VirtualMachine", "db", WITHOUT))),
        Row("asked for by two NICs of the VM",
            vm(networks=TWO, annotations={ADDRESSES: '{"a": ["10.0.0.5"], "b": ["10.0.0.5"]}'}), PIN_VM,
            "Subnet NS/blue: NICs a and b both ask for 10.0.0.5; give them different ones"),
        Row("reserved for another VM", asking("10.5.0.5", network="red", networks=RED), PIN_VM,
            "Subnet NS/red: NIC red: 10.5.0.5 is reserved for VM NS/web; choose another", after=KEPT),
        Row("excluded", asking("10.5.0.7", network="red", networks=RED), PIN_VM,
            "Subnet NS/red: NIC red: 10.5.0.7 is excluded; choose another", after=KEPT),
        Row("for a network that the VM does not have", asking("10.0.0.5", network="green"), PIN_VM,
            f"annotation {ADDRESSES}: the VM has no network green; it has blue"),
        Row("for another plugin's network",
            vm(networks=(*BLUE, ("other", "foreign")), annotations={ADDRESSES: '{"other": ["10.0.0.5"]}'}), PIN_VM,
            f"annotation {ADDRESSES}: NIC other is on no network of virtnet; remove it there"),
        Row("asked for differently in two annotations",
            vm(annotations={ADDRESSES: '{"blue": ["10.0.0.5"]}'}, template={KUBEVIRT_ADDRESSES: '{"blue": ["10.0.0.6"]}'}),
            PIN_VM,
            f"NIC blue: {ADDRESSES} asks for 10.0.0.5, and {KUBEVIRT_ADDRESSES} of the template for 10.0.0.6; "
            "keep one of them"),
        Row("an annotation that is not JSON", vm(annotations={ADDRESSES: "blue=10.0.0.5"}), PIN_VM,
            f"{JSON_FORM}: Expecting value: line 1 column 1 (char 0)"),
        Row("an annotation of 10,000 brackets", vm(annotations={ADDRESSES: "[" * 10_000}), PIN_VM,
            f"{JSON_FORM}: maximum recursion depth exceeded while decoding a JSON array from a unicode string"),
        Row("an annotation with a list", vm(annotations={ADDRESSES: '["10.0.0.5"]'}), PIN_VM, JSON_FORM),
        Row("an annotation with an address that is no list", vm(annotations={ADDRESSES: '{"blue": "10.0.0.5"}'}), PIN_VM,
            f"{JSON_FORM}: blue has no list of addresses"),
        Row("an address of 256 KiB", asking(long("10.0.0.")), PIN_VM,
            f"annotation {ADDRESSES} has 262014 characters; virtnet reads at most 65536"),
        Row("a Subnet that is being deleted", vm("web", networks=(*BLUE, ("red", "red-net"))), PIN_VM,
            "Subnet NS/red is being deleted, and hands out no more addresses; use another Subnet, or make it anew when it is "
            "gone", code=409, after=GOING),
        Row("more of a ClusterSubnet than a namespace may hold for VMs that are not there",
            vm("web", networks=(("lan", "lan-net"),)), PIN_VM,
            "ClusterSubnet NS: namespace NS holds 64 addresses for VMs and pods that are not there yet, or never were; make "
            "those, or wait a minute until they are free again", code=429,
            after=(lan("10.6.0.0/24"), nad({"clusterSubnet": "NS"}, "lan-net"),
                *(vm(f"many{n}", networks=tuple((f"n{i}", "lan-net") for i in range(32))) for n in range(2)))),
        Row("a Subnet that is full", vm("web", networks=(*BLUE, ("tiny", "tiny-net"))), PIN_VM,
            "Subnet NS/tiny: no IPv4 address is left for NIC tiny of its 1; delete VMs that are not needed, or extend "
            "the Subnet's ranges", code=409, after=TINY),
        Row("32 NICs of which the last finds the Subnet full",
            vm("web", networks=(*((f"n{n}", "blue-net") for n in range(31)), ("tiny", "tiny-net"))), PIN_VM,
            "Subnet NS/tiny: no IPv4 address is left for NIC tiny of its 1; delete VMs that are not needed, or extend "
            "the Subnet's ranges", code=409, after=TINY),
    ),
    "Routes that a VM or pod asks for": (
        Row("by a gateway off the Subnet", routing(blue=[{**FAR, "gateway": "10.9.0.1"}]), PIN_VM,
            f"Subnet NS/blue: NIC blue: {OFF}"),
        Row("by the broadcast address", routing(blue=[{**FAR, "gateway": "10.0.0.255"}]), PIN_VM,
            f"Subnet NS/blue: NIC blue: {OFF.replace('10.9.0.1', '10.0.0.255')}"),
        Row("by a gateway of another family", routing(blue=[{**FAR, "gateway": "fd00::1"}]), PIN_VM,
            "Subnet NS/blue: NIC blue: route 192.168.0.0/16 by fd00::1: fd00::1 is not an IPv4 address; write it like 10.0.0.10"),
        Row("to a network with host bits", routing(blue=[{"destination": "192.168.0.1/16"}]), PIN_VM,
            "Subnet NS/blue: NIC blue: route 192.168.0.1/16: no network; write one like 192.168.0.0/16, with no host bits set"),
        Row("two to one network", routing(blue=[FAR, {**FAR, "gateway": "10.0.0.9"}]), PIN_VM,
            "Subnet NS/blue: NIC blue: route 192.168.0.0/16 by 10.0.0.9: there is another to 192.168.0.0/16; keep one of them"),
        Row("of a family that the Subnet does not have", pod_routing(net1=[{"destination": "fd20::/48"}]), MARK_POD,
            "Subnet NS/blue: interface net1: route fd20::/48: the Subnet has no such addresses; ask for routes of IPv4"),
        Row("IPv6 for a VM", routing(blue=[{"destination": "::/0"}]), PIN_VM,
            "Subnet NS/blue: NIC blue: route ::/0: guests learn IPv6 routes from advertisements of the Subnet's router, "
            "which are the same for all; write it into the guest"),
        Row("more than DHCP has room for", routing(blue=[{"destination": f"192.168.{n}.0/24"} for n in range(40)]), PIN_VM,
            "Subnet NS/blue: NIC blue: its routes and those of its Subnet take 325 bytes, and DHCP has room for 255; "
            "ask for fewer, or for wider ones"),
        Row("for a network that the VM does not have", routing(green=[FAR]), PIN_VM,
            f"annotation {ROUTES}: the VM has no network green; it has blue"),
        Row("for another plugin's network",
            vm(networks=(*BLUE, ("other", "foreign")), annotations={ROUTES: json.dumps({"other": [FAR]})}), PIN_VM,
            f"annotation {ROUTES}: NIC other is on no network of virtnet; remove it there"),
        Row("two default routes",
            vm(networks=TWO, annotations={ROUTES: json.dumps({key: [{"destination": "0.0.0.0/0"}] for key in "ab"})}), PIN_VM,
            f"annotation {ROUTES}: NICs a and b both ask for the default route; keep one"),
        Row("an annotation of another form", routing(blue=[{"to": "10.0.0.0/8"}]), PIN_VM,
            f'annotation {ROUTES}: routes must be like [{{"destination": "192.168.0.0/16", "gateway": "10.0.0.9"}}]'),
        Row("an annotation that is not JSON", vm(annotations={ROUTES: "blue"}), PIN_VM,
            f'annotation {ROUTES} must be JSON like {{"blue": [{{"destination": "192.168.0.0/16"}}]}}: Expecting value: '
            "line 1 column 1 (char 0)"),
        Row("for an interface that the pod does not have", pod_routing(net2=[FAR]), MARK_POD,
            f"annotation {ROUTES}: the pod has no interface net2 of virtnet; it has net1"),
        Row("a pod's default route", pod_routing(net1=[{"destination": "0.0.0.0/0"}]), MARK_POD,
            f"annotation {ROUTES}: interface net1: a pod chooses its default route by default-route in its selection of "
            "networks"),
        Row("two default routes of a pod",
            pod([{"name": "blue-net", "default-route": ["10.0.0.1"]}] * 2), MARK_POD,
            f"annotation {NETWORKS}: interfaces net1 and net2 both have a default-route of IPv4; keep one"),
        Row("in a NAD, by a gateway off the Subnet",
            nad({"subnet": "blue", "routes": [{"dst": "192.168.0.0/16", "gw": "10.9.0.1"}]}), CHECK_NAD,
            f"NetworkAttachmentDefinition NS/odd: spec.config: {OFF}"),
        Row("in a NAD, the default route", nad({"subnet": "blue", "routes": [{"dst": "0.0.0.0/0"}]}), CHECK_NAD,
            "NetworkAttachmentDefinition NS/odd: spec.config: routes: the default route is chosen by whoever has several "
            "NICs: a pod by default-route in its selection of networks, a VM by its annotation virtnet.dev/routes"),
        Row("in a NAD, of another form", nad({"subnet": "blue", "routes": "10.0.0.0/8"}), CHECK_NAD,
            'NetworkAttachmentDefinition NS/odd: spec.config: routes must be like [{"dst": "192.168.0.0/16", "gw": "10.0.0.9"}]'),
        Row("in a Subnet, more than DHCP has room for",
            subnet(routes=[{"destination": f"192.168.{n}.0/24", "gateway": "10.5.0.9"} for n in range(40)]), CHECK,
            "Subnet NS/odd: routes: they take 325 bytes, DHCP has room for 255; list fewer, wider ones"),
    ),
    "Records that a VM brings along": (
        Row("with the gateway", bringing(addresses=["10.0.0.1"]), PIN_VM,
            f"Subnet NS/blue: annotation {PINNED}, NIC blue: 10.0.0.1 is the gateway; choose another, or remove the "
            "annotation"),
        Row("with what another VM holds", bringing(), PIN_VM,
            "Subnet NS/blue: 10.0.0.5 is held by VM NS/first, NIC blue; choose another or remove the request",
            code=409, after=(asking("10.0.0.5", name="first"),)),
        Row("and annotations of 256 KiB beside it", vm(annotations={"notes": "x" * LONG}), SCHEMA,
            f"[metadata.annotations: Too long: may not be more than 262144 bytes, {UNCHECKED}]"),
    ),
}  # fmt: skip
