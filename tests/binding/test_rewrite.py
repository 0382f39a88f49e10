"""The rewrite of a domain's XML: what it adds, what it refuses, and that nothing else changes by a byte."""

import contextlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.binding.samples import BLUE, DOMAIN, RED
from virtnet.binding import DomainRefused
from virtnet.binding.domain_xml import LARGEST
from virtnet.binding.nics import VhostUserNic
from virtnet.binding.rewrite import rewrite

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
INTERFACE = (
    b'<interface type="vhostuser"><mac address="02:00:00:00:00:01"/>'
    b'<source type="unix" path="/var/run/kubevirt/vhostuser-pod16477688c0e.sock" mode="server"/>'
    b'<model type="virtio-non-transitional"/><driver name="vhost" queues="1" rx_queue_size="1024" tx_queue_size="1024"/>'
    b'<rom enabled="no"/><alias name="ua-blue"/></interface>'
)
MEMORY = b'<memoryBacking><source type="memfd"/><access mode="shared"/></memoryBacking>'
OVERRIDE = (
    b'<qemu:override xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">'
    b'<qemu:device xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0" alias="ua-blue"><qemu:frontend>'
    b'<qemu:property name="host_mtu" type="unsigned" value="1400"/></qemu:frontend></qemu:device></qemu:override>'
)


def interface(xml: bytes, alias: str = "ua-blue") -> ET.Element:
    found = [one for one in ET.fromstring(xml).iter("interface") if one.find(f"alias[@name='{alias}']") is not None]
    assert len(found) == 1
    return found[0]


def attribute(element: ET.Element, child: str, name: str) -> str | None:
    found = element.find(child)
    return None if found is None else found.get(name)


def test_what_is_added_and_nothing_else() -> None:
    before_devices, after = DOMAIN.split(b"<devices>")
    devices, rest = after.split(b"</devices>")
    rest = rest.removesuffix(b"</domain>\n")
    expected = (
        before_devices + MEMORY + b"<devices>" + devices + INTERFACE + b"</devices>" + rest + OVERRIDE + b"</domain>\n"
    )
    assert rewrite(DOMAIN, [BLUE]) == expected


def test_without_a_nic_of_ours_nothing_is_read() -> None:
    assert rewrite(b"whatever it is", []) == b"whatever it is"


@pytest.mark.parametrize(
    ("nic", "child", "name", "value"),
    [
        pytest.param(replace(BLUE, multiqueue=True), "driver", "queues", "2", id="multiqueue: one pair for each vCPU"),
        pytest.param(replace(BLUE, transitional=True), "model", "type", "virtio-transitional", id="transitional"),
        pytest.param(replace(BLUE, link_up=False), "link", "state", "down", id="link down"),
        pytest.param(BLUE, "link", "state", None, id="link up"),
        pytest.param(replace(BLUE, boot_order=2), "boot", "order", "2", id="boot order"),
        pytest.param(replace(BLUE, boot_order=2), "rom", "enabled", None, id="boot from the NIC needs its ROM"),
        pytest.param(replace(BLUE, acpi_index=7), "acpi", "index", "7", id="ACPI index"),
        pytest.param(replace(BLUE, pci_address="0000:81:01.0"), "address", "bus", "0x81", id="PCI address"),
        pytest.param(replace(BLUE, interface="eth0"), "source", "path", "/var/run/kubevirt/vhostuser-eth0.sock", id="pod network"),
    ],
)  # fmt: skip
def test_what_the_vmi_says_of_its_nic(nic: VhostUserNic, child: str, name: str, value: str | None) -> None:
    assert attribute(interface(rewrite(DOMAIN, [nic])), child, name) == value


def test_vcpus_that_are_to_be_plugged_later_have_no_queues_yet() -> None:
    domain = DOMAIN.replace(b'<vcpu placement="static">2</vcpu>', b'<vcpu placement="static" current="3">8</vcpu>')
    assert attribute(interface(rewrite(domain, [replace(BLUE, multiqueue=True)])), "driver", "queues") == "3"


def test_queues_are_no_more_than_kubevirts() -> None:
    domain = DOMAIN.replace(b">2</vcpu>", b">400</vcpu>")
    assert attribute(interface(rewrite(domain, [replace(BLUE, multiqueue=True)])), "driver", "queues") == "256"


def properties(xml: bytes) -> dict[str | None, dict[str | None, str | None]]:
    devices = ET.fromstring(xml).iterfind(f"{QEMU}override/{QEMU}device")
    return {
        one.get("alias"): {each.get("name"): each.get("value") for each in one.iter(f"{QEMU}property")}
        for one in devices
    }


def test_several_nics() -> None:
    xml = rewrite(DOMAIN, [BLUE, RED], vectors=0)
    assert [attribute(one, "alias", "name") for one in ET.fromstring(xml).iter("interface")] == [
        "ua-default",
        "ua-blue",
        "ua-red",
    ]
    assert properties(xml) == {
        "ua-blue": {"host_mtu": "1400", "vectors": "0"},
        "ua-red": {"host_mtu": "1342", "vectors": "0"},
    }


def test_no_property_without_an_mtu() -> None:
    assert b"qemu:override" not in rewrite(DOMAIN, [replace(BLUE, mtu=None)])


def test_an_interface_of_its_name_is_replaced_in_its_place() -> None:
    domain = DOMAIN.replace(b"ua-default", b"ua-blue")
    xml = rewrite(domain, [BLUE])
    assert xml.count(b"<interface") == 1
    assert interface(xml).get("type") == "vhostuser"
    assert xml.index(b"<interface") < xml.index(b"<controller")


OTHERS = (
    b'<qemu:override><qemu:device alias="ua-other"><qemu:frontend><qemu:property name="x" type="bool" value="true"/>'
    b"</qemu:frontend></qemu:device></qemu:override></domain>"
)


def test_what_others_override_stays() -> None:
    xml = rewrite(DOMAIN.replace(b"</domain>", OTHERS), [BLUE])
    assert properties(xml) == {"ua-other": {"x": "true"}, "ua-blue": {"host_mtu": "1400"}}
    assert xml.count(b"<qemu:override") == 1


def test_another_prefix_for_the_same_namespace() -> None:
    whole = DOMAIN.replace(b"xmlns:qemu", b"xmlns:q").replace(b"</domain>", OTHERS.replace(b"qemu:", b"q:"))
    assert properties(rewrite(whole, [BLUE])) == {"ua-other": {"x": "true"}, "ua-blue": {"host_mtu": "1400"}}


def with_memory(inside: bytes) -> bytes:
    return DOMAIN.replace(b"<devices>", inside + b"<devices>")


@pytest.mark.parametrize(
    ("there", "then"),
    [
        pytest.param(b"<memoryBacking/>", MEMORY, id="empty, one tag"),
        pytest.param(b'<memoryBacking a="/>" />', b'<memoryBacking a="/>">' + MEMORY[15:], id="one tag, and its end in an attribute"),
        pytest.param(b"<memoryBacking></memoryBacking>", MEMORY, id="empty"),
        pytest.param(
            b"<memoryBacking><hugepages></hugepages></memoryBacking>",
            b'<memoryBacking><hugepages></hugepages><source type="memfd"/><access mode="shared"/></memoryBacking>', id="hugepages",
        ),
        pytest.param(
            b'<memoryBacking><access mode="shared"></access></memoryBacking>',
            b'<memoryBacking><access mode="shared"></access><source type="memfd"/></memoryBacking>', id="shared already",
        ),
        pytest.param(MEMORY, MEMORY, id="all is there"),
        pytest.param(
            b'<memoryBacking><source type="file"/><access mode="shared"/></memoryBacking>',
            b'<memoryBacking><source type="file"/><access mode="shared"/></memoryBacking>', id="of files, as for virtiofs",
        ),
    ],
)  # fmt: skip
def test_memory_that_the_switch_can_see(there: bytes, then: bytes) -> None:
    assert with_memory(then) in rewrite(with_memory(there), [replace(BLUE, mtu=None)]).replace(INTERFACE, b"")


@pytest.mark.parametrize(
    ("xml", "why"),
    [
        pytest.param(with_memory(b'<memoryBacking><access mode="private"/></memoryBacking>'), "access private; remove what asks for that", id="private memory"),
        pytest.param(with_memory(b'<memoryBacking><source type="anonymous"/></memoryBacking>'), "source anonymous", id="anonymous memory"),
        pytest.param(DOMAIN.replace(b"<topology", b'<numa><cell id="0" memAccess="private"/></numa><topology'), "NUMA cell .* memAccess", id="private memory of a NUMA cell"),
        pytest.param(with_memory(b'<launchSecurity type="sev"/>'), "launchSecurity; remove one of them", id="confidential guest"),
        pytest.param(b"<domain><name>x</name></domain>", "no devices", id="no devices"),
        pytest.param(b"<network/>", "element 'network', and must be of a domain", id="another root"),
        pytest.param(b"", "cannot be parsed: no element found", id="empty"),
        pytest.param(DOMAIN[:400], "cannot be parsed: ", id="cut off"),
        pytest.param(DOMAIN + b"<more/>", "cannot be parsed: junk after document", id="two roots"),
        pytest.param(DOMAIN.decode().encode("utf-16"), "must be UTF-8", id="another encoding"),
        pytest.param(DOMAIN.decode().encode("utf-16-be"), "must be UTF-8", id="another encoding, and no sign of it"),
        pytest.param(DOMAIN.replace(b"<name>", b"<a:name>").replace(b"</name>", b"</a:name>"), "unbound prefix", id="undeclared prefix"),
        pytest.param(b'<!DOCTYPE d [<!ENTITY a "b">]>' + DOMAIN.replace(b"demo_db", b"&a;"), "document type", id="entities"),
        pytest.param(b'<!DOCTYPE d SYSTEM "file:///etc/passwd">' + DOMAIN, "document type", id="external entities"),
        pytest.param(with_memory(b"<a/>" * 21_000), "over 20000 elements", id="too many elements"),
        pytest.param(with_memory(b"<a>" * 100 + b"</a>" * 100), "over 64 within each other", id="too deep"),
        pytest.param(DOMAIN + b" " * LARGEST, "at most 4194304 are read", id="too large"),
        pytest.param(DOMAIN.replace(b">2</vcpu>", b">many</vcpu>"), "'many' vCPUs; it must be a number from 1 on", id="vCPUs"),
        pytest.param(DOMAIN.replace(b">2</vcpu>", b">0</vcpu>"), "'0' vCPUs", id="no vCPU"),
    ],
)  # fmt: skip
def test_what_is_refused(xml: bytes, why: str) -> None:
    with pytest.raises(DomainRefused, match=why):
        rewrite(xml, [replace(BLUE, multiqueue=True)])


names = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
nics = st.builds(
    VhostUserNic,
    network=names,
    interface=names,
    mac=st.sampled_from(["02:00:00:00:00:01", "0a:00:00:00:00:02"]),
    mtu=st.none() | st.integers(576, 9000),
    multiqueue=st.booleans(),
    transitional=st.booleans(),
    link_up=st.booleans(),
    boot_order=st.integers(0, 9),
    acpi_index=st.integers(0, 9),
    pci_address=st.sampled_from(["", "0000:81:01.0"]),
)
several = st.lists(nics, min_size=1, max_size=4, unique_by=lambda nic: nic.network)
pieces = st.sampled_from(
    [
        "<a/>", "<a></a>", "<a x='/>'></a>", "<a x='>' />", "<!-- </devices> -->", "<![CDATA[</domain>]]>", "<?pi <devices> ?>", "é", "\n\t", "&amp;",
        "<memoryBacking/>", "<memoryBacking><nosharepages/></memoryBacking>", "<devices/>", "<devices><x/></devices>",
        "<interface><alias name='ua-a'/></interface>", "<devices><interface><alias name='ua-a'/></interface><interface/></devices>",
        "<q:override/>", "<q:override><q:device alias='ua-a'/></q:override>",
    ]
)  # fmt: skip
domains = st.lists(pieces, max_size=8).map(
    lambda parts: (
        f"<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>{''.join(parts)}<devices></devices></domain>"
    )
)
fixed = st.sampled_from(
    [VhostUserNic("a", "net1", "02:00:00:00:00:01", 1400), VhostUserNic("a", "net1", "02:00:00:00:00:01")]
)


@given(domains.map(str.encode) | st.just(DOMAIN), several | fixed.map(lambda nic: [nic]))
def test_the_second_time_changes_nothing(xml: bytes, wanted: list[VhostUserNic]) -> None:
    once = rewrite(xml, wanted)
    assert rewrite(once, wanted) == once
    ET.fromstring(once)


@given(domains.map(str.encode), several)
def test_what_is_not_ours_stays_in_its_order(xml: bytes, wanted: list[VhostUserNic]) -> None:
    """All that was there is still there, in its order, but for interfaces and properties of our aliases."""
    if any(nic.network == "a" for nic in wanted):
        return
    before = [
        (one.tag, one.attrib, one.text)
        for one in ET.fromstring(xml).iter()
        if one.tag not in {"memoryBacking", "devices"}
    ]
    rewritten = iter([(one.tag, one.attrib, one.text) for one in ET.fromstring(rewrite(xml, wanted)).iter()])
    for one in before:
        if one[0] != f"{QEMU}override":
            assert one in rewritten


@given(
    st.binary(max_size=200)
    | st.builds(lambda at, what: DOMAIN[:at] + what + DOMAIN[at:], st.integers(0, 1500), st.binary(max_size=20))
)
def test_whatever_comes_is_rewritten_or_refused(xml: bytes) -> None:
    with contextlib.suppress(DomainRefused):
        ET.fromstring(rewrite(xml, [BLUE]))


@pytest.mark.skipif(
    not shutil.which("virt-xml-validate"), reason="virt-xml-validate is of libvirt-clients, which is not installed"
)
@pytest.mark.parametrize("wanted", [
    pytest.param([BLUE], id="plain"),
    pytest.param([BLUE, RED], id="two NICs"),
    pytest.param(
        [replace(BLUE, multiqueue=True, transitional=True, link_up=False, boot_order=1, acpi_index=2, pci_address="0000:81:01.0")], id="with all",
    ),
])  # fmt: skip
def test_libvirt_finds_it_valid(wanted: list[VhostUserNic], tmp_path: Path) -> None:
    found = tmp_path / "domain.xml"
    found.write_bytes(rewrite(DOMAIN, wanted, vectors=0))
    ran = subprocess.run(["virt-xml-validate", str(found), "domain"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
