"""What admission changes in an object, as JSON Patch (RFC 6902)."""

import base64
import json
from collections.abc import Mapping
from typing import Any

PatchStep = str | int


class Patch:
    """Operations on one object, which is not changed itself."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body
        self._made: set[tuple[PatchStep, ...]] = set()
        """Objects on the way to what is set, where there were none."""
        self.operations: list[dict[str, Any]] = []

    def set(self, value: object, *path: PatchStep) -> None:
        """Set a member, or remove it where ``value`` is None."""
        at: Any = self._body
        for depth, step in enumerate(path[:-1], 1):
            at = at[step] if isinstance(step, int) else at.get(step)
            if at is None:
                at = {}
                if value is not None and path[:depth] not in self._made:
                    self._made.add(path[:depth])
                    self._add(path[:depth], {})
        if value is not None:
            self._add(path, value)
        elif path[-1] in at:
            self.operations.append({"op": "remove", "path": _pointer(path)})

    def _add(self, path: tuple[PatchStep, ...], value: object) -> None:
        self.operations.append({"op": "add", "path": _pointer(path), "value": value})

    @property
    def response(self) -> dict[str, str]:
        """The fields of an admission response."""
        if not self.operations:
            return {}
        return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(self.operations).encode()).decode()}


def _pointer(path: tuple[PatchStep, ...]) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)
