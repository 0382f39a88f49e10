"""What a NIC requests: the table of what is asked for, what was pinned, what is leased, and what is reserved."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from virtnet.addressing.pools import pools_of
from virtnet.addressing.requests import (
    AddressRequest,
    NicRequest,
    Past,
    Refused,
    RequestedNic,
    nic_request,
    port_of,
    without_duplicates,
)
from virtnet.api import Holder, Owner, Subnet, SubnetRef
from virtnet.api.records import PinnedNic, PinnedRecord

BLUE = SubnetRef(kind="Subnet", namespace="demo", name="blue")
RED = SubnetRef(kind="Subnet", namespace="demo", name="red")
VM = Owner(kind="VirtualMachine", name="db")
POOLS = pools_of(
    Subnet.parse(
        {
            "metadata": {"name": "blue", "namespace": "demo"},
            "spec": {"cidrs": ["10.0.0.0/24"], "reservations": [{"address": "10.0.0.40", "vm": "db"}]},
        }
    )
)
MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"


def record(
    address: str = "10.0.0.20", *, vm: str = "demo/db", subnet: SubnetRef = BLUE, mac: str = MAC
) -> PinnedRecord:
    nic = PinnedNic(network_attachment_definition="demo/blue-net", subnet=subnet, mac=mac, addresses=(address,))
    return PinnedRecord(vm=vm, nics={"blue": nic})


@dataclass(frozen=True)
class Case:
    address: AddressRequest
    mac: AddressRequest
    own_address: str = ""
    own_mac: str = ""
    new: PinnedRecord | None = None
    old: PinnedRecord | None = None
    held: tuple[str, ...] = ()
    settled: frozenset[str] = frozenset()
    owner: Owner = field(default=VM)


RESERVED = ("10.0.0.40",)
ANY = AddressRequest()
KEPT = frozenset((MAC, "10.0.0.20"))
LEASED = ("10.0.0.30", OTHER)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(AddressRequest(preferred=RESERVED), ANY), id="nothing said: the reservation"),
        pytest.param(Case(AddressRequest("10.0.0.5", RESERVED), AddressRequest(MAC), "10.0.0.5", MAC), id="requests"),
        pytest.param(
            Case(AddressRequest("10.0.0.20", RESERVED), AddressRequest(MAC), old=record(), settled=KEPT),
            id="stored record: kept",
        ),
        pytest.param(
            Case(
                AddressRequest("10.0.0.5", RESERVED),
                AddressRequest(OTHER),
                "10.0.0.5",
                OTHER,
                old=record(),
                settled=KEPT,
            ),
            id="stored record and requests: the requests",
        ),
        pytest.param(
            Case(AddressRequest("10.0.0.20", RESERVED), AddressRequest(MAC), new=record()),
            id="brought record: a request",
        ),
        pytest.param(
            Case(
                AddressRequest("10.0.0.20", RESERVED),
                AddressRequest(MAC),
                new=record("10.0.0.99"),
                old=record(),
                settled=KEPT,
            ),
            id="brought and stored record: the stored one",
        ),
        pytest.param(
            Case(AddressRequest(preferred=RESERVED), ANY, own_mac=MAC, new=record(vm="demo/web")),
            id="record of another: nothing",
        ),
        pytest.param(
            Case(AddressRequest(preferred=RESERVED), AddressRequest(OTHER), own_mac=OTHER, new=record(vm="demo/web")),
            id="record of another, and a MAC of one's own",
        ),
        pytest.param(
            Case(
                AddressRequest("10.0.0.20", RESERVED),
                AddressRequest(MAC),
                new=record(vm="demo/web"),
                old=record(),
                settled=KEPT,
            ),
            id="record of another and a stored one: the stored one",
        ),
        pytest.param(
            Case(AddressRequest(preferred=("10.0.0.30", *RESERVED)), AddressRequest(preferred=(OTHER,)), held=LEASED),
            id="leases: rather these",
        ),
        pytest.param(
            Case(AddressRequest(preferred=RESERVED), AddressRequest(preferred=(OTHER,)), held=("10.0.0.1", OTHER)),
            id="lease that would not be granted any more",
        ),
        pytest.param(
            Case(AddressRequest(preferred=RESERVED), AddressRequest(preferred=(MAC,)), old=record(subnet=RED)),
            id="pinned elsewhere: the MAC",
        ),
        pytest.param(
            Case(
                AddressRequest(preferred=RESERVED),
                AddressRequest(preferred=(MAC,)),
                own_mac=MAC,
                old=record(subnet=RED),
            ),
            id="pinned elsewhere, the MAC still in the manifest: no request",
        ),
        pytest.param(
            Case(
                AddressRequest(preferred=RESERVED),
                AddressRequest(OTHER, (MAC,)),
                own_mac=OTHER,
                old=record(subnet=RED),
            ),
            id="pinned elsewhere, another MAC asked for",
        ),
        pytest.param(Case(ANY, ANY, owner=Owner(kind="Pod", name="db")), id="reservations are for VMs, not for pods"),
    ],
)
def test_what_a_nic_wants(case: Case) -> None:
    found = wanted(case)
    assert (found.addresses, found.mac, found.settled) == ((case.address,), case.mac, case.settled)


def wanted(case: Case) -> NicRequest:
    return nic_request(
        RequestedNic("blue", "demo/blue-net", case.own_mac, (case.own_address,) if case.own_address else ()),
        namespace="demo",
        owner=case.owner,
        subnet=BLUE,
        pools=POOLS,
        past=Past.of("demo/db", case.new, case.old),
        held=case.held,
    )


def test_what_is_stored_and_leased_stays_though_it_would_not_be_granted_today() -> None:
    stored = Case(ANY, ANY, "10.0.0.1", old=record("10.0.0.1"), held=("10.0.0.1",))
    assert wanted(stored).addresses == (AddressRequest("10.0.0.1", RESERVED),)


def test_what_is_stored_proves_nothing_without_a_lease() -> None:
    assert wanted(Case(ANY, ANY, old=record("10.0.0.1"))).addresses == (AddressRequest("", RESERVED),)
    with pytest.raises(Refused, match="is the gateway"):
        wanted(Case(ANY, ANY, "10.0.0.1", old=record("10.0.0.1")))


def test_what_is_brought_has_to_be_admissible() -> None:
    with pytest.raises(
        Refused, match=r"NIC blue: 10\.0\.0\.1 is the gateway; choose another, or remove the annotation"
    ):
        wanted(Case(ANY, ANY, new=record("10.0.0.1")))


def test_a_pod_and_a_vm_of_one_name_have_different_ports() -> None:
    assert port_of(VM, "net1") == "db.net1"
    assert port_of(Owner(kind="Pod", name="db"), "net1").startswith("db.net1-pod-")


def same_nad(network: str, subnet: SubnetRef = BLUE, **fields: Any) -> NicRequest:
    holder = Holder(namespace="demo", port=f"db.{network}", owner=VM, network=network)
    return NicRequest(network, "demo/net", subnet, holder, **{"addresses": (ANY,), "mac": ANY, **fields})


def test_two_nics_may_not_insist_on_one_address() -> None:
    request: dict[str, Any] = {"addresses": (AddressRequest("10.0.0.5"),)}
    with pytest.raises(Refused, match=r"^Subnet demo/blue: NICs a and b both ask for 10\.0\.0\.5; give them different"):
        without_duplicates((same_nad("a", **request), same_nad("b", **request)))
    assert len(without_duplicates((same_nad("a", **request), same_nad("b", RED, **request)))) == 2
    assert len(without_duplicates((same_nad("a"), same_nad("b")))) == 2
