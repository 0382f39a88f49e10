"""An update is refused only for what it asks for itself, and a dry run not for what is merely not there yet."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.pinning.conftest import Admission, Tenant, pinned
from tests.pinning.inputs import nad, subnet, vm
from tests.pinning.pods import attachments, pod
from virtnet.api.names import ADDRESSES, NIC, ROUTES
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import NADS, PODS, VMS

EVERYDAY: dict[str, dict[str, Any]] = {
    "label": {"metadata": {"labels": {"tier": "web"}}},
    "annotation": {"metadata": {"annotations": {"note": "mine"}}},
    "annotation of the template": {"spec": {"template": {"metadata": {"annotations": {"note": "mine"}}}}},
    "finalizer": {"metadata": {"finalizers": ["kubevirt.io/virtualMachineControllerFinalize"]}},
    "start": {"spec": {"runStrategy": "Always"}},
}
BLUE = ("blue", "blue-net")


async def kubectl(admission: Admission, tenant: Tenant, *words: str, stdin: str = "") -> tuple[int, str]:
    """Exit code, and what it warns of."""
    server = admission.server
    process = await asyncio.create_subprocess_exec(
        server.binaries.kubectl, f"--kubeconfig={server.kubeconfig}", f"--namespace={tenant.namespace}", *words,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate(stdin.encode())
    return process.returncode or 0, said.decode()


async def heard_of_deletion(tenant: Tenant, name: str) -> None:
    """Until the webhook's memory has no such NetworkAttachmentDefinition any more."""
    async with asyncio.timeout(30):
        for number in range(1000):
            try:
                await tenant.create(vm(f"probe{number}", networks=(("far", name),)))
            except Rejected:
                return


@pytest.mark.parametrize("networks", [[("far", "far-net")], [BLUE, ("far", "far-net")]], ids=["alone", "beside ours"])
@pytest.mark.parametrize("config", [nad('{"type": "bridge"}', "far-net"), nad({"subnet": "blue"}, "far-net")],
                         ids=["another plugin's", "virtnet's"])  # fmt: skip
async def test_a_vm_whose_nad_is_gone_is_written_as_before(
    tenant: Tenant, networks: list[tuple[str, str]], config: dict[str, Any]
) -> None:
    cluster, ns = tenant.cluster, tenant.namespace
    await cluster.create(NADS, config, ns)
    made = await tenant.create(vm(networks=tuple(networks)))
    before, leases = made["metadata"].get("annotations", {}), await tenant.leases()
    await cluster.delete(NADS, "far-net", ns)
    for patch in EVERYDAY.values():
        now = await cluster.patch(VMS, "db", patch, ns)
        assert now["metadata"].get("annotations", {}).items() >= before.items()
    spec = vm(networks=(*networks, ("new", "blue-net")))["spec"]["template"]["spec"]
    grown = await cluster.patch(VMS, "db", {"spec": {"template": {"spec": spec}}}, ns)
    held = pinned(made) if before else {}
    assert pinned(grown) == {**held, "new": pinned(grown)["new"]}
    assert (await tenant.leases()).items() > leases.items()


async def test_what_is_wrong_with_a_nic_that_is_left_alone_is_a_warning(admission: Admission, tenant: Tenant) -> None:
    await tenant.cluster.create(NADS, nad('{"type": "bridge"}', "far-net"), tenant.namespace)
    await tenant.create(vm(networks=(("far", "far-net"),)))
    await tenant.cluster.delete(NADS, "far-net", tenant.namespace)
    code, said = await kubectl(admission, tenant, "label", "vm", "db", "tier=web")
    assert (code, said) == (
        0,
        "Warning: NIC far is left as it was: NetworkAttachmentDefinition "
        f"{tenant.namespace}/far-net does not exist; create it first\n",
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param({}, "nowhere does not exist; create it first", id="a NAD that does not exist"),
        pytest.param({ADDRESSES: '{"far": ["10.0.0.9"]}'}, "far-net does not exist", id="an address"),
        pytest.param({ROUTES: '{"far": [{"destination": "10.9.0.0/16"}]}'}, "far-net does not exist", id="a route"),
        pytest.param({NIC: '{"far": "veth"}'}, "far-net does not exist", id="a kind"),
    ],
)
async def test_what_an_update_asks_for_itself_is_refused(tenant: Tenant, change: dict[str, str], says: str) -> None:
    networks = (BLUE, ("far", "far-net"))
    await tenant.cluster.create(NADS, nad({"subnet": "blue"}, "far-net"), tenant.namespace)
    await tenant.create(vm(networks=networks))
    await tenant.cluster.delete(NADS, "far-net", tenant.namespace)
    await heard_of_deletion(tenant, "far-net")
    body = vm(networks=networks if change else (*networks, ("new", "nowhere")), annotations=change)
    patch = {"metadata": {"annotations": change}, "spec": {"template": body["spec"]["template"]}}
    with pytest.raises(Rejected, match=says):
        await tenant.cluster.patch(VMS, "db", patch, tenant.namespace)


async def test_a_pod_keeps_its_nic_when_another_is_added_and_the_nad_of_the_first_is_gone(tenant: Tenant) -> None:
    await tenant.cluster.create(NADS, nad({"subnet": "blue"}, "far-net"), tenant.namespace)
    first = attachments(await tenant.pod(pod(networks="far-net@net1")))
    await tenant.cluster.delete(NADS, "far-net", tenant.namespace)
    more = {"metadata": {"annotations": pod(networks="far-net@net1,blue-net@net2")["metadata"]["annotations"]}}
    both = attachments(await tenant.cluster.patch(PODS, "web", more, tenant.namespace))
    assert both == {**first, "net2": both["net2"]}


async def test_a_manifest_without_macs_changes_nothing_when_it_is_applied_again(
    admission: Admission, tenant: Tenant
) -> None:
    """Of kubectl it is called configured, which asks for the list of interfaces as it is written; nothing is written."""
    body = json.dumps(vm())
    for how in ([], ["--server-side", "--force-conflicts"]):
        versions = []
        for _ in range(3):
            code, said = await kubectl(admission, tenant, "apply", *how, "--filename=-", stdin=body)
            assert (code, said) == (0, "")
            metadata = (await tenant.cluster.get(VMS, "db", tenant.namespace))["metadata"]
            versions.append((metadata["resourceVersion"], metadata["generation"]))
            assert await kubectl(admission, tenant, "diff", *how, "--filename=-", stdin=body) == (0, "")
        assert len(set(versions)) == 1


GREEN = [subnet("green", "10.20.0.0/24"), nad({"subnet": "green"}, "green-net")]


def bundle(tmp_path: Path, *objects: dict[str, Any]) -> str:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*GREEN, *objects]}))
    return str(path)


async def test_a_dry_run_of_a_whole_bundle_passes_with_warnings(
    admission: Admission, tenant: Tenant, tmp_path: Path
) -> None:
    path = bundle(tmp_path, vm("web", networks=(("green", "green-net"), BLUE)), pod(networks="green-net"))
    code, said = await kubectl(admission, tenant, "apply", "--server-side", "--dry-run=server", f"--filename={path}")
    missing = f"NetworkAttachmentDefinition {tenant.namespace}/green-net does not exist; create it first"
    vpc = (
        f"Warning: Subnet {tenant.namespace}/green: Vpc {tenant.namespace}/green does not exist; create it, or make the "
        "Subnet anew in another Vpc"
    )
    assert code == 0, said
    assert set(said.splitlines()) == {
        vpc,
        f"Warning: NIC green gets its addresses when that is there: {missing}",
        f"Warning: NIC net1 gets its addresses when that is there: {missing}",
    }
    assert await tenant.leases() == {}
    code, said = await kubectl(admission, tenant, "apply", "--server-side", f"--filename={path}")
    assert (code, said) == (0, f"{vpc}\n")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param(vm("web", networks=(("green", "green-net"),), macs={"green": "01:00:00:00:00:01"}), "multicast", id="MAC"),
        pytest.param(vm("web", networks=(("green", "green-net"),), annotations={ADDRESSES: '{"green": ["ten"]}'}), "'ten' does not appear to be an IPv4 or IPv6 address", id="address"),
        pytest.param(vm("web", networks=(("green", "green-net"),), annotations={NIC: '{"green": "warp"}'}), "is not served", id="NIC kind"),
        pytest.param(vm("web", networks=(("green", "green-net"),), annotations={ADDRESSES: '{"red": []}', NIC: '{"red": "veth"}'}), "no network red", id="network"),
        pytest.param(vm("web", networks=(("green", "a/b/c"),)), "is no name of a NetworkAttachmentDefinition", id="NAD's name"),
        pytest.param(vm("web", networks=(("green", "green-net"), BLUE), annotations={ADDRESSES: '{"blue": ["10.0.0.1"]}'}), "is the gateway", id="address elsewhere"),
    ],
)  # fmt: skip
async def test_a_dry_run_is_refused_for_what_cannot_become_right(
    tenant: Tenant, body: dict[str, Any], says: str
) -> None:
    with pytest.raises(Rejected, match=says):
        await tenant.create(body, dry_run=True)
    assert await tenant.leases() == {}
