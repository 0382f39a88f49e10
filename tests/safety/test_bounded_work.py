"""A tenant writes what is large, many or full: admission does little for what it refuses, and others do not wait.

Work is what the webhook's process has computed, beside what it computes for a plain VM.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pinning.conftest import Admission, Tenant, pinned
from tests.pinning.inputs import Body, nad, pod, subnet, vm
from tests.pinning.test_refusals import write
from virtnet.api.names import ADDRESSES, PINNED, ROUTES
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import PODS, VMS

NICS = tuple((f"n{n}", "large-net") for n in range(32))
LARGE: dict[str, Any] = {
    "cidrs": "10.128.0.0/9 fd77::/64",
    "ranges": [f"10.200.{n}.1-10.200.{n}.9" for n in range(256)],
    "excludes": [f"10.201.{n}.1-10.201.{n}.9" for n in range(256)],
    "reservations": [{"address": f"10.210.{n // 250}.{n % 250 + 1}", "vm": f"v{n}"} for n in range(1024)],
}
"""A Subnet as large as its schema allows."""


def record(networks: int, routes: int) -> str:
    subnet = {"kind": "Subnet", "namespace": "NS", "name": "large"}
    nic = {"nad": "NS/large-net", "subnet": subnet, "mac": "02:00:00:00:00:01", "addresses": ["10.200.0.5"]}
    many = [{"destination": f"192.{n // 256}.{n % 256}.0/24", "gateway": "10.200.0.1"} for n in range(routes)]
    return json.dumps({"vm": "NS/db", "nics": {f"n{n}": {**nic, "routes": many} for n in range(networks)}})


def computed(admission: Admission) -> float:
    """Seconds of CPU that the first replica has used so far."""
    return int(Path(f"/proc/{admission.replicas['a'].daemon.pid}/schedstat").read_text().split()[0]) / 1e9


async def work(admission: Admission, tenant: Tenant, body: Body) -> tuple[float, str]:
    """What the webhook computes for a dry run of a create, and why that is refused."""
    before = computed(admission)
    kind = PODS if body["kind"] == "Pod" else VMS
    body = json.loads(json.dumps(body).replace("NS/", f"{tenant.namespace}/"))
    try:
        await tenant.cluster.create(kind, body, tenant.namespace, dry_run=True)
    except Rejected as error:
        return computed(admission) - before, str(error)
    return computed(admission) - before, ""


async def plain(admission: Admission, tenant: Tenant) -> float:
    """What it computes for a VM with one NIC: the most of several, for the first ones pay for more than themselves."""
    return max([(await work(admission, tenant, vm()))[0] for _ in range(8)][2:])


REFUSED = {
    "130,000 networks, two bytes each": (pod(",".join(["d"] * 130_000)), "130000 networks; choose at most 32"),
    "20,000 networks as JSON": (pod([{"name": "d"}] * 20_000), "20000 networks; choose at most 32"),
    "40,000 addresses of a selection": (pod([{"name": "blue-net", "ips": ["::"] * 40_000}]), "ips has 40000 addresses"),
    "8,000 interfaces": (vm(networks=(("a", "b"),) * 8_000), "interfaces has 8000 entries; write at most 256"),
    "17,000 times one address": (
        vm(annotations={ADDRESSES: json.dumps({"blue": ["10.0.0.9"] * 17_000})}),
        f"annotation {ADDRESSES} has 204010 characters; virtnet reads at most 65536",
    ),
    "4,000 times one address": (
        vm(annotations={ADDRESSES: json.dumps({"blue": ["10.0.0.9"] * 4_000})}),
        f"annotation {ADDRESSES}: blue asks for 4000 addresses; a NIC has one of each family",
    ),
    "2,000 routes": (
        vm(annotations={ROUTES: json.dumps({"blue": [{"destination": "9.0.0.0/8"}] * 2_000})}),
        "2000 routes are asked for one NIC; ask for at most 64",
    ),
}


@pytest.mark.parametrize("given", REFUSED)
async def test_what_is_refused_is_refused_before_work(admission: Admission, tenant: Tenant, given: str) -> None:
    body, says = REFUSED[given]
    usual = await plain(admission, tenant)
    least = min([await work(admission, tenant, body) for _ in range(3)])
    assert says in least[1]
    assert least[0] < 6 * usual


@pytest.mark.parametrize(
    "text", [pytest.param(record(1_200, 0), id="1,200 NICs"), pytest.param(record(1, 3_500), id="3,500 routes")]
)
async def test_a_record_that_nobody_wrote(admission: Admission, tenant: Tenant, text: str) -> None:
    """It is none, and the VM gets a new one."""
    usual = await plain(admission, tenant)
    body = vm(annotations={PINNED: text})
    assert min([await work(admission, tenant, body) for _ in range(3)])[0] < 12 * usual


async def test_the_largest_vm_costs_what_as_many_small_ones_do(admission: Admission, tenant: Tenant) -> None:
    """On 32 NICs in the largest Subnet, each with addresses of both families."""
    await write(tenant, subnet("large", **LARGE))
    await write(tenant, nad({"subnet": "large"}, "large-net"))
    usual = await plain(admission, tenant)
    least = min([await work(admission, tenant, vm("big", networks=NICS)) for _ in range(3)])
    assert least[1] == ""
    assert least[0] < 2 * len(NICS) * usual


async def test_a_full_subnet_answers_as_an_empty_one(admission: Admission, tenant: Tenant) -> None:
    """What is taken is passed over as a whole."""
    await write(tenant, subnet("full", "10.9.0.0/22"))
    await write(tenant, nad({"subnet": "full"}, "full-net"))
    for n in range(32):
        nics = tuple((f"n{n}", "full-net") for n in range(32))
        if n == 31:
            nics = nics[:29]
        assert len(pinned(await tenant.create(vm(f"many{n}", networks=nics)))) == len(nics)
    usual = await plain(admission, tenant)
    least = min([await work(admission, tenant, vm(networks=(("full", "full-net"),))) for _ in range(3)])
    assert "no IPv4 address is left for NIC full of its 1021" in least[1]
    assert least[0] < 3 * usual
