"""The CRDs are what the models say, and every field explains itself."""

from pathlib import Path
from typing import Any

import pytest

from virtnet.api.crds import definition, files
from virtnet.features import MODELS

CRDS = Path(__file__).parents[2] / "crds"


def test_the_checked_in_files_are_generated_from_the_models() -> None:
    assert {path.name: path.read_text() for path in CRDS.iterdir()} == files(MODELS), "run `make generate`"


def fields(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, node in schema.get("properties", {}).items():
        found += [
            (f"{path}.{name}", node),
            *fields(node, f"{path}.{name}"),
            *fields(node.get("items", {}), f"{path}.{name}[]"),
        ]
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_documented(model: type) -> None:
    schema = definition(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    silent = [
        path
        for path, node in fields(schema)
        if path not in (".metadata", ".apiVersion", ".kind") and not node.get("description")
    ]
    assert silent == []


def test_short_names_are_given_once() -> None:
    names = [name for model in MODELS for name in (model.crd.plural, *model.crd.short_names)]
    assert len(names) == len(set(names))
