"""What is read of a VMI and of the pod's network-info: each NIC as it is asked for, or refused by name."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.binding.samples import BLUE, RED, bound, vmi
from virtnet.api.vhostuser import LAUNCHER_SOCKETS
from virtnet.binding import DomainRefused
from virtnet.binding.network_info import NicInfo, parse
from virtnet.binding.nics import VhostUserNic, nics_of

INFO = {"blue": NicInfo("02:00:00:00:00:01", 1400), "red": NicInfo("02:00:00:00:00:02", 1342)}


def test_the_nics_that_are_bound_by_the_plugin() -> None:
    others = {"name": "default", "masquerade": {}}, {"name": "other", "binding": {"name": "passt"}}
    leaving = bound("gone", state="absent")
    assert nics_of(vmi(leaving), INFO) == ()
    assert nics_of(vmi(*others, bound(), leaving, bound("red", RED.mac)), INFO) == (BLUE, RED)


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        pytest.param(vmi(bound(mac="0A-00-00-00-00-0B")), {"mac": "0a:00:00:00:00:0b"}, id="a MAC in another form"),
        pytest.param(vmi({"name": "blue", "binding": {"name": "virtnet-vhostuser"}}), {"mac": "02:00:00:00:00:01"}, id="the pod's MAC, where the VMI has none"),
        pytest.param(vmi(bound(model="virtio")), {}, id="the model that it has anyway"),
        pytest.param(vmi(bound(), networkInterfaceMultiqueue=True), {"multiqueue": True}, id="multiqueue"),
        pytest.param(vmi(bound(), useVirtioTransitional=True), {"transitional": True}, id="transitional"),
        pytest.param(vmi(bound(state="down")), {"link_up": False}, id="link down"),
        pytest.param(vmi(bound(bootOrder=1, acpiIndex=3, pciAddress="0000:81:01.0")), {"boot_order": 1, "acpi_index": 3, "pci_address": "0000:81:01.0"}, id="places"),
        pytest.param(vmi(bound(), networks=[{"name": "blue", "multus": {"networkName": "a/b", "default": True}}]), {"interface": "eth0"}, id="in place of the pod network"),
        pytest.param(vmi(bound(), networks=[{"name": "blue", "pod": {}}]), {"interface": "eth0"}, id="the pod network"),
    ],
)  # fmt: skip
def test_what_a_vmi_says(instance: bytes, expected: dict[str, Any]) -> None:
    (nic,) = nics_of(instance, INFO)
    asked = {"network": "blue", "interface": "pod16477688c0e", "mac": "02:00:00:00:00:01", "mtu": 1400}
    assert nic == VhostUserNic(**{**asked, **expected})


def test_without_network_info_the_mtu_is_left_to_dhcp() -> None:
    assert [nic.mtu for nic in nics_of(vmi(bound()), {})] == [None]


@given(st.from_regex(r"[A-Za-z0-9_-]{1,253}", fullmatch=True))
def test_the_socket_fits_whatever_the_network_is_called(name: str) -> None:
    """In 108 bytes with the zero, and two networks of a VM never have the same."""
    (nic,) = nics_of(vmi(bound(name)), {})
    assert len(nic.socket) < 108
    assert nic.socket.startswith(f"{LAUNCHER_SOCKETS}/vhostuser-pod")
    assert (nic.socket == BLUE.socket) == (name == "blue")


CALLED = "VMI: interface blue: "


@pytest.mark.parametrize(
    ("instance", "why"),
    [
        pytest.param(vmi(bound(model="e1000")), CALLED + "model e1000: vhost-user NICs are virtio; remove the model", id="another model"),
        pytest.param(vmi(bound(mac="01:00:5e:00:00:01")), CALLED + "macAddress '01:00:5e:00:00:01' must be a MAC of one NIC", id="multicast"),
        pytest.param(vmi(bound(mac='"/><x y="')), CALLED + "macAddress .* must be a MAC", id="XML for a MAC"),
        pytest.param(vmi(bound(mac="")), CALLED + "nobody says its MAC; write macAddress", id="no MAC"),
        pytest.param(vmi(bound(), networks=[]), CALLED + "its network is neither of Multus nor the pod network", id="no network"),
        pytest.param(vmi(bound(), networks=[{"name": "blue", "resourceClaim": {}}]), CALLED + "its network is neither of Multus nor the pod network", id="a network of a claim"),
        pytest.param(vmi(bound(), bound()), "VMI: two interfaces are called blue", id="one name twice"),
        pytest.param(vmi(bound("a<b")), r"VMI: interface 'a<b': its name must be of letters, digits, '-' and '_'", id="a name that is no name"),
        pytest.param(vmi(bound("")), r"VMI: interface '': its name must be", id="no name"),
        pytest.param(vmi(bound(bootOrder="first")), r"interfaces\[0\].bootOrder must be a number from 1 on and is the string 'first'", id="boot order"),
        pytest.param(vmi(bound(acpiIndex=True)), r"interfaces\[0\].acpiIndex must be a number from 1 on and is true", id="ACPI index"),
        pytest.param(vmi(bound(acpiIndex=1 << 40)), r"interfaces\[0\].acpiIndex must be a number", id="ACPI index too large"),
        pytest.param(vmi(bound(pciAddress="81:1")), CALLED + "pciAddress '81:1' must be like 0000:81:01.0", id="PCI address"),
        pytest.param(vmi(bound(), networkInterfaceMultiqueue="yes"), "networkInterfaceMultiqueue must be true or false", id="multiqueue"),
        pytest.param(vmi(*[bound(f"n{i}") for i in range(300)]), "has 300 entries; write at most 256", id="too many"),
        pytest.param(b"{", "VMI: not JSON", id="no JSON"),
        pytest.param(b"[" * 100_000, "VMI: not JSON", id="too deep"),
        pytest.param(b"\xff", "VMI: not JSON", id="no UTF-8"),
        pytest.param(b"[]", "VMI: must be an object", id="a list"),
        pytest.param(b'{"spec": 1}', "VMI: spec must be an object and is 1", id="a spec that is none"),
        pytest.param(vmi({"name": "blue", "binding": {"name": "vhostuser"}}), "no interface is bound by virtnet-vhostuser; register the plugin by this name", id="registered by another name"),
    ],
)  # fmt: skip
def test_what_is_refused(instance: bytes, why: str) -> None:
    with pytest.raises(DomainRefused, match=why):
        nics_of(instance, {})


def test_network_info() -> None:
    listed = [
        {"network": "blue", "mac": "02:00:00:00:00:01", "mtu": 1400},
        {"network": "old", "deviceInfo": {"type": "vhost-user"}},
        {"network": "none", "mtu": 0},
    ]
    text = json.dumps({"interfaces": listed}).encode()
    assert parse(text) == {"blue": NicInfo("02:00:00:00:00:01", 1400), "old": NicInfo(), "none": NicInfo()}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(b"{", "the pod's network-info: ", id="no JSON"),
        pytest.param(b"[" * 100_000, "the pod's network-info: ", id="too deep"),
        pytest.param(b"[]", "must be an object", id="a list"),
        pytest.param(b'{"interfaces": [{"network": 1}]}', r"interfaces\[0\].network must be a string", id="a name that is none"),
        pytest.param(b'{"interfaces": [{"mtu": 70000}]}', r"interfaces\[0\].mtu must be a number from 576 to 9000", id="an MTU that is none"),
        pytest.param(b'{"interfaces": [{"mtu": true}]}', r"interfaces\[0\].mtu must be a number", id="true for an MTU"),
    ],
)  # fmt: skip
def test_network_info_that_is_none(text: bytes, why: str) -> None:
    with pytest.raises(DomainRefused, match=why):
        parse(text)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
interfaces = st.fixed_dictionaries(
    {"name": st.sampled_from(["blue", "red"]), "binding": st.just({"name": "virtnet-vhostuser"})},
    optional=dict.fromkeys(("macAddress", "model", "state", "bootOrder", "acpiIndex", "pciAddress"), anything),
)


@given(
    st.binary(max_size=50)
    | st.builds(vmi, interfaces)
    | anything.map(lambda value: json.dumps({"spec": value}).encode())
)
def test_whatever_comes_is_read_or_refused(instance: bytes) -> None:
    with contextlib.suppress(DomainRefused):
        nics_of(instance, INFO)
