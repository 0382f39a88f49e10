"""Hard input, as a table: what is written, after what, by whom it is refused, and the whole text of the refusal.

``NS`` stands for the tenant's namespace. docs/errors.md is made of it: ``python -m tests.pinning.inputs``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.told import CNI, NICS, NODES, PORTS, PROVIDERS, SUBNETS, Section
from virtnet.api.meta import API_VERSION
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ADDRESSES, KUBEVIRT_ADDRESSES, PINNED, ROUTES

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
SCHEMA = "API server"
PIN_VM, MARK_POD = "pin-vm", "mark-pod"
CHECK_SUBNET, CHECK_PROVIDER_NETWORK, CHECK_NAD = "check-subnet", "check-provider-network", "check-nad"
WARNING = "check-subnet, which warns"

Body = dict[str, Any]
BLUE = (("blue", "blue-net"),)
TWO = (("a", "blue-net"), ("b", "blue-net"))
MAC = "02:00:00:00:00:05"
FAR = {"destination": "192.168.0.0/16"}
OFF = (
    "route 192.168.0.0/16 by 10.9.0.1: 10.9.0.1 is no host address of 10.0.0.0/24, so that the NIC cannot reach it; "
    "name a machine of this network, or none for its gateway 10.0.0.1"
)
BEGIN = "<!-- What follows is generated: python -m tests.pinning.inputs -->"
LONG = 262_000
"""Bytes of an annotation, just below what the API server takes."""


@dataclass(frozen=True)
class Change:
    """A merge patch of an object; None: its deletion."""

    kind: str
    name: str
    patch: Body | None = None


@dataclass(frozen=True)
class Row:
    """One bad input."""

    given: str
    what: Body | Change
    by: str
    says: str
    """After what the API server puts before it."""
    code: int = 422
    after: tuple[Body | Change, ...] = ()
    """What was written before, and taken."""


def vm(
    name: str = "db",
    *,
    networks: tuple[tuple[str, str], ...] = BLUE,
    macs: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    template: Mapping[str, str] | None = None,
) -> Body:
    """A VM manifest as people write it. ``networks``: name and NAD of each NIC."""
    interfaces = [
        {"name": n, "bridge": {}, **({"macAddress": macs[n]} if macs and n in macs else {})} for n, _ in networks
    ]
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, **({"annotations": dict(annotations)} if annotations else {})},
        "spec": {
            "runStrategy": "Halted",
            "template": {
                "metadata": {"annotations": dict(template)} if template else {},
                "spec": {
                    "domain": {"devices": {"interfaces": interfaces}, "memory": {"guest": "128Mi"}},
                    "networks": [{"name": n, "multus": {"networkName": nad}} for n, nad in networks],
                },
            },
        },
    }


def asking(
    *addresses: str, name: str = "db", network: str = "blue", networks: tuple[tuple[str, str], ...] = BLUE
) -> Body:
    return vm(name, networks=networks, annotations={ADDRESSES: json.dumps({network: addresses})})


def routing(**routes: list[dict[str, str]]) -> Body:
    """A VM that asks for routes of its networks."""
    return vm(annotations={ROUTES: json.dumps(routes)})


def bringing(**nic: Any) -> Body:
    """A VM that says what it would have been pinned to."""
    subnet = {"kind": "Subnet", "namespace": "NS", "name": "blue"}
    whole = {"nad": "NS/blue-net", "subnet": subnet, "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.5"], **nic}
    return vm(annotations={PINNED: json.dumps({"vm": "NS/db", "nics": {"blue": whole}})})


def pod(networks: Any = "blue-net", name: str = "web") -> Body:
    """A pod as people write it. ``networks``: Multus' annotation, as text or as what becomes JSON."""
    text = networks if isinstance(networks, str) else json.dumps(networks)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": {NETWORKS: text}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }


def pod_routing(**routes: list[dict[str, str]]) -> Body:
    """A pod that asks for routes of its interfaces."""
    body = pod()
    body["metadata"]["annotations"][ROUTES] = json.dumps(routes)
    return body


def nad(config: Any, name: str = "odd") -> Body:
    text = config if isinstance(config, str) else json.dumps({"type": "virtnet-cni", **config})
    kind = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
    return {**kind, "metadata": {"name": name}, "spec": {"config": text}}


def subnet(name: str = "odd", cidrs: str = "10.5.0.0/24", **spec: Any) -> Body:
    """In a Vpc of its own. ``cidrs``: one network, or one of each family with a space between."""
    whole = {"vpc": {"kind": "Vpc", "name": name[:63]}, "cidrs": cidrs.split(), **spec}
    return {"apiVersion": API_VERSION, "kind": "Subnet", "metadata": {"name": name}, "spec": whole}


def lan(cidrs: str = "10.5.0.0/24", name: str = "NS", **spec: Any) -> Body:
    """A ClusterSubnet, in a ClusterVpc of its own."""
    whole = {"vpc": {"kind": "ClusterVpc", "name": name}, "cidrs": cidrs.split(), **spec}
    return {"apiVersion": API_VERSION, "kind": "ClusterSubnet", "metadata": {"name": name}, "spec": whole}


def network(name: str = "NS", nic: str = "NSnic", **spec: Any) -> Body:
    kind = {"apiVersion": API_VERSION, "kind": "ProviderNetwork"}
    return {**kind, "metadata": {"name": name}, "spec": {"defaultNic": nic, **spec}}


def vpc(kind: str, **spec: Any) -> Body:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "NS"}, "spec": spec}


def node(name: str = "NS") -> Body:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"site": "NS"}}}


def long(start: str) -> str:
    return start + "9" * (LONG - len(start))


JSON_FORM = f'annotation {ADDRESSES} must be JSON like {{"blue": ["10.0.0.5"]}}'
ASKED_FOR = {"snooping": True, "querier": True}
QUERIER = (
    "spec.multicast: Invalid value: multicast.querierAddress needs multicast.querier and must be IPv4: IPv6 is asked from a "
    "link-local address"
)
CIDR_FORM = (
    "must be a unicast network such as 10.10.0.0/24 or fd00:10::/64, prefix 8 to 30 in IPv4, 64 to 126 in IPv6, "
    "no host bits set"
)
UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
TINY = (subnet("tiny", "10.2.0.0/30"), nad({"subnet": "tiny"}, "tiny-net"), vm(networks=(("tiny", "tiny-net"),)))
KEPT = (
    subnet("red", reservations=[{"address": "10.5.0.5", "vm": "web"}], excludes=["10.5.0.6-10.5.0.9"]),
    nad({"subnet": "red"}, "red-net"),
)
RED = (("red", "red-net"),)

TABLE: dict[str, tuple[Row, ...]] = {
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
        Row("asked for by two NICs of the VM",
            vm(networks=TWO, annotations={ADDRESSES: '{"a": ["10.0.0.5"], "b": ["10.0.0.5"]}'}), PIN_VM,
            "Subnet NS/blue: NICs a and b both ask for 10.0.0.5; give them different ones"),
        Row("reserved for another VM", asking("10.5.0.5", network="red", networks=RED), PIN_VM,
            "Subnet NS/red: NIC red: 10.5.0.5 is reserved for VM NS/web; choose another", after=KEPT),
        Row("excluded", asking("10.5.0.7", network="red", networks=RED), PIN_VM,
            "Subnet NS/red: NIC red: 10.5.0.7 is excluded; choose another", after=KEPT),
        Row("for a network that the VM does not have", asking("10.0.0.5", network="green"), PIN_VM,
            f"annotation {ADDRESSES}: the VM has no network green; it has blue"),
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
            f"Subnet NS/blue: NIC blue: {long('10.0.0.')} is not an IPv4 address; write it like 10.0.0.10"),
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
        Row("in a NAD, by a gateway off the Subnet",
            nad({"subnet": "blue", "routes": [{"dst": "192.168.0.0/16", "gw": "10.9.0.1"}]}), CHECK_NAD,
            f"NetworkAttachmentDefinition NS/odd: spec.config: {OFF}"),
        Row("in a NAD, the default route", nad({"subnet": "blue", "routes": [{"dst": "0.0.0.0/0"}]}), CHECK_NAD,
            "NetworkAttachmentDefinition NS/odd: spec.config: routes: the default route is chosen by whoever has several "
            "NICs: a pod by default-route in its selection of networks, a VM by its annotation virtnet.dev/routes"),
        Row("in a NAD, of another form", nad({"subnet": "blue", "routes": "10.0.0.0/8"}), CHECK_NAD,
            'NetworkAttachmentDefinition NS/odd: spec.config: routes must be like [{"dst": "192.168.0.0/16", "gw": "10.0.0.9"}]'),
        Row("in a Subnet, more than DHCP has room for",
            subnet(routes=[{"destination": f"192.168.{n}.0/24", "gateway": "10.5.0.9"} for n in range(40)]), CHECK_SUBNET,
            "Subnet NS/odd: routes: they take 325 bytes, DHCP has room for 255; list fewer, wider ones"),
    ),
    "Records that a VM brings along": (
        Row("with the gateway", bringing(addresses=["10.0.0.1"]), PIN_VM,
            f"Subnet NS/blue: annotation {PINNED}, NIC blue: 10.0.0.1 is the gateway; choose another, or remove the "
            "annotation"),
        Row("with what is no address", bringing(addresses=["../pods"]), PIN_VM,
            f"Subnet NS/blue: annotation {PINNED}, NIC blue: ../pods is not an IPv4 address; write it like 10.0.0.10, "
            "or remove the annotation"),
        Row("without addresses", bringing(addresses=[]), PIN_VM,
            f"annotation {PINNED}, NIC blue: 0 addresses; remove the annotation"),
        Row("with a multicast MAC", bringing(mac="ff:ff:ff:ff:ff:ff"), PIN_VM,
            "Subnet NS/blue: NIC blue: ff:ff:ff:ff:ff:ff is a multicast address; its first byte must be even"),
        Row("with what another VM holds", bringing(), PIN_VM,
            "Subnet NS/blue: 10.0.0.5 is held by VM NS/first, NIC blue; choose another or remove the request",
            code=409, after=(asking("10.0.0.5", name="first"),)),
        Row("and annotations of 256 KiB beside it", vm(annotations={"notes": "x" * LONG}), SCHEMA,
            f"[metadata.annotations: Too long: may not be more than 262144 bytes, {UNCHECKED}]"),
    ),
    "MAC addresses that a VM asks for": (
        Row("malformed", vm(macs={"blue": "2:0:0:0:0:1"}), PIN_VM,
            "Subnet NS/blue: NIC blue: 2:0:0:0:0:1 is not a MAC address; write it like 02:00:00:00:00:01"),
        Row("multicast", vm(macs={"blue": "01:00:5e:00:00:01"}), PIN_VM,
            "Subnet NS/blue: NIC blue: 01:00:5e:00:00:01 is a multicast address; its first byte must be even"),
        Row("zero", vm(macs={"blue": "00:00:00:00:00:00"}), PIN_VM,
            "Subnet NS/blue: NIC blue: 00:00:00:00:00:00 is no NIC's address; remove it, or choose another"),
        Row("held by another VM", vm("web", macs={"blue": MAC}), PIN_VM,
            f"Subnet NS/blue: {MAC} is held by VM NS/db, NIC blue; choose another or remove the request",
            code=409, after=(vm(macs={"blue": MAC}),)),
        Row("asked for by two NICs of the VM", vm(networks=TWO, macs={"a": MAC, "b": MAC.replace(":", "-")}), PIN_VM,
            f"Subnet NS/blue: NICs a and b both ask for {MAC}; give them different ones"),
    ),
    "NetworkAttachmentDefinitions": (
        Row("that does not exist", vm(networks=(("blue", "nowhere"),)), PIN_VM,
            "NetworkAttachmentDefinition NS/nowhere does not exist; create it first"),
        Row("whose name is none", vm(networks=(("blue", "a/b/c"),)), PIN_VM,
            "a/b/c is no name of a NetworkAttachmentDefinition; write name, or namespace/name"),
        Row("that names no Subnet", nad({}), CHECK_NAD,
            'NetworkAttachmentDefinition NS/odd: spec.config must name one Subnet, as "subnet" or "clusterSubnet"'),
        Row("that names two", nad({"subnet": "blue", "clusterSubnet": "blue"}), CHECK_NAD,
            'NetworkAttachmentDefinition NS/odd: spec.config must name one Subnet, as "subnet" or "clusterSubnet"'),
        Row("that names a list", nad({"subnet": ["blue"]}), CHECK_NAD,
            "NetworkAttachmentDefinition NS/odd: spec.config: subnet ['blue'] cannot be a Subnet's name"),
        Row("that is not JSON", nad('{"type":"virtnet-cni",'), CHECK_NAD,
            "NetworkAttachmentDefinition NS/odd: spec.config is not JSON (Expecting property name enclosed in double "
            "quotes: line 1 column 23 (char 22))"),
        Row("changed so that it names no Subnet", Change("NetworkAttachmentDefinition", "blue-net",
            {"spec": {"config": '{"type":"virtnet-cni"}'}}), CHECK_NAD,
            'NetworkAttachmentDefinition NS/blue-net: spec.config must name one Subnet, as "subnet" or "clusterSubnet"'),
        Row("that was there before virtnet and names no Subnet", vm(networks=(("odd", "odd"),)), PIN_VM,
            'NetworkAttachmentDefinition NS/odd: spec.config must name one Subnet, as "subnet" or "clusterSubnet"',
            after=(nad('{"type":"virtnet\\u002dcni"}'),)),
        Row("whose Subnet does not exist", vm(networks=(("odd", "odd"),)), PIN_VM,
            "NetworkAttachmentDefinition NS/odd names Subnet NS/gone, which does not exist; create it first",
            after=(nad({"subnet": "gone"}),)),
        Row("whose ClusterSubnet does not allow the namespace", vm(networks=(("odd", "odd"),)), PIN_VM,
            "ClusterSubnet NS may not be used from namespace NS; ask its owner to allow it",
            code=403, after=(lan(allowedNamespaces=["elsewhere"]), nad({"clusterSubnet": "NS"}))),
    ),
    "Pods": (
        Row("on a NAD that does not exist", pod("nowhere"), MARK_POD,
            "NetworkAttachmentDefinition NS/nowhere does not exist; create it first"),
        Row("with two networks on one interface", pod("blue-net@x,blue-net@x"), MARK_POD,
            f"annotation {NETWORKS}: two networks on interface x; name different ones"),
        Row("with an interface whose name is too long", pod("blue-net@interface-too-long"), MARK_POD,
            f"annotation {NETWORKS}: interface-too-long is no name for an interface; use at most 15 bytes, and no "
            "slash, colon or space"),
        Row("with an interface whose name takes too many bytes", pod("blue-net@" + "ä" * 8), MARK_POD,
            f"annotation {NETWORKS}: {'ä' * 8} is no name for an interface; use at most 15 bytes, and no slash, colon or "
            "space"),
        Row("with a selection of another form", pod("a/b/c"), MARK_POD,
            f"annotation {NETWORKS}: 'a/b/c' is not of the form namespace/name@interface"),
        Row("with an element that is none", pod("[1]"), MARK_POD, f"annotation {NETWORKS}: element 1 has no name"),
        Row("with addresses that are no list", pod([{"name": "blue-net", "ips": "10.0.0.5"}]), MARK_POD,
            f'annotation {NETWORKS}: element 1: ips must be a list like ["10.0.0.5/24"]'),
        Row("that ask for the gateway", pod([{"name": "blue-net", "ips": ["10.0.0.1/24"]}]), MARK_POD,
            "Subnet NS/blue: NIC net1: 10.0.0.1 is the gateway; choose another"),
        Row("that ask for a multicast MAC", pod([{"name": "blue-net", "mac": "01:00:00:00:00:00"}]), MARK_POD,
            "Subnet NS/blue: NIC net1: 01:00:00:00:00:00 is a multicast address; its first byte must be even"),
        Row("that ask for what a VM holds", pod([{"name": "blue-net", "ips": ["10.0.0.5"]}]), MARK_POD,
            "Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; choose another or remove the request",
            code=409, after=(asking("10.0.0.5"),)),
        Row("with a selection of 256 KiB", pod(long("blue-net@")), MARK_POD,
            f"annotation {NETWORKS}: {long('')} is no name for an interface; use at most 15 bytes, and no "
            "slash, colon or space"),
    ),
    "Subnets": (
        Row("without cidrs", {**subnet(), "spec": {}}, SCHEMA,
            f"[spec.cidrs: Required value, {UNCHECKED}]"),
        Row("no prefix", subnet(cidrs="10.0.0.0"), SCHEMA, f'spec.cidrs[0]: Invalid value: "10.0.0.0": {CIDR_FORM}'),
        Row("host bits", subnet(cidrs="10.0.0.1/24"), SCHEMA,
            f'spec.cidrs[0]: Invalid value: "10.0.0.1/24": {CIDR_FORM}'),
        Row("too small", subnet(cidrs="10.0.0.0/31"), SCHEMA,
            f'spec.cidrs[0]: Invalid value: "10.0.0.0/31": {CIDR_FORM}'),
        Row("too large in IPv6", subnet(cidrs="fd00::/48"), SCHEMA,
            f'spec.cidrs[0]: Invalid value: "fd00::/48": {CIDR_FORM}'),
        Row("link-local", subnet(cidrs="fe80::/64"), SCHEMA, f'spec.cidrs[0]: Invalid value: "fe80::/64": {CIDR_FORM}'),
        Row("multicast", subnet(cidrs="224.0.0.0/8"), SCHEMA,
            f'spec.cidrs[0]: Invalid value: "224.0.0.0/8": {CIDR_FORM}'),
        Row("IPv4 written as IPv6", subnet(cidrs="::ffff:10.0.0.0/120"), SCHEMA,
            f'spec.cidrs[0]: Invalid value: "::ffff:10.0.0.0/120": {CIDR_FORM}'),
        Row("host bits in IPv6", subnet(cidrs="fd00::1/64"), SCHEMA,
            f'spec.cidrs[0]: Invalid value: "fd00::1/64": {CIDR_FORM}'),
        Row("unspecified in IPv6", subnet(cidrs="::/64"), SCHEMA, f'spec.cidrs[0]: Invalid value: "::/64": {CIDR_FORM}'),
        Row("subnet-router anycast address as gateway", subnet(cidrs="fd00::/64", gateways=["fd00::"]), SCHEMA,
            "<nil>: Invalid value: each of gateways must be a host address of one of cidrs"),
        Row("two networks of one family", subnet(cidrs="10.0.0.0/24 10.0.1.0/24"), SCHEMA,
            "<nil>: Invalid value: cidrs must be of different families: one of IPv4, one of IPv6, or one of each"),
        Row("a multicast querier's address in IPv6", subnet(cidrs="fd00::/64",
            multicast={**ASKED_FOR, "querierAddress": "fd00::5"}), SCHEMA, QUERIER),
        Row("a multicast querier's address without a querier", subnet(
            multicast={"snooping": True, "querierAddress": "10.0.0.5"}), SCHEMA, QUERIER),
        Row("three networks", subnet(cidrs="10.0.0.0/24 fd00::/64 fd01::/64"), SCHEMA,
            f"[spec.cidrs: Too many: 3: must have at most 2 items, {UNCHECKED}]"),
        Row("an MTU below 576", subnet(mtu=100), SCHEMA,
            "spec.mtu: Invalid value: 100: spec.mtu in body should be greater than or equal to 576"),
        Row("an MTU too small for IPv6", subnet(cidrs="fd00::/64", mtu=1200), SCHEMA,
            "<nil>: Invalid value: mtu must be at least 1280 where there is IPv6"),
        Row("gateway outside", subnet(gateways=["10.6.0.1"]), SCHEMA,
            "<nil>: Invalid value: each of gateways must be a host address of one of cidrs"),
        Row("network address as gateway", subnet(gateways=["10.5.0.0"]), SCHEMA,
            "<nil>: Invalid value: each of gateways must be a host address of one of cidrs"),
        Row("link-local gateway", subnet(cidrs="fd00::/64", gateways=["fe80::1"]), SCHEMA,
            '[<nil>: Invalid value: each of gateways must be a host address of one of cidrs, spec.gateways[0]: Invalid value: "fe80::1": must be a unicast address such as 10.10.0.1 or fd00:10::1]'),
        Row("broadcast address as gateway", subnet(gateways=["10.5.0.255"]), CHECK_SUBNET,
            "Subnet NS/odd: gateways: 10.5.0.255 is no host address of 10.5.0.0/24"),
        Row("two gateways of one family", subnet(gateways=["10.5.0.1", "10.5.0.2"]), SCHEMA,
            "<nil>: Invalid value: gateways must be of different families: one for each of cidrs"),
        Row("a range with a letter", subnet(excludes=["10.5.0.5-x"]), SCHEMA,
            'spec.excludes[0]: Invalid value: "10.5.0.5-x": must be an address (10.10.0.200) or a range (10.10.0.10-10.10.0.99)'),
        Row("a range of no addresses", subnet(excludes=["10.5.0.999"]), CHECK_SUBNET,
            "Subnet NS/odd: excludes: 10.5.0.999 is neither an address nor a range like 10.10.0.10-10.10.0.99"),
        Row("a range that ends before it begins", subnet(ranges=["10.5.0.9-10.5.0.2"]), CHECK_SUBNET,
            "Subnet NS/odd: ranges: 10.5.0.9-10.5.0.2 ends before it begins; write 10.5.0.2-10.5.0.9"),
        Row("a range that leaves the network", subnet(ranges=["10.5.0.9-10.5.1.2"]), CHECK_SUBNET,
            "Subnet NS/odd: ranges: 10.5.0.9-10.5.1.2 is not inside 10.5.0.0/24"),
        Row("an exclude outside", subnet(excludes=["10.6.0.1"]), CHECK_SUBNET,
            "Subnet NS/odd: excludes: 10.6.0.1 is not inside 10.5.0.0/24"),
        Row("a reservation outside", subnet(reservations=[{"address": "10.6.0.7", "vm": "db"}]), CHECK_SUBNET,
            "Subnet NS/odd: reservations: 10.6.0.7 is no host address of 10.5.0.0/24"),
        Row("the gateway reserved", subnet(reservations=[{"address": "10.5.0.1", "vm": "db"}]), CHECK_SUBNET,
            "Subnet NS/odd: reservations: 10.5.0.1 is the gateway; reserve another address"),
        Row("one address reserved twice",
            subnet(reservations=[{"address": "10.5.0.7", "vm": "db"}, {"address": "10.5.0.7", "vm": "web"}]),
            CHECK_SUBNET, "Subnet NS/odd: reservations: 10.5.0.7 is kept for NS/db and for NS/web; remove one of them"),
        Row("host bits in a route", subnet(routes=[{"destination": "10.9.0.1/24", "gateway": "10.5.0.9"}]), SCHEMA,
            'spec.routes[0].destination: Invalid value: "10.9.0.1/24": must be a network such as 192.168.0.0/16 or fd00:20::/48, no host bits set'),
        Row("overlapping another in its Vpc", subnet(cidrs="10.0.0.128/25", vpc={"kind": "Vpc", "name": "blue"}),
            CHECK_SUBNET,
            "Subnet NS/odd: 10.0.0.128/25 overlaps 10.0.0.0/24 of Subnet NS/blue in the same Vpc; choose another "
            "network or another Vpc", code=409),
        Row("in a ClusterVpc that does not allow the namespace", subnet(vpc={"kind": "ClusterVpc", "name": "NS"}),
            CHECK_SUBNET,
            "Subnet NS/odd: ClusterVpc NS does not allow namespace NS; ask its owner, or name another Vpc",
            code=403, after=(vpc("ClusterVpc", allowedNamespaces=["elsewhere"]),)),
        Row("cidrs changed", Change("Subnet", "blue", {"spec": {"cidrs": ["10.0.0.0/25"]}}), SCHEMA,
            "<nil>: Invalid value: cidrs are immutable: create another Subnet and move the VMs"),
        Row("Vpc changed", Change("Subnet", "blue", {"spec": {"vpc": {"name": "other"}}}), SCHEMA,
            "<nil>: Invalid value: vpc is immutable: create another Subnet and move the VMs"),
        Row("a gateway that a VM holds", Change("Subnet", "blue", {"spec": {"gateways": ["10.0.0.5"]}}), CHECK_SUBNET,
            "Subnet NS/blue: gateway 10.0.0.5 is held by VM NS/db, NIC blue; choose another",
            code=409, after=(asking("10.0.0.5"),)),
        Row("a multicast querier's address that a VM holds",
            Change("Subnet", "blue", {"spec": {"multicast": {**ASKED_FOR, "querierAddress": "10.0.0.5"}}}),
            CHECK_SUBNET,
            "Subnet NS/blue: address of the router or the querier 10.0.0.5 is held by VM NS/db, NIC blue; choose another",
            code=409, after=(asking("10.0.0.5"),)),
        Row("addresses in use excluded", Change("Subnet", "blue", {"spec": {"excludes": ["10.0.0.5-10.0.0.9"]}}),
            WARNING,
            "Subnet NS/blue: 1 addresses in use are now excluded or outside of ranges, one of them 10.0.0.5 of "
            "VM NS/db, NIC blue; their holders keep them", after=(asking("10.0.0.5"),)),
        Row("ranges without addresses in use", Change("Subnet", "blue", {"spec": {"ranges": ["10.0.0.90-10.0.0.99"]}}),
            WARNING,
            "Subnet NS/blue: 1 addresses in use are now excluded or outside of ranges, one of them 10.0.0.5 of "
            "VM NS/db, NIC blue; their holders keep them", after=(asking("10.0.0.5"),)),
        Row("an address in use reserved for another VM",
            Change("Subnet", "blue", {"spec": {"reservations": [{"address": "10.0.0.5", "vm": "web"}]}}), WARNING,
            "Subnet NS/blue: 10.0.0.5, now reserved for VM NS/web, stays with VM NS/db, NIC blue",
            after=(asking("10.0.0.5"),)),
        Row("deleted in use", Change("Subnet", "blue"), CHECK_SUBNET,
            "Subnet NS/blue is in use: 2 leases, one of them 10.0.0.5 of VM NS/db, NIC blue; delete its VMs first",
            code=409, after=(vm(macs={"blue": "f2:00:00:00:00:05"}, annotations={ADDRESSES: '{"blue": ["10.0.0.5"]}'}),)),
        Row("a tenant's on a ProviderNetwork", subnet(providerNetwork="lan"), SCHEMA,
            "<nil>: Invalid value: only a ClusterSubnet may name a providerNetwork"),
        Row("a tenant's with a VLAN", subnet(vlan=5), SCHEMA,
            "<nil>: Invalid value: vlan is for a ClusterSubnet with a providerNetwork"),
        Row("a tenant's for other namespaces", subnet(allowedNamespaces=["x"]), SCHEMA,
            "<nil>: Invalid value: allowedNamespaces is for a ClusterSubnet: a Subnet serves its own namespace"),
        Row("a VLAN without a ProviderNetwork", lan(vlan=5), SCHEMA,
            "<nil>: Invalid value: vlan needs a providerNetwork"),
        Row("a VLAN over 4094", lan(vlan=4095, providerNetwork="NS"), SCHEMA,
            "spec.vlan: Invalid value: 4095: spec.vlan in body should be less than or equal to 4094"),
        Row("a ClusterSubnet in a tenant's Vpc", lan(vpc={"kind": "Vpc", "name": "x"}), SCHEMA,
            "<nil>: Invalid value: a ClusterSubnet lies in a ClusterVpc"),
        Row("a tenant's Vpc for other namespaces", vpc("Vpc", allowedNamespaces=["x"]), SCHEMA,
            "<nil>: Invalid value: allowedNamespaces is for a ClusterVpc: a Vpc serves its own namespace"),
        Row("a name with dots", subnet("blue.green"), SCHEMA,
            "<nil>: Invalid value: names have no dots, because lease names are built from them"),
        Row("a name of 64 characters", subnet("b" * 64), SCHEMA, "<nil>: Invalid value: names have at most 63 characters"),
    ),
    "ProviderNetworks": (
        Row("no NIC", network(nic=""), SCHEMA,
            "[spec.defaultNic: Invalid value: \"\": spec.defaultNic in body should be at least 1 chars long, spec.defaultNic: Invalid value: \"\": must be an interface's name such as eth1: no slash, colon or space]"),
        Row("a NIC's name of 16 characters", network(nic="e" * 16), SCHEMA,
            f"[spec.defaultNic: Too long: may not be more than 15 bytes, {UNCHECKED}]"),
        Row("a NIC's name with a slash", network(nic="a/b"), SCHEMA,
            "spec.defaultNic: Invalid value: \"a/b\": must be an interface's name such as eth1: no slash, colon or space"),
        Row("the name int", network("int"), SCHEMA,
            "<nil>: Invalid value: its bridge would be br-int, which is OVN's own; choose another name"),
        Row("a name of 64 characters", network("p" * 64), SCHEMA,
            "<nil>: Invalid value: names have at most 63 characters"),
        Row("a node in two of customNics",
            network(customNics=[{"nic": "eth1", "nodes": ["n1", "n2"]}, {"nic": "eth2", "nodes": ["n2"]}]),
            CHECK_PROVIDER_NETWORK,
            "ProviderNetwork NS: customNics: node n2 is named for eth1 and for eth2; keep one of them"),
        Row("a NIC that another ProviderNetwork has on a node", network("NS-2", customNics=[{"nic": "NSnic", "nodes": ["NS"]}], nic="x"),
            CHECK_PROVIDER_NETWORK,
            "ProviderNetwork NS-2: NSnic of node NS is ProviderNetwork NS's; use one network with several VLANs, or "
            "another NIC", code=409, after=(node(), network(nodeSelector={"site": "NS"}))),
        Row("changed to a NIC that another one has",
            Change("ProviderNetwork", "NS-2", {"spec": {"defaultNic": "NSnic"}}), CHECK_PROVIDER_NETWORK,
            "ProviderNetwork NS-2: NSnic of node NS is ProviderNetwork NS's; use one network with several VLANs, or "
            "another NIC", code=409,
            after=(node(), network(nodeSelector={"site": "NS"}), network("NS-2", "other", nodeSelector={"site": "NS"}))),
        Row("deleted while a ClusterSubnet is on it", Change("ProviderNetwork", "NS"), CHECK_PROVIDER_NETWORK,
            "ProviderNetwork NS is in use: 1 ClusterSubnets, one of them NS; delete them first, or give them another "
            "providerNetwork", code=409, after=(network(), lan(providerNetwork="NS"))),
    ),
}  # fmt: skip


def page() -> str:
    """docs/errors.md."""
    head = PAGE.read_text().partition(BEGIN)[0]
    later = [_told(section) for section in (NICS, PROVIDERS, SUBNETS, PORTS, NODES, CNI)]
    sections = ["## What only a node or a later moment can know", "", *later]
    return head + BEGIN + "\n" + "\n".join([*sections, *(_section(name, rows) for name, rows in TABLE.items())])


def _told(section: Section) -> str:
    lines = [f"| {row.given} | `{row.reason}` | {_quoted(row.message)} |" for row in section.rows]
    return "\n".join((section.where, "", "| what is there | reason | message |", "|---|---|---|", *lines, ""))


def _section(name: str, rows: tuple[Row, ...]) -> str:
    lines = [f"| {row.given} | {row.by} | {_shown(row)} |" for row in rows]
    return "\n".join((f"## {name}", "", "| what is written | refused by | with |", "|---|---|---|", *lines, ""))


def _shown(row: Row) -> str:
    return _quoted(re.sub("9{9,}", "999...", row.says.replace("<nil>: ", "")))


def _quoted(text: str) -> str:
    text = text.replace("NS", "demo")
    return f"`` {text} ``" if "`" in text else f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
