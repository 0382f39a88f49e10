"""What manifests/binding-plugin registers is what the sidecar is, and what admission knows it by."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from virtnet.api.nic_kinds import VHOSTUSER_BINDING
from virtnet.lab.binaries import Binaries

DIRECTORY = Path(__file__).parents[2] / "manifests" / "binding-plugin"


def rendered() -> list[dict[str, Any]]:
    command = [Binaries.find().kubectl, "kustomize", str(DIRECTORY)]
    return list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def test_only_the_plugin_is_registered() -> None:
    """Applied by the server's side, whatever else the object says stays."""
    (kubevirt,) = rendered()
    plugin = kubevirt["spec"]["configuration"]["network"]["binding"][VHOSTUSER_BINDING]
    image = plugin.pop("sidecarImage")
    assert kubevirt == {
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
        "spec": {"configuration": {"network": {"binding": {VHOSTUSER_BINDING: plugin}}}},
    }
    assert plugin == {"downwardAPI": "device-info", "migration": {}}
    assert image.startswith("ghcr.io/virtnet/virtnet-vhostuser:")


def test_the_image_starts_the_sidecar_as_kubevirts_user() -> None:
    image = (DIRECTORY / "Containerfile").read_text()
    assert re.search(r"^USER 107$", image, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["/venv/bin/python", "-m", "virtnet.binding"\]$', image, re.MULTILINE)
