"""Which MACs nobody gets because they are in use where the NIC is, and the whole text of each refusal."""

from tests.pinning.inputs import CHECK, MARK_POD, PIN_VM, Body, Change, Row, lan, nad, network, node_network, pod, vm
from virtnet.api import SubnetRef
from virtnet.topology.names import chassis_mac, part, router_mac, switch_key

MAC, NODE = "02:00:00:00:00:05", "52:54:00:00:00:01"
ROUTED, RACK, CHASSIS = "macs-routed", "macs-rack", "macs-chassis"
ROUTER = router_mac(part("Logical_Router_Port", switch_key(SubnetRef(kind="ClusterSubnet", name=ROUTED)), "gateway"))
ROUTERS = chassis_mac(CHASSIS, RACK)
OTHER = "choose another or remove the request"
LAN = (("lan", "lan-net"),)


def on(cluster_subnet: str, name: str = "lan-net") -> Body:
    return nad({"clusterSubnet": cluster_subnet}, name)


def asks(mac: str, name: str = "db", networks: tuple[tuple[str, str], ...] = LAN) -> Body:
    return vm(name, networks=networks, macs={networks[0][0]: mac})


def node(provider_network: str) -> tuple[Body | Change, ...]:
    """One that is plugged into a ProviderNetwork."""
    plugged = {"nic": "eth1", "macAddress": NODE, "ready": True}
    return node_network(chassis=CHASSIS, providerNetworks={provider_network: plugged})


ON_VLAN = (lan(providerNetwork="NS", vlan=7), on("NS"))
BESIDE = (*ON_VLAN, lan("10.6.0.0/24", "NS-two", providerNetwork="NS", vlan=7), on("NS-two", "b-net"))
APART = (*ON_VLAN, lan("10.6.0.0/24", "NS-two", providerNetwork="NS", vlan=8), on("NS-two", "b-net"))
IN_B = (("b", "b-net"),)

MACS: dict[str, tuple[Row, ...]] = {
    "MACs that are in use where the NIC is": (
        Row("the Vpc's router's", asks(ROUTER), PIN_VM,
            f"ClusterSubnet {ROUTED}: {ROUTER} is used by the router of ClusterVpc {ROUTED}; {OTHER}",
            code=409, after=(lan(name=ROUTED), on(ROUTED))),
        Row("one that routers take over from each other", pod([{"name": "blue-net", "mac": "00:00:5e:00:01:0a"}]), MARK_POD,
            f"Subnet NS/blue: 00:00:5e:00:01:0a is used by routers by VRRP; {OTHER}", code=409),
        Row("a node's", asks(NODE), PIN_VM,
            f"ClusterSubnet NS: {NODE} is used by node NS on ProviderNetwork NS; {OTHER}",
            code=409, after=(network(), *node("NS"), *ON_VLAN), once_heard=True),
        Row("one by which OVN's routers speak outside", asks(ROUTERS), PIN_VM,
            f"ClusterSubnet NS: {ROUTERS} is used by OVN's routers on node NS on ProviderNetwork {RACK}; {OTHER}",
            code=409, after=(*node(RACK), lan(providerNetwork=RACK, vlan=7), on("NS")), once_heard=True),
        Row("another NIC's in a ClusterSubnet of the same VLAN", asks(MAC, "web", IN_B), PIN_VM,
            f"ClusterSubnet NS-two: {MAC} is held by VM NS/db, NIC lan in ClusterSubnet NS on the same VLAN; {OTHER}",
            code=409, after=(*BESIDE, asks(MAC))),
        Row("those of NICs in a ClusterSubnet that is moved to their VLAN", Change("ClusterSubnet", "NS-two", {"spec": {"vlan": 7}}),
            CHECK,
            f"ClusterSubnet NS-two: MAC {MAC} of VM NS/web, NIC b is that of VM NS/db, NIC lan in ClusterSubnet NS, on the same "
            "VLAN; use another, or give one of them another MAC",
            code=409, after=(*APART, asks(MAC), asks(MAC, "web", IN_B))),
    ),
}  # fmt: skip
