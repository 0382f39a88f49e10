"""The objects of a recorded scenario, whole again after each of its changes."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

from virtnet.lab.standin.conditions import now

Object = dict[str, Any]
PART = re.compile(r"([^.\[\]]+)|\[([^\]]+)\]")
LISTS = ("interfaces", "networks", "conditions")


class Replay:
    """By kind and name, as they are after the last change."""

    def __init__(self, path: Path) -> None:
        self._lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.objects: dict[tuple[str, str], Object] = {}

    def changes(self) -> Iterator[tuple[Object, Object | None, float]]:
        """Each change of an object: its line, the object before it, and how long nothing happens after it."""
        for line, following in zip(self._lines, [*self._lines[1:], {"t": float("inf")}], strict=True):
            if line["kind"] == "MARK":
                continue
            key = line["kind"], line["name"]
            before = deepcopy(self.objects.get(key))
            match line["type"]:
                case "ADDED":
                    self.objects[key] = deepcopy(line["object"])
                case "MODIFIED":
                    for path, value in line.get("set", {}).items():
                        _set(self.objects[key], path, value)
                    for path in line.get("del", ()):
                        _delete(self.objects[key], path)
                    _prune(self.objects[key])
                case _:
                    del self.objects[key]
            yield line, before, following["t"] - line["t"]

    def of(self, kind: str) -> list[Object]:
        return [deepcopy(found) for (its, _), found in self.objects.items() if its == kind]


def _set(body: Object, path: str, value: str) -> None:
    *parts, last = _parts(path)
    for part in parts:
        body = _step(body, part)
    if isinstance(body, list):
        status, _, reason = value.partition("/")
        new = {"type": last, "status": status, "reason": reason, "lastProbeTime": None, "lastTransitionTime": now()}
        body[:] = [*(one for one in body if one["type"] != last), new]
    else:
        body[last] = json.loads(value) if value.startswith(("{", "[")) and "annotations" not in path else value


def _delete(body: Object, path: str) -> None:
    *parts, last = _parts(path)
    for part in parts:
        body = _step(body, part)
    if isinstance(body, list):
        body[:] = [one for one in body if one["type"] != last]
    else:
        body.pop(last, None)


def _step(body: Any, part: str) -> Any:
    if isinstance(body, list):
        found = next((one for one in body if one.get("name") == part), None)
        if found is None:
            found = {"name": part}
            body.append(found)
        return found
    return body.setdefault(part, [] if part in LISTS else {})


def _parts(path: str) -> list[str]:
    return [name or key for name, key in PART.findall(path)]


def _prune(body: Any) -> None:
    """Take out list items of which every field was deleted."""
    for key, part in body.items():
        if key in ("interfaces", "networks") and isinstance(part, list):
            part[:] = [one for one in part if "name" in one]
        elif isinstance(part, dict):
            _prune(part)
