"""What people are told of what only a node or a later moment can know, as tables: what is there, and the whole text.

docs/errors.md is made of them. Tests bring about each row: those named here. ``NS`` stands for the tenant's namespace,
and in places is the name of a cluster's object.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Told:
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
    rows: tuple[Told, ...]

    def __getitem__(self, given: str) -> Told:
        return next(row for row in self.rows if row.given == given)


PHYSICAL = "name a NIC of the physical network"

NICS = Section(
    "ProviderNetworks: what a node says of its NIC, in `kubectl get nodenetwork NODE -o yaml`; the ProviderNetwork repeats "
    "it in `status.failures`, its `Ready` condition and an Event (`tests/providers/test_told.py`):",
    (
        Told("no such NIC", "NicMissing", "there is no NIC eth9 on this node; name another one for it in customNics"),
        Told("no such NIC, and another one is plugged in", "NicMissing",
             "there is no NIC eth9 on this node; name another one for it in customNics; until then eth2 stays plugged in"),
        Told("a NIC that has vanished", "NicMissing",
             "NIC eth1 was there and is gone; its place in br-blue is kept: bring it back, or name another one in customNics"),
        Told("the loopback interface", "NicUnsuitable", f"lo is the loopback interface; {PHYSICAL}"),
        Told("a tap", "NicUnsuitable", f"tap0 is a virtual interface (tun); {PHYSICAL}"),
        Told("a macvlan", "NicUnsuitable",
             "mv0 (macvlan) takes frames of its own address only; name the NIC below it, or another one"),
        Told("a wireless NIC", "NicUnsuitable",
             "eth1 is wireless: its access point takes frames of one address only; name another NIC"),
        Told("an IP tunnel", "NicUnsuitable", f"eth1 has no Ethernet address; {PHYSICAL}"),
        Told("a NIC in a bond or bridge", "NicInUse", "eth2 belongs to br0; name br0 itself, or another NIC"),
        Told("a NIC of another OVS bridge", "NicInUse",
             "eth1 is a port of OVS bridge br-int; take it out there, or name another NIC"),
        Told("a NIC that VLAN or macvlan interfaces are on", "NicInUse",
             "eth2 carries mv0, which would lose their traffic: remove them first (a ClusterSubnet's vlan needs no VLAN "
             "interface), or name another NIC"),
        Told("a NIC of another ProviderNetwork", "NicInUse",
             "eth1 is plugged into ProviderNetwork blue already; use one network with several VLANs, or another NIC"),
        Told("the node's only default route, whose gateway is silent", "GatewaySilent",
             "eth1 has a default route over 10.7.0.200, which does not answer ARP or ND now: whether the node stays connected "
             "could not be seen; repair or remove that route first"),
        Told("the node's only default route, whose gateway is silent once the NIC is plugged in", "GatewayLost",
             "gateway 10.7.0.1 does not answer through bridge br-blue any more, so eth1 has been taken out again; look at the "
             "switch port's security settings"),
        Told("an OVS bridge of that name", "BridgeTaken",
             "there is an OVS bridge br-blue that virtnet has not made; remove it, or name the ProviderNetwork differently"),
        Told("a bridge mapping of that name", "MappingTaken",
             "ovn-bridge-mappings on this node has blue:br-ex, which virtnet has not written; remove that entry, or name the "
             "ProviderNetwork differently"),
        Told("a switch that has died", "BridgeFailed",
             "Open vSwitch does not drive br-blue; is ovs-vswitchd running? Until it does, the node's own traffic goes over "
             "eth1 itself, and guests have no physical network"),
        Told("a switch in the kernel whose process has died", "BridgeFailed",
             "ovs-vswitchd does not answer for br-blue; does it run? Until then the kernel goes on with what was under way, "
             "and knows no machine that is new"),
        Told("a NIC that cannot be taken out", "UnplugFailed",
             "eth1 cannot be taken out of br-blue yet: [Errno 16] busy; it is tried again until it can"),
        Told("a switch that does not do as it is told", "PlugFailed",
             "Open vSwitch, within 0.5 s: not so that there is a bridge br-blue; is ovs-vswitchd running?"),
    ),
)  # fmt: skip

CONTROLLER = "tests/controllers/test_told.py"

PROVIDERS = Section(
    f"ProviderNetworks, in the `Ready` condition, beside the above (`{CONTROLLER}`):",
    (
        Told("a node whose virtnet-node does not run", "Waiting",
             "NS-a: virtnet-node on NS-a has not answered yet; does its pod run there?"),
        Told("a NIC that an elder ProviderNetwork has, because labels of nodes brought them together", "NicTaken",
             "NS-a: eth1 is ProviderNetwork NS-elder's; use one network with several VLANs, or another NIC"),
        Told("several nodes that could not", "NicMissing",
             "NS-a: there is no NIC eth1 on this node; name another one for it in customNics; and on 1 more"),
        Told("no node that is selected", "NoNodes", "no node has this network: see nodeSelector and excludeNodes"),
    ),
)  # fmt: skip

SUBNETS = Section(
    f"Subnets, in the `Ready` condition where no other is named (`{CONTROLLER}`, `tests/controllers/test_widths.py`):",
    (
        Told("no such Vpc", "VpcMissing", "Vpc NS/own does not exist; create it, or make the Subnet anew in another Vpc"),
        Told("a ClusterVpc that no longer allows the namespace", "VpcNotAllowed",
             "ClusterVpc NS does not allow namespace NS; ask its owner, or make the Subnet anew in another Vpc"),
        Told("no such ProviderNetwork", "ProviderNetworkMissing",
             "ProviderNetwork NS does not exist; create it, or name another"),
        Told("two that overlap in a Vpc, admitted at once", "Overlaps",
             "10.0.0.128/25 overlaps 10.0.0.0/24 of Subnet NS/blue; delete one of them"),
        Told("two that overlap on a VLAN, admitted at once", "Overlaps",
             "10.0.0.128/25 overlaps 10.0.0.0/24 of ClusterSubnet NS-elder on VLAN 100 of ProviderNetwork NS; use another VLAN"),
        Told("what admission would refuse, written while it was away", "Invalid",
             "excludes: 10.6.0.1 is not inside 10.0.0.0/24"),
        Told("no address left", "Full: NoneLeft",
             "no IPv4 address is left of the 1 that are handed out; delete VMs that are not needed, or extend the Subnet's "
             "ranges"),
        Told("tunnels that are too narrow", "TunnelsTooNarrow: Narrow",
             "tunnels of node1 carry packets of 1442, and those of this network's guests may have 9000; between nodes, larger "
             "ones are lost: raise the MTU of the tunnels' network by 7558, or give the Subnet an mtu of 1442"),
        Told("an underlay's tunnels that are too narrow", "TunnelsTooNarrow: Narrow",
             "tunnels of node1 carry packets of 1442, and those of this network's guests may have 1500; while a guest "
             "migrates, larger ones are lost: raise the MTU of the tunnels' network by 58, or give the ClusterSubnet an mtu "
             "of 1442"),
        Told("NICs that are too narrow", "NicsTooNarrow: Narrow",
             "the NICs of ProviderNetwork rack on node1 carry packets of 1500, and those of this network's guests may have "
             "9000; larger ones are lost: raise the NICs' MTU, or give the ClusterSubnet an mtu of 1500"),
    ),
)  # fmt: skip

PORTS = Section(
    f"Ports, in the `Ready` condition where no other is named (`{CONTROLLER}`, `tests/controllers/test_conflicts.py`):",
    (
        Told("an address that another NIC holds", "Conflict",
             "Subnet NS/blue: 10.0.0.5 is held by VM NS/db, NIC blue; request another address"),
        Told("an address that a machine outside has", "AddressConflict: UsedOutside",
             "node1 cannot attach it: 10.0.0.5 is used by a machine outside, 0c:00:00:00:00:01 on VLAN 100 of rack; exclude "
             "the address in the Subnet and give the VM another, or take it from that machine"),
        Told("a Subnet that is no longer there", "Pending", "Subnet NS/blue does not exist; create it"),
        Told("a Subnet that cannot be put into OVN", "Pending",
             "Subnet NS/blue: Vpc NS/own does not exist; create it, or make the Subnet anew in another Vpc"),
    ),
)  # fmt: skip

NODES = Section(
    "Nodes, in `kubectl get nodenetwork NODE -o yaml`: the condition `Ready`, and `Tunnel` for the address of its tunnels "
    "(`tests/attach/test_node_network.py`, `test_tunnel.py`):",
    (
        Told("no Open vSwitch", "OpenVSwitchAway", "Open vSwitch does not answer; is ovsdb-server running?"),
        Told("no integration bridge", "NoBridge", "there is no bridge br-int; is ovn-controller running?"),
        Told("an Open vSwitch that OVN has no name for", "NoChassis",
             "Open vSwitch has no external_ids:system-id, OVN's name for this node; set it, as ovs-ctl does"),
        Told("both annotations", "NotAsAsked",
             "annotations virtnet.dev/tunnel-address and virtnet.dev/tunnel-device exclude each other; remove one"),
        Told("what is no address", "NotAsAsked",
             "annotation virtnet.dev/tunnel-address: eth0 is not an address; write one like 192.0.2.10"),
        Told("an address that the node does not have", "NotAsAsked",
             "annotation virtnet.dev/tunnel-address: no device of this node has 192.0.2.99; give it to one, or name another"),
        Told("a device without an address", "NotAsAsked",
             "annotation virtnet.dev/tunnel-device: eth9 has no address on this node; give it one, or name another device"),
        Told("a Node without an address", "NotAsAsked",
             "the Node has no InternalIP; annotate it with virtnet.dev/tunnel-address or virtnet.dev/tunnel-device"),
    ),
)  # fmt: skip

CNI = Section(
    "NICs of pods, as CNI errors, which the pod's Events repeat (`tests/attach/test_told.py`); code 11 is tried again by the "
    "runtime:",
    (
        Told("a pod that virtnet's webhook has not seen", "7",
             "pod demo/launcher has no annotation virtnet.dev/attachments: it was admitted without virtnet's webhook; check "
             "that virtnet's webhook runs and its MutatingWebhookConfiguration is there, then delete the pod"),
        Told("a pod that another version of the webhook has seen", "7",
             "pod demo/launcher: annotation virtnet.dev/attachments cannot be read: pod1.nic: Input should be 'veth', not "
             "'warp'; do webhook and node daemon have the same version?"),
        Told("a network whose NetworkAttachmentDefinition named no Subnet when the pod was admitted", "7",
             "pod demo/launcher: annotation virtnet.dev/attachments has no interface net9; it has pod1; is the network's "
             "NetworkAttachmentDefinition one of virtnet's (type virtnet-cni, with a Subnet)?"),
        Told("a node without the physical network", "11",
             "ProviderNetwork rack is not plugged in on this node, and port demo/db.blue needs it; see `kubectl get "
             "providernetwork rack -o yaml`; keep these pods off it, or give it a NIC"),
        Told("an address that a machine outside has", "11",
             "Subnet demo/blue, port demo/db.blue: 10.66.0.10 is used by a machine outside, MAC on rack; exclude the address in "
             "the Subnet and give the VM another, or take it from that machine"),
        Told("a guest that runs on this node already", "11",
             "port demo/db.blue belongs to pod demo/running, which runs on this node; a guest is on a node once: end that pod, "
             "or migrate to another node"),
        Told("a controller that does not run, or a port that is bound elsewhere", "11",
             "OVN has not bound port demo/db.blue to this node within 0.3 s; is the controller running? kubectl describe port "
             "shows what it waits for"),
        Told("no Open vSwitch", "11", "Open vSwitch does not answer; is ovsdb-server running on this node?"),
        Told("no integration bridge", "11", "Open vSwitch has no bridge br-int; is ovn-controller running?"),
        Told("an API server that cannot be reached", "11",
             "pod demo/launcher cannot be looked up now: connection refused; it is tried again; does this node reach the API "
             "server, and may virtnet-node read pods?"),
        Told("an interface of that name in the switch", "5",
             "Open vSwitch has an interface HOST that virtnet has not made; remove it: ovs-vsctl del-port HOST"),
        Told("a NIC whose port was deleted, at CHECK", "5",
             "port demo/db.blue has no interface in Open vSwitch; delete the pod, so that it is attached anew"),
        Told("no virtnet-node", "11",
             "virtnet-node at SOCKET: [Errno 2] No such file or directory; is virtnet-node running on this node?"),
    ),
)  # fmt: skip
