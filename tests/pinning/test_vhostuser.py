"""VMs that ask for vhost-user NICs: admission binds their interfaces by the plugin, and pins them as ever."""

from typing import Any

import pytest

from tests.pinning.conftest import Tenant, pinned
from tests.pinning.inputs import vm
from tests.pinning.pods import attachments, launcher
from virtnet.api.kubevirt import interfaces_of
from virtnet.api.names import NIC
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMIS, VMS

PLUGIN = {"name": "virtnet-vhostuser"}
UNBOUND: dict[str, Any] = {"bindings": {"blue": {}}}
ASKED = {NIC: '{"blue": "vhostuser"}'}


def bindings(made: dict[str, Any]) -> list[Any]:
    return [one.get("binding") for one in interfaces_of(made)]


async def test_an_interface_without_a_binding_gets_the_plugins(tenant: Tenant) -> None:
    made = await tenant.create(vm(**UNBOUND, annotations=ASKED))
    assert bindings(made) == [PLUGIN]
    assert pinned(made)["blue"][0].startswith("10.0.0.")
    marked = attachments(await tenant.pod(launcher()))
    assert [one["nic"] for one in marked.values()] == ["vhostuser"]


async def test_a_nad_asks_for_all_that_use_it(tenant: Tenant) -> None:
    await tenant.nad("fast-net", '{"cniVersion":"1.1.0","type":"virtnet-cni","subnet":"blue","nic":"vhostuser"}')
    networks = (("blue", "fast-net"), ("slow", "blue-net"))
    made = await tenant.create(vm(**UNBOUND, networks=networks))
    assert bindings(made) == [PLUGIN, None]


async def test_a_manifest_that_is_applied_again_keeps_it(tenant: Tenant) -> None:
    """Without what admission has added: so it stands in git."""
    written = vm(**UNBOUND, annotations=ASKED)
    made = await tenant.create(written)
    whole = {**written, "metadata": {**written["metadata"], "resourceVersion": made["metadata"]["resourceVersion"]}}
    again = await tenant.cluster.replace(VMS, "db", whole, tenant.namespace)
    assert bindings(again) == [PLUGIN]
    assert pinned(again) == pinned(made)


async def test_an_instance_without_a_vm_has_to_bind_its_own(tenant: Tenant) -> None:
    spec = vm(**UNBOUND)["spec"]["template"]["spec"]
    metadata = {"name": "bare", "annotations": ASKED}
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": metadata, "spec": spec}
    await tenant.cluster.create(VMIS, body, tenant.namespace)
    with pytest.raises(Rejected, match="bound by nothing; write binding:"):
        await tenant.pod(launcher(instance="bare"))
