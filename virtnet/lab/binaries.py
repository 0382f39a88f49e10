"""The programs of the control plane: where they are found, and in which version."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

VERSION = "1.36"
RELEASE = f"{VERSION}.3"

VERSION_ARGUMENTS = {"kube-apiserver": ("--version",), "kubectl": ("version", "--client")}


class MissingProgram(Exception):  # noqa: N818 - says what is missing
    """A program that the control plane needs is not installed. The message says how to get it."""


@dataclass(frozen=True)
class Binaries:
    """Paths of the control plane's programs."""

    etcd: str
    apiserver: str
    kubectl: str

    @classmethod
    def find(cls) -> Self:
        """From $KUBEBUILDER_ASSETS, from PATH in the pinned minor version, or from the cache. Raises Missing."""
        return cls(_find("etcd"), _find("kube-apiserver"), _find("kubectl"))


def cache() -> Path:
    """Where programs that were built or downloaded are kept: $VIRTNET_CACHE, else /var/cache/virtnet."""
    return Path(os.environ.get("VIRTNET_CACHE") or "/var/cache/virtnet") / f"kube-{RELEASE}"


def _find(name: str) -> str:
    for path in _candidates(name):
        if os.access(path, os.X_OK):
            return path
    raise MissingProgram(
        f"{name} is not in $KUBEBUILDER_ASSETS, not on PATH"
        + (f" in version {VERSION}" if name in VERSION_ARGUMENTS else "")
        + f", and not in {cache()}: run `make setup`, or set KUBEBUILDER_ASSETS to a directory that has it"
    )


def _candidates(name: str) -> Iterator[str]:
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        yield f"{assets}/{name}"
    installed = shutil.which(name)
    if installed and _suits(name, installed):
        yield installed
    yield str(cache() / name)


def _suits(name: str, path: str) -> bool:
    if name not in VERSION_ARGUMENTS:
        return True
    said = subprocess.run([path, *VERSION_ARGUMENTS[name]], capture_output=True, text=True, check=False)
    return f"v{VERSION}." in said.stdout
