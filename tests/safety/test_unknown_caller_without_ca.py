"""Somebody who is not the API server is answered, where no client CA is configured: nothing that lasts comes of it."""

from tests.controllers.conftest import until
from tests.safety.tenants import VICTIM, Scene, Servers, vm
from tests.safety.test_unknown_caller import review
from virtnet.controllers.ownership import RESERVED_FOR


async def test_what_is_leased_to_nobody_goes(servers: Servers, scene: Scene) -> None:
    before, rows = await scene.leases(), scene.security()
    for number in range(3):
        manifest = vm(f"ghost{number}")
        status, answer = await servers.webhook.post("pin-vm", review(VICTIM, manifest=manifest))
        assert (status, answer["response"]["allowed"]) == (200, True)
    assert len(await scene.leases()) == len(before) + 3 * len(("MAC", "IPv4", "IPv6"))

    async def gone() -> bool:
        return await scene.leases() == before

    await until(gone, "the leases of VMs that nobody made", RESERVED_FOR.total_seconds() + 60)
    await scene.harmless(rows)
