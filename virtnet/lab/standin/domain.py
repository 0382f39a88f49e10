"""A launcher's domain in libvirt's XML, as far as hook sidecars have a say in it: shared memory and vhost-user NICs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from virtnet.lab.standin.wires import VhostUserWire
from virtnet.lab.standin.worker import Hitch

ALIAS = "ua-"
"""Before the VMI's name for a device, in libvirt's: a name that a user has given it."""

FILE = "domain.xml"

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"

_XML = """<domain type="qemu" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
	<name>{name}</name>
	<memory unit="b">{memory}</memory>
	<os>
		<type arch="x86_64" machine="q35">hvm</type>
	</os>
	<features>
		<acpi></acpi>
	</features>
	<vcpu placement="static">1</vcpu>
	<devices>
		<emulator>/usr/bin/qemu-system-x86_64</emulator>
	</devices>
</domain>
"""


class BadDomain(Hitch):
    """A domain that libvirt would not start, or that the lab's QEMU cannot be given."""


def domain_xml(name: str, memory: int) -> bytes:
    """The domain before any sidecar has seen it, with no NIC: what a binding plugin serves it adds itself."""
    return _XML.format(name=escape(name), memory=memory).encode()


def save(xml: bytes, directory: Path) -> None:
    """Keep a domain in its pod's directory: the target of a migration is given it."""
    half = directory / f"{FILE}.part"
    half.write_bytes(xml)
    half.rename(directory / FILE)


def load(directory: Path) -> bytes:
    """Raises FileNotFoundError where no domain was defined."""
    return (directory / FILE).read_bytes()


@dataclass(frozen=True)
class Domain:
    """What the sidecars have made of one."""

    wires: tuple[VhostUserWire, ...]
    shared_memory: bool

    @classmethod
    def parse(cls, xml: bytes) -> "Domain":
        """Raises BadDomain."""
        try:
            whole = ET.fromstring(xml)  # noqa: S314 - from a sidecar of ours
            wires = tuple(_wires(whole))
        except (ET.ParseError, KeyError, ValueError) as error:
            raise BadDomain(f"the domain cannot be read: {error!r}") from error
        backing = {
            path: one.get(attribute)
            for path, attribute in (("source", "type"), ("access", "mode"))
            if (one := whole.find(f"memoryBacking/{path}")) is not None
        }
        shared = backing == {"source": "memfd", "access": "shared"}
        if wires and not shared:
            raise BadDomain("a vhost-user NIC needs the memory of a memfd, shared")
        return cls(wires, shared)


def _wires(domain: ET.Element) -> Iterator[VhostUserWire]:
    """Raises KeyError and ValueError for an interface that lacks something."""
    overrides = {
        device.attrib["alias"]: {one.attrib["name"]: int(one.attrib["value"]) for one in device.iter(f"{QEMU}property")}
        for device in domain.iter(f"{QEMU}device")
    }
    for interface in domain.findall("devices/interface[@type='vhostuser']"):
        source, alias = _child(interface, "source"), _child(interface, "alias").attrib["name"]
        if (source.get("type"), source.get("mode")) != ("unix", "server"):
            raise ValueError(f"interface {alias}: its socket must be QEMU's own")
        yield VhostUserWire(
            network=alias.removeprefix(ALIAS),
            mac=_child(interface, "mac").attrib["address"],
            socket=source.attrib["path"],
            queues=int(_child(interface, "driver").attrib["queues"]),
            overrides=overrides.get(alias, {}),
        )


def _child(parent: ET.Element, name: str) -> ET.Element:
    found = parent.find(name)
    if found is None:
        raise KeyError(name)
    return found
