"""Manifests into an API server: YAML in, objects applied, and definitions of kinds waited for until they are served."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import yaml

from virtnet.kube.client import Cluster
from virtnet.kube.kinds import CRDS

FOREIGN_CRDS = Path(__file__).parent / "crds"
"""The definitions of KubeVirt's and Multus' kinds, as their projects publish them."""

MANAGER = "virtnet-lab"

ESTABLISHED_SECONDS = 90

# libyaml where it is built in: KubeVirt's definitions take 5 s without it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(*paths: Path) -> Iterator[dict[str, Any]]:
    """The objects in YAML files; of a directory, in all its ``*.yaml`` in the order of their names.

    A kustomization is no object: it only names the files beside it.
    """
    for path in paths:
        for file in sorted(path.glob("*.yaml")) if path.is_dir() else (path,):
            for document in yaml.load_all(file.read_text(), LOADER):
                if document and document["kind"] != "Kustomization":
                    yield document


async def apply(cluster: Cluster, documents: Iterable[dict[str, Any]]) -> None:
    """Apply manifests in the given order, but definitions of kinds first, and wait until the API server serves them.

    Raises ApiError's subclasses as the server refuses one, and TimeoutError when a definition is not established.
    """
    rest: list[dict[str, Any]] = []
    names: set[str] = set()
    for document in documents:
        if document["kind"] == "CustomResourceDefinition":
            name = document["metadata"]["name"]
            await cluster.apply(CRDS, name, document, manager=MANAGER, force=True)
            names.add(name)
        else:
            rest.append(document)
    await established(cluster, names)
    for document in rest:
        metadata = document["metadata"]
        kind = await cluster.kind_of(document["apiVersion"], document["kind"])
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        await cluster.apply(kind, metadata["name"], document, namespace, manager=MANAGER, force=True)


async def established(cluster: Cluster, names: set[str]) -> None:
    """Wait until the API server serves these CustomResourceDefinitions. Raises TimeoutError."""
    missing = set(names)
    if not missing:
        return
    async with asyncio.timeout(ESTABLISHED_SECONDS), aclosing(cluster.watch(CRDS)) as changes:
        async for change, found in changes:
            if change == "SYNC":
                continue
            for definition in found["items"] if change == "LISTED" else (found,):
                conditions = definition.get("status", {}).get("conditions") or ()
                if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                    missing.discard(definition["metadata"]["name"])
            if not missing:
                return
