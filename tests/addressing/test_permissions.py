"""What a NIC may hold, and which leases prove it: the rule that admission, controller and node share."""

from typing import Any

import pytest

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.holding import Holding, holding
from virtnet.addressing.permissions import forbidden, refusal, unattachable
from virtnet.api import AddressLease, AddressLeaseSpec, ClusterSubnet, Holder, Owner, PortSpec, Subnet, SubnetRef
from virtnet.api.lease import lease_name
from virtnet.api.meta import Metadata
from virtnet.api.records import Attachment

VM = Owner(kind="VirtualMachine", name="db")
POD = Owner(kind="Pod", name="db")
MAC = "02:00:00:00:00:05"
SPEC = {
    "cidrs": ["10.0.0.0/24", "fd00::/64"],
    "routerAddresses": ["10.0.0.2"],
    "providerNetwork": "rack",
    "excludes": ["10.0.0.200-10.0.0.250"],
    "reservations": [{"address": "10.0.0.40", "vm": "demo/db"}, {"address": "10.0.0.41", "vm": "demo/web"}],
}
BLUE = Subnet.parse({"metadata": {"name": "blue", "namespace": "demo"}, "spec": {"cidrs": ["10.0.0.0/24"]}})
LAN = ClusterSubnet.parse({"metadata": {"name": "lan"}, "spec": SPEC})
OURS = LAN.model_copy(update={"spec": LAN.spec.model_copy(update={"allowed_namespaces": ("demo",)})})
THEIRS = LAN.model_copy(update={"spec": LAN.spec.model_copy(update={"allowed_namespaces": ("ops",)})})


def spec(*addresses: str, of: Subnet | ClusterSubnet = LAN, owner: Owner = VM) -> PortSpec:
    return PortSpec(
        owner=owner,
        network="blue",
        network_attachment_definition="demo/net",
        subnet=of.ref,
        mac_address=MAC,
        addresses=addresses,
    )


@pytest.mark.parametrize(
    ("namespace", "subnet", "problem"),
    [
        pytest.param("demo", BLUE, "", id="a Subnet of its own"),
        pytest.param("evil", BLUE, "Subnet demo/blue serves namespace demo only", id="a Subnet of others"),
        pytest.param("evil", LAN, "", id="a ClusterSubnet for all"),
        pytest.param("demo", OURS, "", id="a ClusterSubnet that allows it"),
        pytest.param("evil", OURS, "ClusterSubnet lan may not be used from namespace evil", id="a ClusterSubnet of others"),
    ],
)  # fmt: skip
def test_who_may_use_a_subnet(namespace: str, subnet: Subnet | ClusterSubnet, problem: str) -> None:
    found = forbidden(namespace, subnet)
    assert found.startswith(problem) if problem else not found


@pytest.mark.parametrize(
    ("of", "leased", "problem"),
    [
        pytest.param(spec("10.0.0.5"), "", "", id="a free address"),
        pytest.param(spec("10.0.0.5", "fd00::5"), "", "", id="one of each family"),
        pytest.param(spec("10.0.0.40"), "", "", id="its reservation"),
        pytest.param(spec("10.0.0.1"), "", "10.0.0.1 is the gateway", id="the gateway"),
        pytest.param(spec("fd00::1"), "", "fd00::1 is the gateway", id="the IPv6 gateway"),
        pytest.param(spec("10.0.0.2"), "", "10.0.0.2 is an address of the Vpc's router", id="the router"),
        pytest.param(spec("10.0.0.0"), "", "10.0.0.0 is the network address", id="the network"),
        pytest.param(spec("10.0.0.255"), "", "10.0.0.255 is the broadcast address", id="broadcast"),
        pytest.param(spec("fd00::"), "", "fd00:: is the subnet-router anycast address", id="anycast"),
        pytest.param(spec("10.0.1.5"), "", "10.0.1.5 is outside 10.0.0.0/24", id="outside"),
        pytest.param(spec("10.0.0.201"), "", "10.0.0.201 is excluded", id="excluded"),
        pytest.param(spec("10.0.0.41"), "", "10.0.0.41 is reserved for VM demo/web", id="another's reservation"),
        pytest.param(spec("10.0.0.40", owner=POD), "", "10.0.0.40 is reserved for VM demo/db", id="a pod of the VM's name"),
        pytest.param(spec("10.0.0.5", "10.0.0.6"), "", "10.0.0.5 and 10.0.0.6 are both IPv4", id="two of a family"),
        pytest.param(spec("fd00::5", of=BLUE), "", "fd00::5 is not an IPv4 address", id="a family that is not there"),
        pytest.param(spec("10.0.0.201"), f"{MAC} 10.0.0.201", "", id="granted before it was excluded"),
        pytest.param(spec("10.0.0.201", "fd00::1"), f"{MAC} 10.0.0.201", "fd00::1 is the gateway", id="half granted"),
        pytest.param(spec("10.0.0.201"), "10.0.0.201", "", id="granted, and the MAC's lease was lost"),
    ],
)  # fmt: skip
def test_what_a_port_may_claim(of: PortSpec, leased: str, problem: str) -> None:
    subnet = BLUE if of.subnet == BLUE.ref else LAN
    found = refusal("demo/db.blue", of, subnet, frozenset(leased.split()))
    assert problem in found if problem else not found


@pytest.mark.parametrize("leased", [frozenset[str](), frozenset({MAC, "10.0.0.5"})], ids=["nothing", "all leased"])
def test_no_lease_makes_anothers_subnet_ones_own(leased: frozenset[str]) -> None:
    found = refusal("evil/db.blue", spec("10.0.0.5", of=BLUE), BLUE, leased)
    assert found == "Subnet demo/blue serves namespace demo only; use a Subnet of evil, or a ClusterSubnet"


def test_what_was_granted_outlives_the_permission() -> None:
    assert "may not be used" in refusal("demo/db.blue", spec("10.0.0.5"), THEIRS, frozenset({MAC}))
    assert not refusal("demo/db.blue", spec("10.0.0.5"), THEIRS, frozenset({MAC, "10.0.0.5"}))


def test_nothing_is_claimed_in_a_subnet_that_is_not_there() -> None:
    assert refusal("demo/db.blue", spec("10.0.0.5"), None, frozenset()) == "ClusterSubnet lan does not exist; create it"
    assert not refusal("demo/db.blue", spec("10.0.0.5"), None, frozenset({MAC, "10.0.0.5"}))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        pytest.param({}, "", id="of admission"),
        pytest.param({"addresses": ["10.0.0.5/24", "fd00::5/64"]}, "", id="of both families"),
        pytest.param({"subnet": LAN.ref}, "", id="in a ClusterSubnet"),
        pytest.param({"port": "victim/db.blue"}, "Port victim/db.blue is of another namespace", id="another's port"),
        pytest.param({"port": "demo-x/db.blue"}, "Port demo-x/db.blue is of another namespace", id="of a like name"),
        pytest.param(
            {"subnet": SubnetRef(kind="Subnet", namespace="victim", name="blue")}, "serves namespace victim only", id="another's Subnet"
        ),
        pytest.param({"subnet": SubnetRef(kind="ClusterSubnet", namespace="demo", name="lan")}, "ClusterSubnet demo/lan", id="of no scope"),
        pytest.param({"addresses": ["10.0.0.1/24"], "gateways": ["10.0.0.1"]}, "10.0.0.1 is the gateway", id="gateway"),
        pytest.param({"addresses": ["10.0.0.0/24"]}, "no host address of 10.0.0.0/24", id="network"),
        pytest.param({"addresses": ["10.0.0.255/24"]}, "no host address of 10.0.0.0/24", id="broadcast"),
        pytest.param({"addresses": ["fd00::/64"]}, "no host address of fd00::/64", id="anycast"),
        pytest.param({"addresses": ["10.0.0.5/24", "10.0.0.6/24"]}, "10.0.0.6 is the second IPv4 address", id="two"),
    ],
)  # fmt: skip
def test_what_a_pod_can_have_been_marked_with(given: dict[str, Any], problem: str) -> None:
    known = {"port": "demo/db.blue", "network": "blue", "nad": "demo/net", "subnet": BLUE.ref, "mac": MAC, "mtu": 1442}
    found = unattachable("demo", Attachment.model_validate({**known, "addresses": ["10.0.0.5/24"], **given}))
    assert problem in found if problem else not found


def lease(address: str, port: str, ref: SubnetRef = LAN.ref) -> HeldAddress:
    namespace, name = port.split("/")
    holder = Holder(namespace=namespace, port=name, owner=VM, network="blue")
    lease = AddressLease(
        metadata=Metadata(name=lease_name(address, ref)),
        spec=AddressLeaseSpec(address=address, subnet=ref, holder=holder),
    )
    return HeldAddress.of_lease(lease)


OWN, OTHERS = (lease("10.0.0.5", f"demo/{name}.blue") for name in ("db", "web"))
OWN_MAC = lease(MAC, "demo/db.blue")


@pytest.mark.parametrize(
    ("leases", "expected"),
    [
        pytest.param((OWN, OWN_MAC), Holding(frozenset({MAC, "10.0.0.5"})), id="all"),
        pytest.param((OWN,), Holding(frozenset({"10.0.0.5"}), (MAC,)), id="no MAC"),
        pytest.param((OWN_MAC,), Holding(frozenset({MAC}), ("10.0.0.5",)), id="no address"),
        pytest.param((), Holding(missing=(MAC, "10.0.0.5")), id="none"),
        pytest.param((OTHERS, OWN_MAC), Holding(frozenset({MAC}), others=(OTHERS,)), id="another's"),
        pytest.param((lease("10.0.0.5", "demo/db.blue", BLUE.ref), OWN_MAC), Holding(frozenset({MAC}), ("10.0.0.5",)), id="of another Subnet"),
    ],
)  # fmt: skip
def test_what_leases_prove(leases: tuple[HeldAddress, ...], expected: Holding) -> None:
    found = holding("demo/db.blue", spec("10.0.0.5"), {one.name: one for one in leases})
    assert found == expected
    assert found.complete == (expected.held == {MAC, "10.0.0.5"})
