"""What people are told of what only a node or a later moment can know, as tables: what is there, and the whole text.

docs/errors.md is made of them. Tests bring about each row: those named here. ``NS`` stands for the tenant's namespace,
and in places is the name of a cluster's object.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One row."""

    given: str
    reason: str
    """One word for programs; of a CNI error, its code."""
    message: str
    """Of a CNI error, message and details as runtimes put them together."""


@dataclass(frozen=True)
class Section:
    """A table, and what people look at to see it."""

    where: str
    rows: tuple[Message, ...]

    def __getitem__(self, given: str) -> Message:
        return next(row for row in self.rows if row.given == given)


PHYSICAL = "name a NIC of the physical network"

NICS = Section(
    "ProviderNetworks: what a node says of its NIC, in `kubectl get nodenetwork NODE -o yaml`; the ProviderNetwork repeats "
    "it in `status.failures`, its `Ready` condition and an Event (`tests/providers/test_messages.py`):",
    (
        Message("no such NIC", "NicMissing", "there is no NIC eth9 on this node; name another one for it in customNics"),
        Message("no such NIC, and another one is plugged in", "NicMissing",
             "there is no NIC eth9 on this node; name another one for it in customNics; until then eth2 stays plugged in"),
        Message("a NIC that has vanished", "NicMissing",
             "NIC eth1 was there and is gone; its place in br-blue is kept: bring it back, or name another one in customNics"),
        Message("the loopback interface", "NicUnsuitable", f"lo is the loopback interface; {PHYSICAL}"),
        Message("a tap", "NicUnsuitable", f"tap0 is a virtual interface (tun); {PHYSICAL}"),
        Message("a macvlan", "NicUnsuitable",
             "mv0 (macvlan) takes frames of its own address only; name the NIC below it, or another one"),
        Message("a wireless NIC", "NicUnsuitable",
             "eth1 is wireless: its access point takes frames of one address only; name another NIC"),
        Message("an IP tunnel", "NicUnsuitable", f"eth1 has no Ethernet address; {PHYSICAL}"),
        Message("a NIC in a bond or bridge", "NicInUse", "eth2 belongs to br0; name br0 itself, or another NIC"),
        Message("a NIC of another OVS bridge", "NicInUse",
             "eth1 is a port of OVS bridge br-int; take it out there, or name another NIC"),
        Message("a NIC that VLAN or macvlan interfaces are on", "NicInUse",
             "eth2 carries mv0, which would lose their traffic: remove them first (a ClusterSubnet's vlan needs no VLAN "
             "interface), or name another NIC"),
        Message("a NIC of another ProviderNetwork", "NicInUse",
             "eth1 is plugged into ProviderNetwork blue already; use one network with several VLANs, or another NIC"),
        Message("the node's only default route, whose gateway is silent", "GatewaySilent",
             "eth1 has a default route over 10.7.0.200, which does not answer ARP or ND now: whether the node stays connected "
             "could not be seen; repair or remove that route first"),
        Message("the node's only default route, whose gateway is silent once the NIC is plugged in", "GatewayLost",
             "gateway 10.7.0.1 does not answer through bridge br-blue any more, so eth1 has been taken out again; look at the "
             "switch port's security settings"),
        Message("an OVS bridge of that name", "BridgeTaken",
             "there is an OVS bridge br-blue that virtnet has not made; remove it, or name the ProviderNetwork differently"),
        Message("a bridge mapping of that name", "MappingTaken",
             "ovn-bridge-mappings on this node has blue:br-ex, which virtnet has not written; remove that entry, or name the "
             "ProviderNetwork differently"),
        Message("a switch that has died", "BridgeFailed",
             "Open vSwitch does not drive br-blue; is ovs-vswitchd running? Until it does, the node's own traffic goes over "
             "eth1 itself, and guests have no physical network"),
        Message("a switch in the kernel whose process has died", "BridgeFailed",
             "ovs-vswitchd does not answer for br-blue; does it run? Until then the kernel goes on with what was under way, "
             "and knows no machine that is new"),
        Message("a NIC that has been renamed", "NicMissing",
             "NIC eth1 is named eth7 now, so it has been taken out of br-blue; name eth7 in customNics, or give it its name "
             "back"),
        Message("a NIC with stable-privacy addresses of several advertised prefixes", "NicUnsuitable",
             "eth1 makes a stable-privacy IPv6 address for each of several advertised prefixes, and a bridge could renew one "
             "of them only; set its addr_gen_mode to eui64, or give it a token (ip-token(8))"),
        Message("a NIC that cannot be taken out", "UnplugFailed",
             "eth1 cannot be taken out of br-blue yet: [Errno 16] busy; it is tried again until it can"),
        Message("a switch that does not do as it is told", "PlugFailed",
             "Open vSwitch has not made bridge br-blue within 0.5 s; is ovs-vswitchd running?"),
    ),
)  # fmt: skip

DEVICES = Section(
    "Devices: what a node says of its NICs and their virtual functions, in `status.devices` of its NodeNetwork and by `virtnet "
    "node devices` ([hardware.md](hardware.md), `tests/devices/test_health.py`):",
    (
        Message("a NIC without a driver", "NoDriver",
                "0000:3b:00.0 (8086:1592) has no driver; load its module, or bind it to vfio-pci if a guest is to have the whole "
                "NIC"),
        Message("fewer virtual functions than it has been told to have", "VfsMissing",
                "ens1f0 has been told to have 4 VFs and 3 are there; see the kernel's log (dmesg), and write 0 and then 4 to its "
                "sriov_numvfs while no guest uses one"),
        Message("a NIC that nobody has set up", "LinkDisabled", "ens1f0 is not up; ip link set ens1f0 up"),
        Message("a NIC without a cable", "NoCarrier",
                "ens1f0 has no carrier; look at its cable and at the port of the switch"),
        Message("a switchdev NIC whose offload is off", "OffloadOff",
                "ens1f0 is in switchdev mode and the CPU forwards all of its traffic; ethtool -K ens1f0 hw-tc-offload on"),
        Message("virtual functions without a driver", "NoDriver",
                "no driver; bind them to the NIC's VF driver or to vfio-pci (driver_override, drivers_probe)"),
        Message("virtual functions for guests on a machine without an IOMMU", "IommuOff",
                "bound to vfio-pci without an IOMMU; enable it in the firmware, and boot with intel_iommu=on (Intel)"),
        Message("virtual functions that share an IOMMU group", "GroupShared",
                "their IOMMU groups have other devices, which would go to the guest too; enable ACS in the firmware, or move the "
                "NIC to a slot whose bridge has it"),
        Message("virtual functions without a representor", "NoRepresentor",
                "ens1f0 is in switchdev mode and has no representors of them; see the kernel's log (dmesg)"),
        Message("virtual functions of a NIC without a cable", "UplinkDown",
                "the link of ens1f0 is down, so they reach nobody outside of this node"),
    ),
)  # fmt: skip

NIC_POLICIES = Section(
    "NicPolicies: what a node says of a NIC, in `status.nicPolicies` of its NodeNetwork; the NicPolicy repeats it in "
    "`status.failures`, its `Ready` condition and an Event ([nic-policy.md](nic-policy.md), "
    "`tests/nic_policies/test_obstacles.py`):",
    (
        Message("a NIC without an interface", "NoInterface",
                "0000:3b:00.0 has no network interface on the node; load its driver, or bring the interface back from where it was "
                "moved to"),
        Message("virtual functions of a NIC that has none", "NoSriov",
                "driver ice of ens1f0 makes no VFs; select other NICs, or take vfs out of the policy"),
        Message("more virtual functions than a NIC can have", "TooManyVfs",
                "ens1f0 can have 64 VFs, not 65; ask for fewer, or raise the limit in its firmware"),
        Message("switchdev on a NIC without an eswitch", "NoEswitch",
                "driver ice of ens1f0 has no eswitch; select other NICs, or take eswitchMode out of the policy"),
        Message("an MTU that is too large", "MtuOutOfRange", "ens1f0 takes an MTU of 68 to 9702, not 9710; choose one of these"),
        Message("an externally managed NIC that is otherwise", "Differs",
                "ens1f0 has 4 VFs, not 8, and MTU 1500, not 9000, and eswitch mode legacy, not switchdev; change it where it is "
                "managed, or take externallyManaged out of the policy"),
        Message("a NIC that an elder policy has", "Overlap",
                "ens1f0 is NicPolicy elder's, which is older; select other NICs, or delete one of the two"),
        Message("hw-offload that an elder policy says otherwise", "Overlap",
                "hw-offload of Open vSwitch is NicPolicy elder's, which is older; take it out of one of the two"),
        Message("hw-offload that is managed by others, and otherwise", "Differs",
                "Open vSwitch has hw-offload false, not true; change it where it is managed, or take externallyManaged out of the "
                "policy"),
        Message("a CPU that the node has not", "NoSuchCpu",
                "pmdCpus names CPU 64, and the node has 8, from 0 on; name others, or select other nodes"),
        Message("no Open vSwitch", "OpenVSwitchAway", "Open vSwitch does not answer; is ovsdb-server running?"),
        Message("a NIC that the node itself needs", "CarriesNode",
                "ens1f0 has a default route of the node, and a change could cut the node off; select other NICs, or set this one up "
                "at boot and say externallyManaged in a policy for it"),
        Message("a virtual function that a pod has", "VfInUse",
                "VF 2 of ens1f0 (0000:3b:01.0) is pod demo/db's; ens1f0 is changed once no VF of it is in use"),
        Message("a kubelet that does not answer", "KubeletSilent",
                "whether pods have VFs of ens1f0 cannot be seen: the kubelet at SOCKET does not tell: ERROR; ens1f0 is changed once "
                "the kubelet answers"),
        Message("an error of the kernel's", "Failed",
                "ens1f0 cannot be looked at, or changed: [Errno 5] Input/output error; it is tried again"),
        Message("a driver that does not do as it is told", "Unsettled",
                "driver ice of ens1f0 takes what it is told, and ens1f0 is otherwise; it is tried again; see the kernel's log (dmesg)"),
        Message("a driver that refuses", "Refused",
                "driver ice of ens1f0 refuses 8 VFs: Cannot allocate memory; it is as it was before, and tried again; see the "
                "kernel's log (dmesg)"),
    ),
)  # fmt: skip

CONTROLLER = "tests/controllers/test_messages.py"

PROVIDERS = Section(
    f"ProviderNetworks, in the `Ready` condition, beside the above (`{CONTROLLER}`):",
    (
        Message("a node whose virtnet-node does not run", "Waiting",
             "NS-a: virtnet-node on NS-a has not answered yet; does its pod run there?"),
        Message("a NIC that an elder ProviderNetwork has, because labels of nodes brought them together", "NicTaken",
             "NS-a: eth1 is ProviderNetwork NS-elder's; use one network with several VLANs, or another NIC"),
        Message("several nodes that could not", "NicMissing",
             "NS-a: there is no NIC eth1 on this node; name another one for it in customNics; and on 1 more"),
        Message("no node that is selected", "NoNodes", "no node has this network: see nodeSelector and excludeNodes"),
    ),
)  # fmt: skip

SUBNETS = Section(
    f"Subnets, in the `Ready` condition where no other is named (`{CONTROLLER}`, `tests/features/test_mtu.py`):",
    (
        Message("no such Vpc", "VpcMissing", "Vpc NS/own does not exist; create it, or make the Subnet anew in another Vpc"),
        Message("a ClusterVpc that no longer allows the namespace", "VpcNotAllowed",
             "ClusterVpc NS does not allow namespace NS; ask its owner, or make the Subnet anew in another Vpc"),
        Message("no such ProviderNetwork", "ProviderNetworkMissing",
             "ProviderNetwork NS does not exist; create it, or name another"),
        Message("two that overlap in a Vpc, admitted at once", "Overlaps",
             "10.0.0.128/25 overlaps 10.0.0.0/24 of Subnet NS/blue in the same Vpc; choose another network or another Vpc"),
        Message("two that overlap on a VLAN, admitted at once", "Overlaps",
             "10.0.0.128/25 overlaps 10.0.0.0/24 of ClusterSubnet NS-elder on VLAN 100 of ProviderNetwork NS; use another VLAN"),
        Message("what admission would refuse, written while it was away", "Invalid",
             "excludes: 10.6.0.1 is not inside 10.0.0.0/24"),
        Message("what the schema would refuse, stored before it did", "Invalid",
             "dns.domain: 'a\"b' must be a domain name such as demo.example: letters, digits, '-' and '_', dots between labels"),
        Message("no address left", "Full: AddressesExhausted",
             "no IPv4 address is left of the 1 that are handed out; delete VMs that are not needed, or extend the Subnet's "
             "ranges"),
        Message("tunnels that are too narrow", "TunnelMtuTooSmall: TooSmall",
             "tunnels of node1 carry packets of 1442, and those of this network's guests may have 9000; between nodes, larger "
             "ones are lost: raise the MTU of the tunnels' network by 7558, or give the Subnet an mtu of 1442"),
        Message("an underlay's tunnels that are too narrow", "TunnelMtuTooSmall: TooSmall",
             "tunnels of node1 carry packets of 1442, and those of this network's guests may have 1500; while a guest "
             "migrates, larger ones are lost: raise the MTU of the tunnels' network by 58, or give the ClusterSubnet an mtu "
             "of 1442"),
        Message("NICs that are too narrow", "NicMtuTooSmall: TooSmall",
             "the NICs of ProviderNetwork rack on node1 carry packets of 1500, and those of this network's guests may have "
             "9000; larger ones are lost: raise the NICs' MTU, or give the ClusterSubnet an mtu of 1500"),
    ),
)  # fmt: skip

PORTS = Section(
    f"Ports, in the `Ready` condition where no other is named (`{CONTROLLER}`, `tests/controllers/test_conflicts.py`, "
    "`test_nads.py`):",
    (
        Message("an address that another NIC holds", "Conflict",
             "Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; request another address"),
        Message("a MAC that a NIC in another ClusterSubnet of the same VLAN has", "Conflict",
             "ClusterSubnet NS-two: 02:76:6e:00:00:05 is held by VM NS/db, NIC blue in ClusterSubnet NS on the same VLAN; "
             "request another MAC"),
        Message("an address that a machine outside has", "AddressConflict: UsedOutside",
             "node1 cannot attach it: 10.0.0.5 is used by a machine outside, 0c:00:00:00:00:01 on VLAN 100 of rack; exclude "
             "the address in the Subnet and give the VM another, or take it from that machine"),
        Message("an allowed address that its Subnet does not permit", "AllowedAddressRefused: NotPermitted",
             "10.10.0.99/32 is not within portSecurity.allowedAddresses of Subnet demo/blue (10.10.0.240/28); ask its owner"),
        Message("an allowed address that another NIC holds", "AllowedAddressRefused: NotPermitted",
             "10.10.0.250 is held by VM demo/vm250, NIC net; name another"),
        Message("a NAD that is gone", "NadUnusable: Missing",
             "NetworkAttachmentDefinition NS/blue-net does not exist, so that VM db can neither start nor migrate; make it "
             "again, for Subnet NS/blue"),
        Message("a NAD that leads elsewhere by now", "NadUnusable: LeadsElsewhere",
             "NetworkAttachmentDefinition NS/blue-net does not name Subnet NS/blue any more, so that VM db can neither start "
             "nor migrate; name it there"),
        Message("a Subnet that is no longer there", "Pending", "Subnet NS/blue does not exist; create it"),
        Message("a Subnet that cannot be put into OVN", "Pending",
             "Subnet NS/blue: Vpc NS/own does not exist; create it, or make the Subnet anew in another Vpc"),
    ),
)  # fmt: skip

DELETIONS = Section(
    "What is deleted while others use it, in the condition `Deleting`, which `kubectl get` shows, too "
    "(`tests/controllers/test_deletion.py`):",
    (
        Message("a Vpc with Subnets", "Deleting: InUse", "waits for 1 Subnets, one of them NS/blue; goes with the last of them"),
        Message("a Subnet with VMs", "Deleting: InUse",
             "waits for 2 leases, one of them 10.0.0.5 of VM NS/db, NIC blue; goes with the last of them"),
        Message("a ProviderNetwork with ClusterSubnets", "Deleting: InUse",
             "waits for 1 ClusterSubnets, one of them NS; goes with the last of them"),
    ),
)  # fmt: skip

NODES = Section(
    "Nodes, in `kubectl get nodenetwork NODE -o yaml`: the condition `Ready`, and `Tunnel` for the address of its tunnels "
    "(`tests/attach/test_node_network.py`, `test_tunnel.py`):",
    (
        Message("a CPU that the node has not", "NoSuchCpu",
                "pmdCpus names CPU 64, and the node has 8, from 0 on; name others, or select other nodes"),
        Message("no Open vSwitch", "OpenVSwitchAway", "Open vSwitch does not answer; is ovsdb-server running?"),
        Message("no integration bridge", "NoBridge", "there is no bridge br-int; is ovn-controller running?"),
        Message("an Open vSwitch that OVN has no name for", "NoChassis",
             "Open vSwitch has no external_ids:system-id, OVN's name for this node; set it, as ovs-ctl does"),
        Message("an OVN that does not know the node", "NotInOvn",
             "OVN has no chassis chassis-x; is ovn-controller running on node1, with this OVN's ovn-remote?"),
        Message("an OVN that does not know it for its address", "NotInOvn",
             "OVN has no chassis chassis-x: its address 192.0.2.7 is that of node2 (chassis-y); give each its own, or delete "
             "the Node that is gone"),
        Message("both annotations", "NotAsAsked",
             "annotations virtnet.dev/tunnel-address and virtnet.dev/tunnel-device exclude each other; remove one"),
        Message("what is no address", "NotAsAsked",
             "annotation virtnet.dev/tunnel-address: eth0 is not an address; write one like 192.0.2.10"),
        Message("an address that the node does not have", "NotAsAsked",
             "annotation virtnet.dev/tunnel-address: no device of this node has 192.0.2.99; give it to one, or name another"),
        Message("a device without an address", "NotAsAsked",
             "annotation virtnet.dev/tunnel-device: eth9 has no address on this node; give it one, or name another device"),
        Message("a Node with an address that it does not have", "NotAsAsked",
             "the Node's InternalIP: no device of this node has 192.0.2.99; correct it, or annotate it with "
             "virtnet.dev/tunnel-address or virtnet.dev/tunnel-device"),
        Message("a Node without an address", "NotAsAsked",
             "the Node has no InternalIP; annotate it with virtnet.dev/tunnel-address or virtnet.dev/tunnel-device"),
    ),
)  # fmt: skip

CNI = Section(
    "NICs of pods, as CNI errors, which the pod's Events repeat (`tests/attach/test_messages.py`); code 11 is tried again by the "
    "runtime:",
    (
        Message("a pod that virtnet's webhook has not seen", "7",
             "pod demo/launcher has no annotation virtnet.dev/attachments: it was admitted without virtnet's webhook; check "
             "that virtnet's webhook runs and its MutatingWebhookConfiguration is there, then delete the pod"),
        Message("a pod that another version of the webhook has seen", "7",
             "port demo/db.blue: NIC kind warp is not served by this node, which serves veth, sriov, switchdev, vhostuser; do webhook and "
             "node daemon have the same version?"),
        Message("a network whose NetworkAttachmentDefinition named no Subnet when the pod was admitted", "7",
             "pod demo/launcher: annotation virtnet.dev/attachments has no interface net9; it has pod1; is the network's "
             "NetworkAttachmentDefinition one of virtnet's (type virtnet-cni, with a Subnet)?"),
        Message("a NetworkAttachmentDefinition that names a device of no form", "7",
             "the network configuration: deviceID 'eth1/0' is no device; take it out of the NetworkAttachmentDefinition: Multus "
             "writes it, of the resource in its annotation k8s.v1.cni.cncf.io/resourceName"),
        Message("a NetworkAttachmentDefinition that names a file for the device's description", "7",
             "the network configuration: CNIDeviceInfoFile '/etc/passwd' is no file of this NIC; it has to be "
             "/var/run/k8s.cni.cncf.io/devinfo/cni/NETWORK-CONTAINER_INTERFACE, as Multus names it"),
        Message("a vhost-user NIC, and a switch without DPDK ([vhostuser.md](vhostuser.md) has the other reasons)", "11",
             "port demo/db.blue: this node serves no vhost-user NICs: Open vSwitch is built without DPDK here; install one "
             "with it (Debian: openvswitch-switch-dpdk)"),
        Message("a node without the physical network", "11",
             "ProviderNetwork rack is not plugged in on this node, and port demo/db.blue needs it; see `kubectl get "
             "providernetwork rack -o yaml`; keep these pods off it, or give it a NIC"),
        Message("an address that a machine outside has", "11",
             "Subnet demo/blue, port demo/db.blue: 10.66.0.10 is used by a machine outside, MAC on rack; exclude the address in "
             "the Subnet and give the VM another, or take it from that machine"),
        Message("a guest that runs on this node already", "11",
             "port demo/db.blue belongs to pod demo/running, which runs on this node; a guest is on a node once: end that pod, "
             "or migrate to another node"),
        Message("a controller that does not run, or a port that is bound elsewhere", "11",
             "OVN has not bound port demo/db.blue to this node within 0.3 s; is the controller running? kubectl describe port "
             "shows what it waits for"),
        Message("a switch that has died", "11",
             "Open vSwitch has not made port HOST within 0.3 s; is ovs-vswitchd running on this node?"),
        Message("no Open vSwitch", "11", "Open vSwitch does not answer; is ovsdb-server running on this node?"),
        Message("no integration bridge", "11", "Open vSwitch has no bridge br-int; is ovn-controller running?"),
        Message("an API server that cannot be reached", "11",
             "pod demo/launcher cannot be looked up now: connection refused; it is tried again; does this node reach the API "
             "server, and may virtnet-node read pods?"),
        Message("an interface of that name in the switch", "5",
             "Open vSwitch has an interface HOST that virtnet has not made; remove it: ovs-vsctl del-port HOST"),
        Message("a NIC whose port was deleted, at CHECK", "5",
             "port demo/db.blue has no interface in Open vSwitch; delete the pod, so that it is attached anew"),
        Message("no virtnet-node", "11",
             "virtnet-node at SOCKET: [Errno 2] No such file or directory; is virtnet-node running on this node?"),
    ),
)  # fmt: skip

MODE = (
    "a NetworkAttachmentDefinition says nic: switchdev for NICs in that mode, and nic: sriov for others; devlink dev eswitch "
    "show pci/0000:3b:00.0 prints the mode"
)

VIRTUAL_FUNCTIONS = Section(
    "NICs of kinds `sriov` and `switchdev`, as CNI errors ([hardware.md](hardware.md); `tests/attach/test_allocations.py`, `test_reservations.py`, "
    "`tests/virtual_functions/test_fitness.py`; what a driver refuses: `tests/hardware/test_sriov.py`):",
    (
        Message("no device", "7",
             "port demo/db.blue: a NIC of kind sriov needs a device, and none is named; give the NetworkAttachmentDefinition "
             "the annotation k8s.v1.cni.cncf.io/resourceName, and the pod such a resource"),
        Message("an overlay", "7", "Subnet demo/blue: a NIC of kind sriov reaches no overlay; use a Subnet of a ProviderNetwork"),
        Message("another pod's device", "7",
             "device 0000:3b:02.1 is not allotted to pod demo/launcher; the kubelet has given it 0000:3b:02.0; take deviceID out "
             "of the NetworkAttachmentDefinition: Multus writes it, of the resource in its annotation "
             "k8s.v1.cni.cncf.io/resourceName"),
        Message("a kubelet that cannot be asked", "11",
             "the kubelet does not tell which devices pod demo/launcher has: ERROR; it is tried again; does the kubelet serve "
             "SOCKET, and is its directory mounted?"),
        Message("STATUS of such a network, and a kubelet that does not listen", "50",
             "the kubelet does not answer at SOCKET, so nobody can tell which devices pods have: No such file or directory; does "
             "the kubelet serve it, and is its directory mounted?"),
        Message("a device that a living pod has", "11",
             "device 0000:3b:02.1 belongs to interface pod1 of pod demo/running, which runs on this node; end that pod: a device, "
             "and a port, is one pod's at a time"),
        Message("a device that is being taken back", "11",
             "device 0000:3b:02.1 is being taken from pod demo/running; it is tried again"),
        Message("a device that is no virtual function", "7",
             "device 0000:3b:00.0 is no virtual function of this node; virtnet node devices prints what this node has, and what "
             "keeps each device from work"),
        Message("a physical function without an interface", "7",
             "VF 1 of 0000:3b:00.0 (0000:3b:02.1): its physical function 0000:3b:00.0 has no interface; virtnet node devices "
             "prints what this node has, and what keeps each device from work"),
        Message("no driver", "7",
             "VF 1 of ens1 (0000:3b:02.1) has no driver; virtnet node devices prints what this node has, and what keeps each "
             "device from work"),
        Message("a physical function that nobody has set up", "11",
             "VF 1 of ens1 (0000:3b:02.1): ens1 is down; set it up: ip link set ens1 up"),
        Message("a NIC whose driver tells nothing of its virtual functions", "7",
             "driver ice of ens1 does not tell what it has set for its virtual functions; use a NIC whose driver does: ip link "
             "show must list them"),
        Message("a setting that the driver does not tell", "7",
             "driver ice does not tell trust of VF 1 of ens1 (0000:3b:02.1), so that could not be put back; leave it out of the "
             "ClusterSubnet, or keep these pods off nodes with this NIC"),
        Message("a setting that the driver refuses", "7",
             "driver igb refuses state enable for VF 2 of PF (VF): Operation not supported; leave out of the ClusterSubnet what this "
             "NIC cannot, or keep these pods off nodes with it"),
        Message("a driver that makes no interface", "11",
             "driver iavf of VF 1 of ens1 (0000:3b:02.1) has made no interface on the node; virtnet node devices prints what this "
             "node has, and what keeps each device from work"),
        Message("an interface that the node uses", "7",
             "interface ens1v1 of VF 1 of ens1 (0000:3b:02.1) is in a bridge or bond of the node; take it out, or keep this virtual "
             "function out of what the device plugin offers"),
        Message("`sriov`, of a NIC in switchdev mode", "7",
             f"VF 1 of ens1 (0000:3b:02.1): its NIC is in switchdev mode, and port demo/db.blue is of kind sriov; {MODE}"),
        Message("`switchdev`, of a NIC in legacy mode", "7",
             f"VF 1 of ens1 (0000:3b:02.1): its NIC is not in switchdev mode, and port demo/db.blue is of kind switchdev; {MODE}"),
        Message("no representor", "11",
             "VF 1 of ens1 (0000:3b:02.1): its NIC is in switchdev mode, and the node has no representor of it; see the kernel's "
             "log (dmesg)"),
        Message("a representor that the node uses", "11",
             "representor ens1r1 of VF 1 of ens1 (0000:3b:02.1) is in a bridge, bond or switch of the node; take it out (ovs-vsctl "
             "del-port ens1r1), or keep this virtual function out of what the device plugin offers"),
        Message("vfio-pci without an IOMMU", "7",
             "VF 1 of ens1 (0000:3b:02.1) is bound to vfio-pci, and the IOMMU is off; enable it in the firmware, and boot with "
             "intel_iommu=on (Intel)"),
        Message("vfio-pci, and a group with other devices", "7",
             "VF 1 of ens1 (0000:3b:02.1): IOMMU group 1001 has other devices, which would go to the guest too; enable ACS in the "
             "firmware, or move the NIC to a slot that has it"),
    ),
)  # fmt: skip


def as_told(answer: dict[str, object]) -> tuple[str, str]:
    """The code and whole text of a CNI error."""
    said = f"{answer['msg']}; {answer['details']}" if answer.get("details") else str(answer["msg"])
    return str(answer["code"]), said
