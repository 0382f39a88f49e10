"""The strings of a model: where they are, of which type each must be (virtnet.api.grammar), and those that are not."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel

from virtnet.api.grammar import ANY_TEXT, Grammar, Ungrammatical


@dataclass(frozen=True)
class Field:
    """A step to a field of a model."""

    name: str
    alias: str
    """Its name in manifests."""


PathStep = Field | Literal["item", "key", "value"]
Path = tuple[PathStep, ...]
"""How to get from a model to strings in it: fields, the items of lists, the keys or values of mappings."""


def invalid(model: BaseModel) -> str:
    """The first string in a model that is not of its field's type, and what it must be; empty where all are."""
    if all(holds(model) for holds in _checks(type(model))):
        return ""
    for path, grammar in strings(type(model)):
        for where, text in _at(model, path, ""):
            if not grammar.permits(text):
                return f"{where}: {text!r} {grammar.must}"
    return ""


def check(model: BaseModel) -> None:
    """Raises Ungrammatical for a model with a string that is not of its field's type."""
    if found := invalid(model):
        raise Ungrammatical(found)


Check = Callable[[Any], object]
"""Whether (by its truth) what is at a path of a model may be there."""


@cache
def _checks(model: type[BaseModel]) -> tuple[Check, ...]:
    """How the strings of a class's models are checked, without a word of where they are.

    Every Port is checked whenever its rows are compiled, and nearly none has a wrong string.
    """
    return tuple(_check(path, grammar) for path, grammar in strings(model) if grammar is not ANY_TEXT)


def _check(path: Path, grammar: Grammar) -> Check:
    """Check all that ``_at`` finds by a path."""
    if not path:
        return grammar.permits if grammar.empty else grammar.accepts
    step, permits = path[0], _check(path[1:], grammar)
    if isinstance(step, Field):
        get = attrgetter(step.name)
        return lambda value: (found := get(value)) is None or permits(found)
    if step == "value":
        return lambda value: all(map(permits, value.values()))
    return lambda value: all(map(permits, value))


@cache
def strings(model: type[BaseModel]) -> tuple[tuple[Path, Grammar], ...]:
    """Where strings are in models of a class, and of which type. Raises TypeError where one has none."""
    return tuple(_of_model(model, ()))


def _of_model(model: type[BaseModel], path: Path) -> Iterator[tuple[Path, Grammar]]:
    for name, info in model.model_fields.items():
        grammar = _grammar(info.metadata)
        annotation = info.annotation if grammar is None else Annotated[str, grammar]
        yield from _of(annotation, (*path, Field(name, info.alias or name)), f"{model.__name__}.{name}")


def _grammar(metadata: Iterable[Any]) -> Grammar | None:
    return next((one for one in metadata if isinstance(one, Grammar)), None)


def _of(annotation: Any, path: Path, where: str) -> Iterator[tuple[Path, Grammar]]:
    if annotation is str:
        raise TypeError(f"{where}: a plain string; give it a type of virtnet.api.grammar")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _of_model(annotation, path)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        grammar = _grammar(arguments[1:])
        yield from [(path, grammar)] if grammar else _of(arguments[0], path, where)
    elif origin is dict:
        yield from _of(arguments[0], (*path, "key"), where)
        yield from _of(arguments[1], (*path, "value"), where)
    elif origin is not Literal:
        inside: Path = (*path, "item") if origin is tuple else path
        for argument in arguments:
            yield from _of(argument, inside, where)


def _at(value: Any, path: Path, where: str) -> Iterator[tuple[str, Any]]:
    """What a path leads to, and where that is in the manifest."""
    if value is None:
        return
    if not path:
        yield where, value
        return
    step, rest = path[0], path[1:]
    if isinstance(step, Field):
        yield from _at(getattr(value, step.name), rest, f"{where}.{step.alias}" if where else step.alias)
    elif step == "item":
        for index, item in enumerate(value):
            yield from _at(item, rest, f"{where}[{index}]")
    elif step == "key":
        for key in value:
            yield from _at(key, rest, where)
    else:
        for key, item in value.items():
            yield from _at(item, rest, f"{where}[{key!r}]")
