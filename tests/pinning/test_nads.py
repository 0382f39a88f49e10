"""What NICs were made by stays: a NetworkAttachmentDefinition that is changed or deleted under VMs."""

from typing import Any

import pytest

from tests.controllers.conftest import until
from tests.pinning.conftest import Admission, Tenant
from tests.pinning.inputs import nad, user
from tests.pinning.test_refusals import here
from tests.pinning.test_updates import kubectl
from virtnet.api import Port
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import NADS

PORTS = kinds.of(Port)


async def heard(tenant: Tenant, name: str) -> None:
    """Wait until admission knows who has a NIC by a NAD that does not exist."""

    async def refused() -> bool:
        try:
            await tenant.cluster.create(NADS, nad({"subnet": "red"}, name), tenant.namespace, dry_run=True)
        except Rejected:
            return True
        return False

    await until(refused, "admission knows of the Port")


async def used(tenant: Tenant, config: dict[str, Any]) -> None:
    """NAD ``odd``, by which VM ``db`` has a NIC in Subnet ``blue``."""
    await tenant.cluster.create(PORTS, here(tenant, user("odd")), tenant.namespace)
    await heard(tenant, "odd")
    await tenant.cluster.create(NADS, nad({"subnet": "blue", **config}), tenant.namespace)


async def rewritten(tenant: Tenant, config: Any) -> None:
    spec = nad(config)["spec"]
    await tenant.cluster.patch(NADS, "odd", {"spec": spec}, tenant.namespace)


@pytest.mark.parametrize("config", [{"subnet": "red"}, {"clusterSubnet": "blue"}, '{"type": "bridge"}'])
async def test_it_leads_to_another_subnet_once_nobody_uses_it(tenant: Tenant, config: Any) -> None:
    await used(tenant, {})
    await rewritten(tenant, {"subnet": "blue", "mtu": 1400})
    with pytest.raises(Rejected, match=f"VM {tenant.namespace}/db, NIC blue, has its addresses in Subnet"):
        await rewritten(tenant, config)
    await tenant.cluster.delete(PORTS, "db.blue", tenant.namespace)
    await rewritten(tenant, config)


async def test_who_deletes_it_is_told_who_uses_it(admission: Admission, tenant: Tenant) -> None:
    await used(tenant, {})
    code, said = await kubectl(admission, tenant, "delete", "net-attach-def", "odd", "--dry-run=server")
    title = f"NetworkAttachmentDefinition {tenant.namespace}/odd"
    assert (code, said) == (
        0,
        f"Warning: {title} stays until the last of 1 NICs by it has gone, one of them VM {tenant.namespace}/db, NIC "
        "blue\n",
    )
    await tenant.cluster.delete(PORTS, "db.blue", tenant.namespace)
    assert await kubectl(admission, tenant, "delete", "net-attach-def", "odd") == (0, "")
