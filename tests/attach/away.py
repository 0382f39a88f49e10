"""An API server that is away."""

from pathlib import Path

import yaml

NOWHERE = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "x", "user": {"token": "x"}}],
}


def kubeconfig(directory: Path) -> str:
    """Its kubeconfig, a file there."""
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(NOWHERE))
    return str(path)
