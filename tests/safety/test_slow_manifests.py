"""A pod of 4 KB that selects 2,000 networks on a Subnet as large as its schema allows, again and again.

Once a single one held up all admission for minutes.
"""

import asyncio
from collections import Counter

from tests.pinning.conftest import Tenant, admission, pinned, settle, tenant
from tests.pinning.inputs import nad, pod, subnet, vm
from tests.pinning.test_refusals import write
from tests.safety.test_bounded_work import LARGE
from virtnet.kube.errors import ApiError

__all__ = ["admission", "tenant"]

AT_ONCE = 8
NETWORKS = 2_000
REFUSAL = f"{NETWORKS} networks; choose at most 32"


async def floods(attacker: Tenant, number: int, ends: Counter[str]) -> None:
    """One bad pod after the other, until cancelled."""
    while True:
        try:
            await attacker.pod(pod(",".join(["d"] * NETWORKS), name=f"slow{number}"))
        except ApiError as error:
            ends[REFUSAL if REFUSAL in str(error) else str(error)] += 1
        else:
            ends["made"] += 1


async def test_others_are_admitted_meanwhile(tenant: Tenant) -> None:
    attacker = await settle(tenant.cluster)
    await write(attacker, subnet("d", **LARGE))
    await write(attacker, nad({"subnet": "d"}, "d"))
    ends: Counter[str] = Counter()
    flood = [asyncio.create_task(floods(attacker, number, ends)) for number in range(AT_ONCE)]
    try:
        for number in range(20):
            assert pinned(await tenant.create(vm(f"good{number}")))["blue"]
        widest = tuple((f"n{number}", "d") for number in range(32))
        assert len(pinned(await attacker.create(vm("wide", networks=widest)))) == 32
    finally:
        for one in flood:
            one.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    assert ends[REFUSAL] > AT_ONCE
    assert set(ends) == {REFUSAL}, "each is refused at once, none by a time-out"
