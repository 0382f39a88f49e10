"""What a VM's manifest wants its guest to be told by DHCP, and what of it is left out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.api.guest import GuestDhcp
from virtnet.api.kubevirt_dhcp import wanted_dhcp
from virtnet.api.strings import invalid


def vm(name: str = "db", hostname: Any = None, **options: Any) -> dict[str, Any]:
    interface = {"name": "blue", "bridge": {}, "dhcpOptions": options}
    spec = {"hostname": hostname, "domain": {"devices": {"interfaces": [interface]}}}
    return {"metadata": {"name": name, "namespace": "demo"}, "spec": {"template": {"spec": spec}}}


@pytest.mark.parametrize(
    ("name", "hostname", "expected"),
    [
        ("db", None, "db"),
        ("db", "boot-me", "boot-me"),
        ("db.example", None, "db"),
        ("d" * 62 + "-x", None, "d" * 62),
        ("db", 7, "7"),
        ("db", "a b", ""),
    ],
)
def test_a_guest_is_named_after_its_hostname_or_its_vm(name: str, hostname: Any, expected: str) -> None:
    assert wanted_dhcp(vm(name, hostname)).of("blue").hostname == expected


@pytest.mark.parametrize(
    ("options", "served", "left"),
    [
        pytest.param({}, {}, (), id="none"),
        pytest.param(
            {"bootFileName": "pxelinux.0", "tftpServerName": "10.10.0.9", "ntpServers": ["10.10.0.8"],
             "privateOptions": [{"option": 252, "value": "http://wpad.example/wpad.dat"}]},
            {"bootFileName": "pxelinux.0", "tftpServer": "10.10.0.9", "ntpServers": ["10.10.0.8"],
             "proxyUrl": "http://wpad.example/wpad.dat"}, (), id="all that OVN has",
        ),
        pytest.param({"bootFileName": 'x"); next; //'}, {}, (
            "bootFileName 'x\"); next; //' must be a file's name, path or URL: no space, comma, quote, backslash or '..', of at most 127 bytes",
        ), id="text that is none"),
        pytest.param({"ntpServers": ["ntp.example", "10.0.0.1"]}, {"ntpServers": ["10.0.0.1"]}, (
            "ntpServers: 'ntp.example' is left out: at most 6 IPv4 addresses are told",
        ), id="a time server's name"),
        pytest.param({"privateOptions": [{"option": 240, "value": "x"}]}, {}, (
            "privateOptions: option 240 is left out: OVN has 252 alone, for a URL",
        ), id="an option that OVN lacks"),
        pytest.param({"ntpServers": 5, "privateOptions": ["x"], "bootFileName": None}, {}, (), id="wrong types"),
    ],
)  # fmt: skip
def test_what_can_be_served_is(options: dict[str, Any], served: dict[str, Any], left: tuple[str, ...]) -> None:
    wanted = wanted_dhcp(vm(**options))
    assert wanted.of("blue") == GuestDhcp.model_validate({"hostname": "db", **served})
    assert wanted.left_out.get("blue", ()) == left


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("bootFileName", "tftpServerName", "ntpServers"), JSON)),
    st.lists(st.fixed_dictionaries({"option": st.sampled_from([252, "252", 240, None]), "value": JSON}), max_size=3),
    JSON,
)
def test_nothing_of_a_form_that_ovn_would_misread_gets_through(options: Any, private: Any, hostname: Any) -> None:
    wanted = wanted_dhcp(vm(hostname=hostname, **options, privateOptions=private))
    assert not invalid(wanted.of("blue"))
