"""A sysfs, whose files are text from outside: what is read of it is short, and of the form that it is to have.

Nothing that a file or a link says becomes part of a path; names of directories do, if they are of their grammar.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

LONGEST = 256
"""Bytes of a file."""
BIGGEST = 1 << 31

PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}")
"""A device, bus or driver."""
INTERFACE = re.compile(r"[^/:%\x00-\x20\x7f-\U0010ffff]{1,15}")


class Tree:
    """The files below one directory. What cannot be read is absent: a device may go at any time."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)

    def text(self, path: str) -> str:
        """The first line of a file; empty where there is none, or it is not of printable ASCII."""
        try:
            descriptor = os.open(f"{self._root}/{path}", os.O_RDONLY)
        except OSError:
            return ""
        try:
            line = os.read(descriptor, LONGEST).decode("ascii", "replace").partition("\n")[0].strip()
        except OSError:
            return ""
        finally:
            os.close(descriptor)
        return line if line.isascii() and line.isprintable() else ""

    def number(self, path: str, absent: int = 0) -> int:
        """The decimal number in a file, from -1 on."""
        return number(self.text(path), absent)

    def target(self, path: str, form: re.Pattern[str] = WORD) -> str:
        """The last name of what a link leads to; empty where there is none of that form."""
        name = self.link(path).rpartition("/")[2]
        return name if form.fullmatch(name) else ""

    def link(self, path: str) -> str:
        """What a link says, to be read and not to be followed."""
        try:
            return os.readlink(f"{self._root}/{path}")  # noqa: PTH115 - ten thousand of them
        except OSError:
            return ""

    def entries(self, path: str, form: re.Pattern[str] = WORD) -> Iterator[str]:
        """The names in a directory that are of a form, in rising order."""
        try:
            found = os.listdir(f"{self._root}/{path}")  # noqa: PTH208 - names, not paths
        except OSError:
            return
        yield from sorted(name for name in found if form.fullmatch(name))


def number(text: str, absent: int = 0) -> int:
    """The number that a text is."""
    if not re.fullmatch(r"-1|[0-9]{1,10}", text, re.ASCII):
        return absent
    return min(int(text), BIGGEST)
