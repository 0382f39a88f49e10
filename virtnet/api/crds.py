"""The CustomResourceDefinitions, generated from the models."""

from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from virtnet.api import GROUP, VERSION, Resource

HEADER = "# Generated from virtnet/api by `make generate`. Do not edit.\n"


def definition(model: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    crd = model.crd
    name = model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{crd.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if crd.namespaced else "Cluster",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": crd.plural,
                "singular": name.lower(),
                "shortNames": list(crd.short_names),
                "categories": ["virtnet"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _root(model)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {
                            "name": column.name,
                            "jsonPath": column.path,
                            "type": column.type,
                            **({"priority": 1} if column.wide else {}),
                        }
                        for column in crd.columns
                    ],
                }
            ],
        },
    }


def _root(model: type[Resource]) -> dict[str, Any]:
    schema = _object(model)
    properties = schema["properties"]
    properties["metadata"] = {"type": "object"}
    properties["apiVersion"] = {"type": "string"}
    properties["kind"] = {"type": "string"}
    if model.crd.rules:
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": text} for rule, text in model.crd.rules]
    return schema


def _object(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model: pydantic's own, inlined, without what the API server does not know."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}), model)


def _structural(
    node: dict[str, Any], definitions: dict[str, Any], model: type[BaseModel] | None = None
) -> dict[str, Any]:
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _structural({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    if "anyOf" in node:  # only ever X or null: an optional field
        (inner,) = (option for option in node["anyOf"] if option.get("type") != "null")
        return _structural({**inner, **{k: v for k, v in node.items() if k != "anyOf"}}, definitions)
    out = {
        k: v
        for k, v in node.items()
        if k not in ("title", "$defs", "const", "examples", "default", "properties", "items", "propertyNames")
    }
    if "const" in node:
        out["enum"] = [node["const"]]
    if "examples" in node:
        out["example"] = node["examples"][0]
    if node.get("default") not in (None, "", []):  # an empty default says nothing and clutters every object
        out["default"] = node["default"]
    if "properties" in node:
        out["properties"] = {k: _structural(v, definitions) for k, v in node["properties"].items()}
    if "items" in node:
        out["items"] = _structural(node["items"], definitions)
    if isinstance(node.get("additionalProperties"), dict):
        out["additionalProperties"] = _structural(node["additionalProperties"], definitions)
    if model is not None:
        _nested_defaults(out, model)
    return out


def _nested_defaults(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Give absent objects the default ``{}``, so that the API server fills in the defaults inside them."""
    for field in model.model_fields.values():
        inner = _model_of(field)
        if inner is None:
            continue
        node = schema["properties"][field.alias]
        _nested_defaults(node, inner)
        if field.default_factory is not None and field.alias != "metadata":
            absent: BaseModel = field.get_default(call_default_factory=True)
            node["default"] = absent.model_dump(by_alias=True, exclude_defaults=True)


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def files(models: Iterable[type[Resource]]) -> dict[str, str]:
    """File name -> content of every CRD, and of the kustomization that lists them."""
    definitions = {
        f"{GROUP}_{model.crd.plural}.yaml": HEADER + yaml.safe_dump(definition(model), sort_keys=False, width=120)
        for model in models
    }
    listed = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(definitions),
    }
    return {**definitions, "kustomization.yaml": HEADER + yaml.safe_dump(listed, sort_keys=False)}
