"""Each manifest in the documentation is one that the API server takes, to its last field."""

import asyncio
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from tests.conftest import REPOSITORY
from virtnet.lab.control_plane import ControlPlane

FOREIGN = ("argoproj.io/", "k8s.cni.cncf.io/v1beta1")
"""What the API server of the tests does not serve."""

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))


def examples() -> Iterator[tuple[str, dict[str, object]]]:
    """Page and manifest. One that begins with its spec is a variant of the one before it."""
    for page in PAGES:
        whole: dict[str, object] = {}
        for block in page.read_text().split("```yaml\n")[1:]:
            whole = {**whole, **yaml.safe_load(block.partition("```")[0])}
            if not str(whole["apiVersion"]).startswith(FOREIGN):
                yield page.name, whole


@pytest.mark.parametrize(
    "manifest", [pytest.param(body, id=f"{page}-{number}") for number, (page, body) in enumerate(examples())]
)
async def test_it_is_taken(api_server: ControlPlane, manifest: dict[str, dict[str, object]]) -> None:
    manifest = {**manifest, "metadata": {"name": manifest["metadata"]["name"]}}
    kubectl = await asyncio.create_subprocess_exec(
        api_server.binaries.kubectl, f"--kubeconfig={api_server.kubeconfig}", "--namespace=default",
        "create", "--dry-run=server", "--validate=strict", "--filename=-",
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, said = await kubectl.communicate(yaml.safe_dump(manifest).encode())
    assert (kubectl.returncode, said.decode()) == (0, "")
