"""Manifests of every kind, made from its model: each string that it may have is there, so that each can be hostile."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Le
from pydantic import BaseModel

from virtnet.api import ClusterSubnet, Port, Resource, Subnet
from virtnet.api.grammar import Grammar
from virtnet.api.strings import Field, Path, strings

MEANT = (
    "10.0.0.9",
    "10.0.0.0/24",
    "10.0.0.10-10.0.0.99",
    "02:76:6e:00:00:05",
    "demo/blue",
    "demo",
    "0",
    "A" * 43 + "=",
    "8086",
    "0000:3b:00.0",
)
"""Of these, the first that a type takes stands for what is meant."""

NAMESPACE = "demo"


@dataclass(frozen=True)
class Place:
    """One string of one kind."""

    kind: type[Resource]
    path: Path
    grammar: Grammar

    def __str__(self) -> str:
        return ".".join((self.kind.__name__, *(step.alias if isinstance(step, Field) else step for step in self.path)))


def places(kind: type[Resource]) -> Iterator[Place]:
    """The strings of a kind's spec."""
    spec = kind.model_fields["spec"].annotation
    assert isinstance(spec, type)
    assert issubclass(spec, BaseModel)
    for path, grammar in strings(spec):
        yield Place(kind, path, grammar)


def manifest(kind: type[Resource], number: int) -> dict[str, Any]:
    """A manifest of a kind, another one for each number, with all that it may say."""
    spec = _example(kind.model_fields["spec"].annotation)
    if kind in (Subnet, ClusterSubnet):
        fitting = _subnet(kind, number)
        spec |= {**fitting, "portSecurity": {**spec["portSecurity"], **fitting["portSecurity"]}}
    if kind is Port:
        spec |= {"subnet": {"kind": "ClusterSubnet", "namespace": "", "name": "base"}}
    metadata = {"name": f"n{number}", "uid": str(number), **({"namespace": NAMESPACE} if kind.crd.namespaced else {})}
    return {"apiVersion": "virtnet.dev/v1alpha1", "kind": kind.__name__, "metadata": metadata, "spec": spec}


def with_text(body: dict[str, Any], path: Path, text: str) -> dict[str, Any]:
    """The manifest with one string replaced."""
    changed = copy.deepcopy(body)
    changed["spec"] = _replaced(changed["spec"], path, text)
    return changed


def _subnet(kind: type[Resource], number: int) -> dict[str, Any]:
    """What of a Subnet's spec has to fit together."""
    network = ip_network((0x0A000000 + (number << 8), 24))
    underlay = kind is ClusterSubnet
    return {
        "vpc": {"kind": "ClusterVpc", "name": "default"},
        "cidrs": [str(network)],
        "gateways": [str(network[1])],
        "ranges": [f"{network[10]}-{network[99]}"],
        "excludes": [str(network[5])],
        "reservations": [{"address": str(network[50]), "vm": "demo/db"}],
        "routes": [{"destination": "192.168.0.0/16", "gateway": str(network[9])}],
        "multicast": {"snooping": True, "querier": True, "querierAddress": str(network[3])},
        "providerNetwork": "rack" if underlay else "",
        "vlan": number % 4094 + 1 if underlay else 0,
        "routerAddresses": [str(network[2])] if underlay else [],
        "logicalGateway": False,
        "mtu": 1400,
        "portSecurity": {"allowedAddresses": [f"{network[224]}/28"]},
    }


def _example(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {
            info.alias or name: _example(
                Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            )
            for name, info in annotation.model_fields.items()
        }
    if origin is Annotated:
        grammar = next((one for one in arguments[1:] if isinstance(one, Grammar)), None)
        example = _text(grammar) if grammar else _example(arguments[0])
        largest: Any = next((one.le for one in arguments[1:] if isinstance(one, Le)), None)
        return example if largest is None else min(example, largest)
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return [_example(arguments[0])]
    if origin is dict:
        return {_example(arguments[0]): _example(arguments[1])}
    if origin in (Union, UnionType):
        return _example(next(one for one in arguments if one is not type(None)))
    return {bool: True, int: 1000, datetime: "2026-01-01T00:00:00Z"}[annotation]


def _text(grammar: Grammar) -> str:
    meant = next((text for text in MEANT if grammar.permits(text)), None)
    assert meant is not None, f"MEANT needs a text of a new type, which {grammar.must}"
    return meant


def _replaced(value: Any, path: Path, text: str) -> Any:
    if not path:
        return text
    step, rest = path[0], path[1:]
    if isinstance(step, Field):
        return {**value, step.alias: _replaced(value.get(step.alias), rest, text)}
    if step == "item":
        return [_replaced(value[0] if value else None, rest, text)]
    key, item = next(iter(value.items()))
    return {text: item} if step == "key" else {key: _replaced(item, rest, text)}
