"""Which NICs may be plugged in, and what is said of the others."""

from dataclasses import replace
from typing import Any

import pytest

from tests.messages import NICS
from virtnet.node.providers.nic import PhysicalNic, Refusal, check

PLAIN = PhysicalNic(
    name="eth1",
    index=2,
    mac="02:00:00:00:00:01",
    mtu=1500,
    ethernet=True,
    kind="",
    up=True,
    carrier=True,
    loopback=False,
    wireless=False,
    master="",
    uppers=(),
    promiscuous=False,
    address_generation=0,
)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="hardware"),
        pytest.param({"kind": "bond"}, id="a bond"),
        pytest.param({"kind": "team"}, id="a team"),
        pytest.param({"kind": "vlan"}, id="a VLAN interface"),
        pytest.param({"kind": "veth"}, id="a veth"),
        pytest.param({"kind": "bridge"}, id="a Linux bridge"),
        pytest.param({"up": False, "carrier": False}, id="down"),
        pytest.param({"master": "ovs-system"}, id="ours already"),
    ],
)
def test_these_may_be(changes: dict[str, Any]) -> None:
    nic = replace(PLAIN, **changes)
    assert check(nic, "eth1", bridge="br-blue", port_of="br-blue" if nic.master else "") is nic


@pytest.mark.parametrize(
    ("changes", "port_of", "reason", "message"),
    [
        pytest.param({"loopback": True}, "", "NicUnsuitable", "loopback", id="loopback"),
        pytest.param({"wireless": True}, "", "NicUnsuitable", "wireless", id="wireless"),
        pytest.param({"mac": ""}, "", "NicUnsuitable", "Ethernet", id="no MAC"),
        pytest.param({"mac": "00:00:00:00", "ethernet": False, "kind": "sit"}, "", "NicUnsuitable", "Ethernet", id="IP tunnel"),
        pytest.param({"kind": "tun"}, "", "NicUnsuitable", "tun", id="a tap"),
        pytest.param({"kind": "vrf"}, "", "NicUnsuitable", "vrf", id="a VRF"),
        pytest.param({"kind": "macvlan"}, "", "NicUnsuitable", "its own address only", id="a macvlan"),
        pytest.param({"kind": "ipvlan"}, "", "NicUnsuitable", "its own address only", id="an ipvlan"),
        pytest.param({"master": "bond0"}, "", "NicInUse", "name bond0 itself", id="of a bond"),
        pytest.param({"master": "br0"}, "", "NicInUse", "name br0 itself", id="of a bridge"),
        pytest.param({"master": "ovs-system"}, "br-ex", "NicInUse", "br-ex", id="of another OVS bridge"),
        pytest.param({}, "br-ex", "NicInUse", "br-ex", id="of another OVS bridge in userspace"),
        pytest.param({"uppers": ("eth1.7", "mv0")}, "", "NicInUse", "eth1.7, mv0", id="under a VLAN interface"),
    ],
)  # fmt: skip
def test_these_are_refused(changes: dict[str, Any], port_of: str, reason: str, message: str) -> None:
    with pytest.raises(Refusal, match=message) as refused:
        check(replace(PLAIN, **changes), "eth1", bridge="br-blue", port_of=port_of)
    assert refused.value.reason == reason


KINDS: dict[str, dict[str, Any]] = {
    "a wireless NIC": {"wireless": True},
    "an IP tunnel": {"mac": "00:00:00:00", "ethernet": False, "kind": "sit"},
}
"""NICs that not every machine can make."""


@pytest.mark.parametrize("given", KINDS)
def test_people_are_told(given: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(replace(PLAIN, **KINDS[given]), "eth1", bridge="br-blue", port_of="")
    assert (refused.value.reason, str(refused.value)) == (NICS[given].reason, NICS[given].message)


def test_a_nic_that_is_not_there_is_told_of() -> None:
    with pytest.raises(Refusal, match="there is no NIC eth9") as refused:
        check(None, "eth9", bridge="br-blue", port_of="")
    assert refused.value.reason == "NicMissing"
