"""The grammar of what a NIC has: one host's addresses, in one form. Nothing else gets into a record, Port or lease."""

import json
from typing import Any

import pytest

from virtnet.api import AddressLeaseSpec, Holder, Owner, PortSpec, SubnetRef
from virtnet.api.records import Attachment, PinnedNic
from virtnet.api.strings import check

REF = {"kind": "ClusterSubnet", "name": "lan"}
MAC = "02:00:00:00:00:05"
NO_HOST = (
    "0.0.0.0/1", "10.0.0.5/32", "10.0.0.5/24", "0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", "169.254.0.1",
    "::", "::1", "::/0", "fe80::1", "fe80::1%eth0", "ff02::1", "::ffff:10.0.0.5", "FD00::5", "fd00:0::5", "010.0.0.5",
    "10.0.0.5 0.0.0.0/0", " 10.0.0.5", "10.0.0.5\n", "10.0.0.5,10.0.0.6", "unknown", "dynamic", "router", "", "10.0.0",
)  # fmt: skip
NO_MAC = (
    "02:00:00:00:00:0A", "02-00-00-00-00-05", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "02:00:00:00:00", "", "unknown",
    "02:00:00:00:00:05 ", "02:00:00:00:00:05\n", "02:00:00:00:00:05 10.0.0.1", "router", "dynamic",
)  # fmt: skip


def pinned(**given: Any) -> PinnedNic:
    return PinnedNic.model_validate({"nad": "demo/net", "subnet": REF, "mac": MAC, "addresses": ["10.0.0.5"], **given})


def port(**given: Any) -> PortSpec:
    """A Port is read as it is stored, and checked by who compiles it."""
    mac = {"macAddress": given.pop("mac", MAC)}
    owner, nad = {"kind": "VirtualMachine", "name": "db"}, {"networkAttachmentDefinition": "demo/net"}
    found = PortSpec.model_validate(
        {"owner": owner, "network": "blue", "subnet": REF, "addresses": ["10.0.0.5"], **nad, **mac, **given}
    )
    check(found)
    return found


def attachment(**given: Any) -> Attachment:
    addresses = [f"{one}/24" for one in given.pop("addresses", ["10.0.0.5"])]
    known = {"port": "demo/db.blue", "network": "blue", "nad": "demo/net", "subnet": REF, "mac": MAC, "mtu": 1442}
    return Attachment.model_validate({**known, "addresses": addresses, **given})


KINDS = pytest.mark.parametrize("make", [pinned, port, attachment])


@KINDS
def test_what_admission_writes(make: Any) -> None:
    assert make()
    assert make(addresses=["10.0.0.5", "fd00::5"])


@KINDS
@pytest.mark.parametrize("address", NO_HOST, ids=json.dumps)
def test_an_address_is_one_hosts(make: Any, address: str) -> None:
    with pytest.raises(ValueError, match="addresses"):
        make(addresses=[address])


@KINDS
@pytest.mark.parametrize("mac", NO_MAC, ids=json.dumps)
def test_a_mac_is_one_nics(make: Any, mac: str) -> None:
    with pytest.raises(ValueError, match="mac"):
        make(mac=mac)


@KINDS
def test_a_nic_has_an_address_of_each_family_at_most(make: Any) -> None:
    assert make(addresses=[])
    with pytest.raises(ValueError, match="addresses"):
        make(addresses=["10.0.0.5", "10.0.0.6", "10.0.0.7"])


@pytest.mark.parametrize("address", [*NO_HOST, *NO_MAC], ids=json.dumps)
def test_a_lease_is_of_one_address(address: str) -> None:
    holder = Holder(namespace="demo", port="db.blue", owner=Owner(kind="VirtualMachine", name="db"), network="blue")
    subnet = SubnetRef.model_validate(REF)
    for good in ("10.0.0.5", "fd00::5", MAC):
        check(AddressLeaseSpec(address=good, subnet=subnet, holder=holder))
    with pytest.raises(ValueError, match="address"):
        check(AddressLeaseSpec(address=address, subnet=subnet, holder=holder))


@pytest.mark.parametrize("key", ["demo", "demo/", "/db", "demo/db/blue", "demo/../db", "demo/db\n", "Demo/db", "demo/..", ""], ids=json.dumps)  # fmt: skip
def test_an_attachment_names_a_port(key: str) -> None:
    with pytest.raises(ValueError, match="port"):
        attachment(port=key)


@pytest.mark.parametrize("name", ["a.b", "../x", "A", "", "a\n", "a/b"], ids=json.dumps)
def test_a_reference_names_a_subnet(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        pinned(subnet={"kind": "Subnet", "namespace": "demo", "name": name})
    if name:
        with pytest.raises(ValueError, match="namespace"):
            pinned(subnet={"kind": "Subnet", "namespace": name, "name": "blue"})
