"""A domain's XML as elements that know where they are in the text, so that all but what is edited stays as it was."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from virtnet.binding import DomainRefused

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
"""The namespace of what libvirt hands to QEMU as it is."""

LARGEST = 4 * 1024 * 1024
MOST_ELEMENTS = 20_000
DEEPEST = 64
LONGEST_TEXT = 64
"""Of an element: what is longer is no number, and nothing else is read."""


@dataclass
class XmlElement:
    """One element; places are offsets in bytes."""

    name: str
    """With its namespace and a space before it, where it has one."""
    attributes: Mapping[str, str]
    start: int
    """Where its first tag begins."""
    close: int = -1
    """Where its last tag begins; where an empty element has one tag alone, the end of that."""
    end: int = -1
    children: list["XmlElement"] = field(default_factory=list)
    text: str = ""

    @property
    def is_one_tag(self) -> bool:
        return self.close == self.end

    def named(self, name: str) -> Iterator["XmlElement"]:
        return (child for child in self.children if child.name == name)

    def first(self, name: str) -> "XmlElement | None":
        return next(self.named(name), None)


@dataclass(frozen=True)
class Edit:
    """Other text from one place to another."""

    start: int
    end: int
    text: bytes


def parse(xml: bytes) -> XmlElement:
    """The element ``domain``. Raises DomainRefused for what is none, or is more than any domain's."""
    if len(xml) > LARGEST:
        raise DomainRefused(f"the domain's XML has {len(xml)} bytes; at most {LARGEST} are read")
    if not _is_utf8(xml):  # whatever expat makes of it, edits are not written in another encoding
        raise DomainRefused("the domain's XML must be UTF-8")
    reader = _Reader(xml)
    try:
        reader.parser.Parse(xml, True)  # noqa: FBT003 - expat knows no keyword for it
    except expat.ExpatError as error:
        raise DomainRefused(f"the domain's XML cannot be parsed: {error}") from None
    domain = reader.whole.children[0]
    if domain.name != "domain":
        raise DomainRefused(f"the domain's XML is of an element {domain.name!r}, and must be of a domain")
    return domain


def _is_utf8(xml: bytes) -> bool:
    try:
        return "\0" not in xml.decode()
    except UnicodeDecodeError:
        return False


def edited(xml: bytes, edits: Iterable[Edit]) -> bytes:
    """The text with edits that do not overlap; those at one place come in their order."""
    parts, at = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        parts += [xml[at : edit.start], edit.text]
        at = edit.end
    return b"".join([*parts, xml[at:]])


def appended(xml: bytes, parent: XmlElement, text: bytes) -> Edit:
    """The edit that puts text at the end of an element."""
    if not parent.is_one_tag:
        return Edit(parent.close, parent.close, text)
    tag = xml[parent.start : parent.end].removesuffix(b"/>")
    name = tag[1:].split(None, 1)[0]
    return Edit(parent.start, parent.end, tag.rstrip() + b">" + text + b"</" + name + b">")


class _Reader:
    """Builds elements from expat's events. Where one is, the tag before it ends."""

    def __init__(self, xml: bytes) -> None:
        self._xml = xml
        self.whole = XmlElement("", {}, 0)
        self._open = [self.whole]
        self._elements = 0
        self._begun: XmlElement | None = None
        """Whose first tag was the event before."""
        self._ended: XmlElement | None = None
        """Whose last tag was."""
        self.parser = expat.ParserCreate("utf-8", " ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.DefaultHandler = self._other
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _place(self) -> int:
        """Where the event is."""
        at = self.parser.CurrentByteIndex
        if self._ended:
            self._ended.end = at
        self._begun = self._ended = None
        return at

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        element = XmlElement(name, attributes, self._place())
        self._elements += 1
        if self._elements > MOST_ELEMENTS or len(self._open) > DEEPEST:
            raise DomainRefused(
                f"the domain's XML has over {MOST_ELEMENTS} elements, or over {DEEPEST} within each other"
            )
        self._open[-1].children.append(element)
        self._open.append(element)
        self._begun = element

    def _end(self, name: str) -> None:
        element, begun = self._open.pop(), self._begun
        at = element.close = self._place()
        if element is begun and self._xml[at - 2 : at] == b"/>":
            element.end = at
        else:
            self._ended = element
            if len(self._open) == 1:  # nothing need follow the last tag
                element.end = self._xml.index(b">", at) + 1

    def _characters(self, text: str) -> None:
        self._place()
        element = self._open[-1]
        if not element.children and len(element.text) <= LONGEST_TEXT:
            element.text += text

    def _other(self, text: str) -> None:
        self._place()

    def _doctype(self, *_: object) -> None:
        raise DomainRefused("the domain's XML has a document type, which virt-launcher's never has")
