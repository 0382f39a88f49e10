"""A quick parser for the messages of OVSDB servers.

python-ovs comes without its C parser unless Open vSwitch's headers are there when it is built, and the one in Python
handles one character at a time: for 10,000 ports that took 3 s. This one only finds where a message ends and leaves
the rest to the standard library.
"""

import json
import re
from typing import Any

import ovs.json

_ESCAPE = re.compile(r"\\.", re.DOTALL)
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?$)|[{}]', re.DOTALL)
_ORDINARY = bytes(set(range(256)) - set(b'"{}'))


class Parser:
    """Takes a stream in pieces until it has one JSON object; the interface is that of ``ovs.json.Parser``."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._depth = 0
        self._unfinished = ""
        """What makes the next piece begin in the right state: a quote, or a quote and a backslash, or nothing."""
        self._done = False

    def is_done(self) -> bool:
        return self._done

    def feed(self, text: str) -> int:
        """How many characters of the text belong to this object."""
        end = self._skip(text) or self._search(text)
        self._pieces.append(text[:end])
        return end

    def finish(self) -> Any:
        """The object, or the error as a string."""
        try:
            return json.loads("".join(self._pieces))
        except ValueError as error:
            return str(error)

    def _skip(self, text: str) -> int:
        """Pass over a piece in which the object cannot end; 0 if it can."""
        bare = self._unfinished + text
        if "\\" in bare:
            bare = _ESCAPE.sub("", bare)
        escape = bare.endswith("\\")
        # Two quotes with nothing but ordinary characters between change nothing for what is around them.
        marks = bare.encode("ascii", "ignore").translate(None, _ORDINARY).replace(b'""', b"").split(b'"')
        outside = b"".join(marks[::2])
        if self._depth <= outside.count(b"}"):
            return 0
        self._depth += outside.count(b"{") - outside.count(b"}")
        self._unfinished = ('"\\' if escape else '"') if len(marks) % 2 == 0 else ""
        return len(text)

    def _search(self, text: str) -> int:
        """Pass over a piece brace by brace, to the end of the object if it is here."""
        whole, offset = self._unfinished + text, len(self._unfinished)
        last = ""
        for token in _TOKEN.finditer(whole):
            last = token.group()
            self._depth += {"{": 1, "}": -1}.get(last, 0)
            if last == "}" and self._depth <= 0:
                self._done = True
                return token.end() - offset
        self._done = self._depth == 0 and bool(whole.strip())  # not the beginning of an object
        self._unfinished = _unfinished(last)
        return len(text)


def _unfinished(token: str) -> str:
    if not token.startswith('"'):
        return ""
    bare = _ESCAPE.sub("", token)
    if bare.endswith("\\"):
        return '"\\'
    return "" if len(bare) > 1 and bare.endswith('"') else '"'


def install() -> None:
    """Let python-ovs use it, in the whole process, unless it has its own in C."""
    if ovs.json.PARSER != ovs.json.PARSER_C:
        ovs.json.Parser = Parser
