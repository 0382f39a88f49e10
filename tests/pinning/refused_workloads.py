"""What else VMs and pods may not ask for, and the whole text of each refusal."""

from tests.pinning.inputs import (
    BLUE,
    CHECK_NAD,
    MARK_POD,
    PIN_VM,
    PIN_VM_WARNS,
    Change,
    Row,
    asking,
    bringing,
    instance,
    long,
    nad,
    pod,
    routing,
    subnet,
    vm,
    wanting,
)
from tests.pinning.pods import launcher
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ADDRESSES, NIC, PINNED, ROUTES

SERVED = "is not served by this version of virtnet, which serves veth, sriov, switchdev, vhostuser"
TWO = (("a", "blue-net"), ("b", "blue-net"))
MAC = "02:00:00:00:00:05"
FAR = {"destination": "192.168.0.0/16"}
RED = (("red", "red-net"),)
MOVED = {"spec": vm(networks=(("blue", "red-net"),))["spec"]}
RUNS = Change("VirtualMachine", "db", {"status": {"created": True}}, subresource="status")
STOP_IT = "the guest still uses it there; stop the VM, and write this again"
RENAMED = asking("10.0.0.5", network="nic-0", networks=(("nic-0", "blue-net"),))
SWAPPED = {"metadata": {"annotations": {ADDRESSES: '{"a": ["10.0.0.6"], "b": ["10.0.0.5"]}'}}}
WITHOUT_OBJECT = vm()
WITHOUT_OBJECT["spec"]["template"]["spec"]["networks"][0]["multus"] = True

WORKLOADS: dict[str, tuple[Row, ...]] = {
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
        Row("carried to another Subnet by a guest that runs", Change("VirtualMachine", "db", MOVED), PIN_VM_WARNS,
            "NIC blue leaves Subnet NS/blue for Subnet NS/red with the live migration that KubeVirt starts for it; its guest "
            "asks for its address there when its lease ends, or once its link has been down: set the interface's state to "
            "down, and to up again",
            after=(subnet("red", "10.2.0.0/24"), nad({"subnet": "red"}, "red-net"), vm("db"), RUNS)),
        Row("held by another VM where a running one's NIC is moved to", Change("VirtualMachine", "db", MOVED), PIN_VM,
            f"Subnet NS/red: {MAC} is held by VM NS/web, NIC red; the guest that runs cannot take another MAC; stop the "
            "VM before you move its NIC blue there",
            after=(subnet("red", "10.2.0.0/24"), nad({"subnet": "red"}, "red-net"), vm("db", macs={"blue": MAC}), RUNS,
                   vm("web", networks=RED, macs={"red": MAC})), code=409),
        Row("held by the VM's own NIC of an earlier name", Change("VirtualMachine", "db", RENAMED), PIN_VM,
            f"Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; {STOP_IT}",
            code=409, after=(asking("10.0.0.5"), instance())),
        Row("swapped between two NICs of the VM", Change("VirtualMachine", "db", SWAPPED), PIN_VM,
            f"Subnet NS/blue: 10.0.0.6 is held by VM NS/db, NIC b; {STOP_IT}",
            code=409, after=(vm(networks=TWO, annotations={ADDRESSES: '{"a": ["10.0.0.5"], "b": ["10.0.0.6"]}'}), instance())),
        Row("asked for by two NICs of the VM", vm(networks=TWO, macs={"a": MAC, "b": MAC.replace(":", "-")}), PIN_VM,
            f"Subnet NS/blue: NICs a and b both ask for {MAC}; give them different ones"),
    ),
    "NIC kinds": (
        Row("that a VM asks for", vm(annotations={NIC: '{"blue": "warp"}'}), PIN_VM,
            f"NIC blue, by annotation {NIC}: NIC kind warp {SERVED}"),
        Row("that a VM's interface is not bound as", vm(annotations={NIC: '{"blue": "sriov"}'}), PIN_VM,
            f"NIC blue: annotation {NIC} says sriov, and a guest gets a virtual function by the binding sriov alone; write "
            "sriov: {} in the place of its interface's binding"),
        Row("other than an interface is bound as",
            vm(bindings={"blue": {"sriov": {}}}, annotations={NIC: '{"blue": "veth"}'}), PIN_VM,
            f"NIC blue: annotation {NIC} says veth, and its interface is bound as sriov; change one of them"),
        Row("`vhostuser`, of an interface that is bound otherwise", vm(annotations={NIC: '{"blue": "vhostuser"}'}), PIN_VM,
            f"NIC blue: annotation {NIC} says vhostuser, and its interface is bound by bridge; write the interface without "
            "that binding, and it is bound by virtnet-vhostuser"),
        Row("`vhostuser`, of an interface with another model",
            vm(bindings={"blue": {"model": "e1000"}}, annotations={NIC: '{"blue": "vhostuser"}'}), PIN_VM,
            f"NIC blue: annotation {NIC} says vhostuser, and its interface has model e1000; vhost-user NICs are virtio: remove "
            "the model"),
        Row("`vhostuser`, of an ordinary pod without a volume", pod([{"name": "fast-net"}]), MARK_POD,
            "interface net1, by NS/fast-net: a vhost-user NIC's application makes its socket in a volume of the pod's, and "
            "there is none; add {name: vhostuser-sockets, emptyDir: {}}",
            after=(nad({"subnet": "blue", "nic": "vhostuser"}, "fast-net"),)),
        Row("of a record that a newer version has pinned", bringing(nic="warp"), PIN_VM,
            f"NIC blue, as it was pinned: NIC kind warp {SERVED}"),
        Row("for another plugin's network",
            vm(networks=(*BLUE, ("other", "foreign")), annotations={NIC: '{"other": "veth"}'}), PIN_VM,
            f"annotation {NIC}: NIC other is on no network of virtnet; remove it there"),
        Row("in an annotation of another form", vm(annotations={NIC: '"veth"'}), PIN_VM,
            f'annotation {NIC} must be JSON like {{"blue": "veth"}}'),
        Row("in a NAD", nad({"subnet": "blue", "nic": "warp"}), CHECK_NAD,
            f"NetworkAttachmentDefinition NS/odd: NIC kind warp {SERVED}"),
        Row("that has a device, in a NAD without a resource", nad({"subnet": "blue", "nic": "sriov"}), CHECK_NAD,
            "NetworkAttachmentDefinition NS/odd: a NIC of kind sriov has a device of its node; name the device plugin's "
            "resource in the NetworkAttachmentDefinition's annotation k8s.v1.cni.cncf.io/resourceName"),
        Row("in a NAD, of another form", nad({"subnet": "blue", "nic": ["veth"]}), CHECK_NAD,
            'NetworkAttachmentDefinition NS/odd: spec.config: nic must be a NIC kind such as "veth"'),
    ),
    "Fields of a wrong type": (
        Row("a NIC called y, which YAML reads as true",
            vm(networks=(("x", "blue-net"), (True, "blue-net")), annotations={ADDRESSES: '{"y": ["10.0.0.16"]}'}), PIN_VM,
            "spec.template.spec.domain.devices.interfaces[1].name must be a string and is true; put it into quotes"),
        Row("a NAD called 100", vm(networks=(("blue", 100),)), PIN_VM,
            "spec.template.spec.networks[0].multus.networkName must be a string and is 100; put it into quotes"),
        Row("a MAC that YAML reads as a number", vm(macs={"blue": 20000000001}), PIN_VM,
            "spec.template.spec.domain.devices.interfaces[0].macAddress must be a string and is 20000000001; put it into quotes"),
        Row("true for an object", WITHOUT_OBJECT, PIN_VM,
            "spec.template.spec.networks[0].multus must be an object and is true; write an object there, or nothing"),
        Row("a route by a number", routing(blue=[{**FAR, "gateway": 0}]), PIN_VM,
            f'annotation {ROUTES}: routes must be like [{{"destination": "192.168.0.0/16", "gateway": "10.0.0.9"}}]'),
        Row("a NIC kind that is false", vm(annotations={NIC: '{"blue": false}'}), PIN_VM,
            f'annotation {NIC} must be JSON like {{"blue": "veth"}}: blue has no NIC kind'),
        Row("in a pod's selection, a MAC that is a number", pod([{"name": "blue-net", "mac": 0}]), MARK_POD,
            f"annotation {NETWORKS}: element 1: mac must be a string"),
        Row("in a pod's selection, a default route that is true", pod([{"name": "blue-net", "default-route": True}]), MARK_POD,
            f'annotation {NETWORKS}: element 1: default-route must be a list like ["10.0.0.1"]'),
        Row("in a NAD, allowPersistentIPs that is text", nad({"subnet": "blue", "allowPersistentIPs": "true"}), CHECK_NAD,
            "NetworkAttachmentDefinition NS/odd: spec.config: allowPersistentIPs must be true or false"),
    ),
    "More NICs than are served": (
        Row("33 in a VM, whatever they are on", vm(networks=tuple((f"n{n}", "nowhere") for n in range(33))), PIN_VM,
            "the VM has 33 NICs; give it at most 32"),
        Row("one more in a VM that has 32",
            Change("VirtualMachine", "db", {"spec": vm(networks=tuple((f"n{n}", "blue-net") for n in range(33)))["spec"]}), PIN_VM,
            "the VM has 33 NICs; give it at most 32", after=(vm(networks=tuple((f"n{n}", "blue-net") for n in range(32))),)),
        Row("2,000 in a pod", pod(",".join(["blue-net"] * 2000)), MARK_POD,
            f"annotation {NETWORKS}: 2000 networks; choose at most 32"),
    ),
    "Pods": (
        Row("on a NAD that does not exist", pod("nowhere"), MARK_POD,
            "NetworkAttachmentDefinition NS/nowhere does not exist; create it first"),
        Row("with two networks on one interface", pod("blue-net@x,blue-net@x"), MARK_POD,
            f"annotation {NETWORKS}: two networks on interface x; name different ones"),
        Row("with an interface whose name is too long", pod("blue-net@interface-too-long"), MARK_POD,
            f"annotation {NETWORKS}: interface-too-long is no name for an interface; use at most 15 bytes, and no "
            "slash, colon, percent sign or space"),
        Row("with an interface whose name takes too many bytes", pod("blue-net@" + "ä" * 8), MARK_POD,
            f"annotation {NETWORKS}: {'ä' * 8} is no name for an interface; use at most 15 bytes, and no slash, "
            "colon, percent sign or space"),
        Row("with an interface of which the kernel would make another", pod("blue-net@net%d"), MARK_POD,
            f"annotation {NETWORKS}: net%d is no name for an interface; use at most 15 bytes, and no slash, "
            "colon, percent sign or space"),
        Row("with a selection of another form", pod("a/b/c"), MARK_POD,
            f"annotation {NETWORKS}: 'a/b/c' is not of the form namespace/name@interface"),
        Row("with an element that is none", pod("[1]"), MARK_POD, f"annotation {NETWORKS}: element 1 has no name"),
        Row("with addresses that are no list", pod([{"name": "blue-net", "ips": "10.0.0.5"}]), MARK_POD,
            f'annotation {NETWORKS}: element 1: ips must be a list like ["10.0.0.5/24"]'),
        Row("that ask for the gateway", pod([{"name": "blue-net", "ips": ["10.0.0.1/24"]}]), MARK_POD,
            "Subnet NS/blue: NIC net1: 10.0.0.1 is the gateway; choose another"),
        Row("that ask for an address with no prefix length", pod([{"name": "blue-net", "ips": ["10.0.0.5/99"]}]), MARK_POD,
            "Subnet NS/blue: NIC net1: 10.0.0.5/99 is not an IPv4 address; write it like 10.0.0.10"),
        Row("that ask for a multicast MAC", pod([{"name": "blue-net", "mac": "01:00:00:00:00:00"}]), MARK_POD,
            "Subnet NS/blue: NIC net1: 01:00:00:00:00:00 is a multicast address; its first byte must be even"),
        Row("that ask for what a VM holds", pod([{"name": "blue-net", "ips": ["10.0.0.5"]}]), MARK_POD,
            "Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; choose another or remove the request",
            code=409, after=(asking("10.0.0.5"),)),
        Row("of a VM with a record of what it does not hold, and would not get now", launcher(), MARK_POD,
            f"Subnet NS/blue: VM db in NS: annotation {PINNED}, NIC blue: 10.0.0.5 is excluded; choose another, or remove "
            "the annotation, and its admission pins it anew",
            after=(asking("10.0.0.5"), Change("AddressLease", "10.0.0.5.blue.NS"),
                Change("Subnet", "blue", {"spec": {"excludes": ["10.0.0.5"]}})), once_heard=True),
        Row("with a selection of 256 KiB", pod(long("blue-net@")), MARK_POD,
            f"annotation {NETWORKS}: {long('')} is no name for an interface; use at most 15 bytes, and no "
            "slash, colon, percent sign or space"),
    ),
    "What a VM asks of DHCP": (
        Row("what OVN does not have", Change("VirtualMachine", "db", wanting(privateOptions=[{"option": 240, "value": "x"}])),
            PIN_VM_WARNS,
            "NIC blue: dhcpOptions.privateOptions: option 240 is left out: OVN has 252 alone, for a URL", after=(vm(),)),
        Row("a file's name that is none", Change("VirtualMachine", "db", wanting(bootFileName="a b")), PIN_VM_WARNS,
            "NIC blue: dhcpOptions.bootFileName 'a b' must be a file's name, path or URL: no space, comma, quote, backslash or "
            "'..', of at most 127 bytes", after=(vm(),)),
        Row("a time server by its name", Change("VirtualMachine", "db", wanting(ntpServers=["ntp.example"])), PIN_VM_WARNS,
            "NIC blue: dhcpOptions.ntpServers: 'ntp.example' is left out: at most 6 IPv4 addresses are told", after=(vm(),)),
        Row("anything, where DHCP is off", Change("VirtualMachine", "db", wanting(bootFileName="boot.ipxe")), PIN_VM_WARNS,
            "NIC blue: dhcpOptions are told nobody: Subnet NS/blue has dhcp.enabled: false; remove them",
            after=(vm(), Change("Subnet", "blue", {"spec": {"dhcp": {"enabled": False}}})), once_heard=True),
    ),
}  # fmt: skip
