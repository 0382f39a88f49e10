"""The one rewrite of a domain's XML: vhost-user NICs, and memory that their switch can see. Pure, and idempotent."""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import quoteattr

from virtnet.binding import DomainRefused
from virtnet.binding.domain_xml import QEMU, Edit, XmlElement, appended, edited, parse
from virtnet.binding.nics import VhostUserNic

MOST_QUEUES = 256
"""KubeVirt's limit, which is tun's."""
RING = 1024
"""Descriptors of a queue: QEMU's most. For sending it has as many with vhost-user alone."""


def rewrite(xml: bytes, nics: Sequence[VhostUserNic], *, vectors: int | None = None) -> bytes:
    """The domain with these NICs, and nothing else changed. Raises DomainRefused.

    ``vectors``: of each NIC's MSI-X; QEMU 7.2 without KVM crashes with others than 0. None: QEMU's own choice.
    """
    if not nics:
        return xml
    domain = parse(xml)
    memory, interfaces = _memory(xml, domain), _interfaces(xml, domain, nics)
    return edited(xml, [*memory, *interfaces, *_properties(xml, domain, nics, vectors)])


def _memory(xml: bytes, domain: XmlElement) -> Iterator[Edit]:
    """The switch maps the guest's memory, so it must be a file's, and shared."""
    if domain.first("launchSecurity"):
        raise DomainRefused(
            "a vhost-user NIC needs memory that its switch can read, and the VM has launchSecurity; remove one of them"
        )
    for cell in _cells(domain):
        if cell.attributes.get("memAccess", "shared") != "shared":
            raise DomainRefused(
                "a vhost-user NIC needs shared memory, and a NUMA cell of the domain has memAccess='private'"
            )
    source, access = b'<source type="memfd"/>', b'<access mode="shared"/>'
    backing = domain.first("memoryBacking")
    if backing is None:
        devices = _devices(domain)
        yield Edit(devices.start, devices.start, b"<memoryBacking>" + source + access + b"</memoryBacking>")
        return
    kind, mode = _attribute(backing, "source", "type"), _attribute(backing, "access", "mode")
    if kind not in {None, "memfd", "file"} or mode not in {None, "shared"}:
        raise DomainRefused(
            f"a vhost-user NIC needs shared memory, and the domain's memoryBacking says source {kind}, access {mode};"
            " remove what asks for that"
        )
    missing = (source if kind is None else b"") + (access if mode is None else b"")
    if missing:
        yield appended(xml, backing, missing)


def _cells(domain: XmlElement) -> Iterator[XmlElement]:
    for cpu in domain.named("cpu"):
        for numa in cpu.named("numa"):
            yield from numa.named("cell")


def _attribute(parent: XmlElement, child: str, attribute: str) -> str | None:
    found = parent.first(child)
    return found.attributes.get(attribute) if found else None


def _devices(domain: XmlElement) -> XmlElement:
    devices = domain.first("devices")
    if devices is None:
        raise DomainRefused("the domain's XML has no devices")
    return devices


def _interfaces(xml: bytes, domain: XmlElement, nics: Sequence[VhostUserNic]) -> Iterator[Edit]:
    devices = _devices(domain)
    there = {alias: one for one in devices.named("interface") if (alias := _attribute(one, "alias", "name"))}
    new = []
    for nic in nics:
        text = _interface(nic, _vcpus(domain) if nic.multiqueue else 1)
        if found := there.get(nic.alias):
            yield Edit(found.start, found.end, text)
        else:
            new.append(text)
    if new:
        yield appended(xml, devices, b"".join(new))


def _vcpus(domain: XmlElement) -> int:
    """Those that the guest starts with."""
    vcpu = domain.first("vcpu")
    text = (vcpu.attributes.get("current") or vcpu.text.strip()) if vcpu else "1"
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text)):
        raise DomainRefused(f"the domain's XML has {text[:40]!r} vCPUs; it must be a number from 1 on")
    return min(int(text), MOST_QUEUES)


def _interface(nic: VhostUserNic, queues: int) -> bytes:
    model = "virtio-transitional" if nic.transitional else "virtio-non-transitional"
    parts = [
        '<interface type="vhostuser">',
        f'<mac address="{nic.mac}"/>',
        f'<source type="unix" path={quoteattr(nic.socket)} mode="server"/>',
        f'<model type="{model}"/>',
        f'<driver name="vhost" queues="{queues}" rx_queue_size="{RING}" tx_queue_size="{RING}"/>',
        "" if nic.link_up else '<link state="down"/>',
        f'<boot order="{nic.boot_order}"/>' if nic.boot_order else '<rom enabled="no"/>',
        f'<acpi index="{nic.acpi_index}"/>' if nic.acpi_index else "",
        f"<alias name={quoteattr(nic.alias)}/>",
        _address(nic.pci_address),
        "</interface>",
    ]
    return "".join(parts).encode()


def _address(pci: str) -> str:
    if not pci:
        return ""
    domain, bus, device = pci.split(":")
    slot, function = device.split(".")
    return f'<address type="pci" domain="0x{domain}" bus="0x{bus}" slot="0x{slot}" function="0x{function}"/>'


def _properties(xml: bytes, domain: XmlElement, nics: Sequence[VhostUserNic], vectors: int | None) -> Iterator[Edit]:
    """What libvirt has no element for: its own for the MTU is refused where the host has no netdev for the NIC."""
    override = domain.first(f"{QEMU} override")
    there = {one.attributes.get("alias"): one for one in override.named(f"{QEMU} device")} if override else {}
    new = []
    for nic in nics:
        properties = {"host_mtu": nic.mtu, "vectors": vectors}
        text = _device(nic.alias, {name: value for name, value in properties.items() if value is not None})
        if found := there.get(nic.alias):
            yield Edit(found.start, found.end, text)
        elif text:
            new.append(text)
    if new and override:
        yield appended(xml, override, b"".join(new))
    elif new:
        whole = b'<qemu:override xmlns:qemu="%s">' % QEMU.encode() + b"".join(new) + b"</qemu:override>"
        yield appended(xml, domain, whole)


def _device(alias: str, properties: dict[str, int]) -> bytes:
    """It says its namespace itself, whatever prefix the document has for it."""
    if not properties:
        return b""
    inside = "".join(
        f'<qemu:property name="{name}" type="unsigned" value="{value}"/>' for name, value in properties.items()
    )
    attributes = f'xmlns:qemu="{QEMU}" alias={quoteattr(alias)}'
    return f"<qemu:device {attributes}><qemu:frontend>{inside}</qemu:frontend></qemu:device>".encode()
