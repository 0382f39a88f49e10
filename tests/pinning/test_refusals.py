"""Each bad input of the table gets one error, at the earliest place; nothing is written and nothing stays claimed."""

import asyncio
import json
import subprocess
from typing import Any

import pytest

from tests.controllers.conftest import until
from tests.pinning.conftest import Admission, Tenant, macs, pinned
from tests.pinning.errors_page import PAGE, TABLE, page
from tests.pinning.inputs import SCHEMA, WARNINGS, Body, Change, Row, vm
from virtnet.api.names import ADDRESSES
from virtnet.features import MODELS
from virtnet.kube import kinds
from virtnet.kube.errors import ApiError, Rejected
from virtnet.kube.kinds import NADS, NODES, PODS, VMIS, VMS, Kind
from webhooks.admission import cut

KINDS: dict[str, Kind] = {
    **{model.__name__: kinds.of(model) for model in MODELS},
    "VirtualMachine": VMS,
    "VirtualMachineInstance": VMIS,
    "Pod": PODS,
    "NetworkAttachmentDefinition": NADS,
    "Node": NODES,
}
ROWS = [(section, row) for section, rows in TABLE.items() for row in rows]


def here(tenant: Tenant, value: Any) -> Any:
    """What is written in the table, in this tenant's namespace."""
    return json.loads(json.dumps(value).replace("NS", tenant.namespace))


async def write(tenant: Tenant, what: Body | Change) -> None:
    name = what.kind if isinstance(what, Change) else what["kind"]
    kind = KINDS[name]
    namespace = tenant.namespace if kind.namespaced else ""
    if not isinstance(what, Change):
        await tenant.cluster.create(kind, here(tenant, what), what["metadata"].get("namespace", namespace))
    elif what.patch is None:
        await tenant.cluster.delete(kind, here(tenant, what.name), namespace)
    else:
        name, patch = here(tenant, what.name), here(tenant, what.patch)
        await tenant.cluster.patch(kind, name, patch, namespace, subresource=what.subresource)


async def refused(tenant: Tenant, what: Body | Change) -> bool:
    """Whether an object would be refused now."""
    assert not isinstance(what, Change)
    try:
        kind = KINDS[what["kind"]]
        await tenant.cluster.create(kind, here(tenant, what), tenant.namespace if kind.namespaced else "", dry_run=True)
    except Rejected:
        return True
    return False


def prefix(row: Row) -> str:
    """What the API server puts before the reason."""
    if row.by != SCHEMA:
        return f'admission webhook "{row.by}.virtnet.dev" denied the request: '
    kind = row.what.kind if isinstance(row.what, Change) else row.what["kind"]
    name = row.what.name if isinstance(row.what, Change) else row.what["metadata"]["name"]
    group = KINDS[kind].group
    return f'{kind}{group and "."}{group} "{name}" is invalid: '


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{section}: {row.given}") for section, row in ROWS if row.by not in WARNINGS]
)
async def test_it_is_refused(tenant: Tenant, row: Row) -> None:
    for before in row.after:
        await write(tenant, before)
    leases = await tenant.leases()
    if row.once_heard:
        await until(lambda: refused(tenant, row.what), f"{row.given}: refused")
    with pytest.raises(ApiError) as refusal:
        await write(tenant, row.what)
    assert str(refusal.value) == here(tenant, prefix(row)) + cut(here(tenant, row.says))
    assert refusal.value.code == row.code
    if row.by != SCHEMA:  # what the API server itself refuses after admission expires
        assert await tenant.leases() == leases


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{section}: {row.given}") for section, row in ROWS if row.by in WARNINGS]
)
async def test_it_is_done_with_a_warning(admission: Admission, tenant: Tenant, row: Row) -> None:
    for before in row.after:
        await write(tenant, before)
    change, server, warning = row.what, admission.server, f"Warning: {here(tenant, row.says)}\n"
    assert isinstance(change, Change)

    async def patched(*flags: str) -> str:
        kubectl = await asyncio.create_subprocess_exec(
            server.binaries.kubectl, f"--kubeconfig={server.kubeconfig}", f"--namespace={tenant.namespace}",
            "patch", change.kind, here(tenant, change.name), "--type=merge", f"--patch={json.dumps(here(tenant, change.patch))}", *flags,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, said = await kubectl.communicate()
        assert kubectl.returncode == 0, said
        return said.decode()

    async def heard() -> bool:
        return await patched("--dry-run=server") == warning

    if row.once_heard:
        await until(heard, f"{row.given}: warned")
    assert await patched() == warning


async def test_an_update_that_is_refused_changes_nothing(tenant: Tenant) -> None:
    await tenant.create(vm("db", annotations={ADDRESSES: '{"blue": ["10.0.0.5"]}'}))
    web = await tenant.create(vm("web"))
    leases = await tenant.leases()
    spec = vm("web", networks=(("blue", "blue-net"), ("new", "blue-net")))["spec"]
    patch = {"metadata": {"annotations": {ADDRESSES: '{"new": ["10.0.0.5"]}'}}, "spec": spec}
    with pytest.raises(Rejected, match=r"10\.0\.0\.5 is held by VM"):
        await tenant.cluster.patch(VMS, "web", patch, tenant.namespace)
    now = await tenant.cluster.get(VMS, "web", tenant.namespace)
    assert (pinned(now), macs(now)) == (pinned(web), macs(web))
    assert await tenant.leases() == leases


def test_the_page_for_people_says_the_same() -> None:
    assert PAGE.read_text() == page(), "run: python -m tests.pinning.errors_page"
