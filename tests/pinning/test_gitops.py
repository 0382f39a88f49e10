"""A manifest that is applied again changes nothing, though it lacks what admission has written."""

import json
from pathlib import Path

import pytest

from tests.pinning.conftest import Admission, Tenant
from tests.pinning.inputs import vm
from tests.pinning.test_updates import kubectl
from virtnet.kube.kinds import VMS


@pytest.mark.parametrize("how", [(), ("--server-side",)], ids=["client-side", "server-side"])
async def test_a_vm_without_mac_is_applied_again(
    admission: Admission, tenant: Tenant, tmp_path: Path, how: tuple[str, ...]
) -> None:
    path = tmp_path / "vm.json"
    path.write_text(json.dumps(vm()))
    words = ("apply", *how, f"--filename={path}")
    assert await kubectl(admission, tenant, *words) == (0, "")
    made = await tenant.cluster.get(VMS, "db", tenant.namespace)
    assert await kubectl(admission, tenant, *words) == (0, "")
    again = await tenant.cluster.get(VMS, "db", tenant.namespace)
    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    assert await kubectl(admission, tenant, "diff", *how, f"--filename={path}") == (0, "")
