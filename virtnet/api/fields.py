"""Reading other people's manifests: every field is of its type, or the error names it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class WrongType(ValueError):  # noqa: N818 - says what it is
    """A field of a manifest that is of another type than its kind's schema says; the text names it."""

    def __init__(self, path: str, expected: str, value: object) -> None:
        is_scalar = isinstance(value, bool | int | float)
        # YAML reads a bare y, no or 100 as a boolean or a number, and whoever wrote it sees a name.
        cure = "put it into quotes" if is_scalar and expected == "a string" else f"write {expected} there, or nothing"
        super().__init__(f"{path} must be {expected} and is {_shown(value)}; {cure}")


class TooMany(WrongType):
    """A list that is longer than its kind's schema says; the text names it."""

    def __init__(self, path: str, length: int, most: int) -> None:
        ValueError.__init__(self, f"{path} has {length} entries; write at most {most}")


@dataclass(frozen=True)
class Fields:
    """An object in a manifest, and where it is. What is absent or null reads as empty."""

    value: Mapping[str, Any]
    path: str = ""

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def text(self, name: str) -> str:
        """A string. Raises WrongType."""
        return str(self._read(name, str, "a string", ""))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean. Raises WrongType."""
        return bool(self._read(name, bool, "true or false", default))

    def object(self, name: str) -> "Fields":
        """An object. Raises WrongType."""
        return Fields(self._read(name, Mapping, "an object", {}), self._path(name))

    def objects(self, name: str, *, most: int | None = None) -> Iterator["Fields"]:
        """The objects of a list. Raises WrongType, and TooMany before the first of more than ``most``."""
        items = self._read(name, list, "a list", [])
        if most is not None and len(items) > most:
            raise TooMany(self._path(name), len(items), most)
        for index, item in enumerate(items):
            path = f"{self._path(name)}[{index}]"
            if not isinstance(item, Mapping):
                raise WrongType(path, "an object", item)
            yield Fields(item, path)

    def texts(self, name: str) -> dict[str, str]:
        """The values of an object that has only strings. Raises WrongType."""
        found = self.object(name)
        if all(isinstance(value, str) for value in found.value.values()):
            return dict(found.value)
        return {key: found.text(key) for key in found.value}

    def _read(self, name: str, kind: type, expected: str, empty: Any) -> Any:
        value = self.value.get(name)
        if value is None:
            return empty
        if not isinstance(value, kind):
            raise WrongType(self._path(name), expected, value)
        return value

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def _shown(value: object) -> str:
    """A value as people write it in YAML."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str():
            return f"the string {value[:40]!r}"
        case list():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return "null"
