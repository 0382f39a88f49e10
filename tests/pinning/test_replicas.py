"""Several replicas at once, one that is killed, and one that has not heard yet: no address is ever given twice."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pinning.conftest import ACCOUNT, Admission, Tenant, macs, pinned, running_admission, settle
from tests.pinning.inputs import vm
from tests.pinning.pods import attachments, launcher
from virtnet.api import GROUP, VERSION, Subnet
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, ApiError, Rejected
from virtnet.kube.kinds import CRDS, VMS, Kind
from virtnet.kube.watched import BY_WEBHOOK
from virtnet.lab import manifests

AT_ONCE = 50
ACCOUNTS = Kind("", "v1", "serviceaccounts")
NOT_ALLOWED = "Unauthorized"
WATCHES = len(BY_WEBHOOK) + 2
"""Of one replica: of NADs and Namespaces, too."""


async def create_all(tenant: Tenant, manifests: list[dict[str, Any]]) -> list[dict[str, Any] | ApiError]:
    """As many people at once do it, who try again when they are told to, or when nobody answers."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(manifest: dict[str, Any]) -> dict[str, Any] | ApiError:
        while True:
            async with limit:
                try:
                    return await tenant.create(manifest)
                except ApiError as error:
                    if "try again" not in str(error) and "failed calling webhook" not in str(error):
                        return error
            await asyncio.sleep(0.2)

    return await asyncio.gather(*map(one, manifests))


async def claimed(tenant: Tenant, count: int) -> None:
    """Until so many leases are there."""
    async with asyncio.timeout(30):
        while True:
            if len(await tenant.leases()) >= count:
                return
            await asyncio.sleep(0.01)


def numbered(count: int, **manifest: Any) -> list[dict[str, Any]]:
    """VMs of which one half asks one replica, and the other half the other."""
    return [vm(f"vm{n}-{'ab'[n % 2]}", **manifest) for n in range(count)]


async def test_two_replicas_share_a_pool_exactly(tenant: Tenant) -> None:
    await tenant.subnet("pool", "10.3.0.0/24", ranges=["10.3.0.10-10.3.0.159"])
    await tenant.nad("pool-net", '{"type":"virtnet-cni","subnet":"pool"}')
    results = await create_all(tenant, numbered(200, networks=(("pool", "pool-net"),)))
    made = [one for one in results if isinstance(one, dict)]
    refused = [str(one) for one in results if isinstance(one, ApiError)]
    assert len(made) == 150
    assert all("no IPv4 address is left for NIC pool" in text for text in refused), refused
    addresses = [pinned(one)["pool"][0] for one in made]
    assert len(set(addresses)) == 150
    assert set(await tenant.leases()) == {*addresses, *(macs(one)["pool"] for one in made)}


async def test_all_ask_for_one_address(tenant: Tenant) -> None:
    results = await create_all(tenant, numbered(40, annotations={"virtnet.dev/addresses": '{"blue": ["10.0.0.50"]}'}))
    assert sum(isinstance(one, dict) for one in results) == 1
    assert all("10.0.0.50 is held by VM" in str(one) for one in results if isinstance(one, ApiError))
    assert len(await tenant.leases()) == 2


async def test_an_update_at_once_on_another_replica(admission: Admission, tenant: Tenant) -> None:
    made = await tenant.create(vm("db-a"))
    review = {
        "uid": "1",
        "operation": "UPDATE",
        "resource": {"group": "kubevirt.io", "version": "v1", "resource": "virtualmachines"},
        "object": {**vm("db-a"), "metadata": {"name": "db-a", "namespace": tenant.namespace}},
        "oldObject": made,
        "userInfo": {},
    }
    _, answer = await admission.replicas["b"].post("pin-vm", {"request": review})
    assert answer["response"]["allowed"], answer
    await tenant.cluster.patch(VMS, "db-a", {"spec": vm("db-a")["spec"]}, tenant.namespace)
    assert set(await tenant.leases()) == {pinned(made)["blue"][0], macs(made)["blue"]}


async def test_a_replica_that_dies_in_the_middle(tenant: Tenant, admission: Admission) -> None:
    second = admission.replicas["b"]
    work = asyncio.create_task(create_all(tenant, numbered(80)))
    await claimed(tenant, 20)
    second.daemon.kill()
    await second.start()
    made = [one for one in await work if isinstance(one, dict)]
    addresses = [pinned(one)["blue"][0] for one in made]
    assert len(made) == len(set(addresses)) == 80
    # What was claimed for the killed one's last requests was taken over when they were tried again, or expires.
    assert {*addresses, *(macs(one)["blue"] for one in made)} <= set(await tenant.leases())


@pytest.fixture(scope="module")
def own_admission(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Admission]:
    with running_admission(tmp_path_factory.mktemp("own-admission")) as found:
        yield found


async def test_an_api_server_that_is_killed_in_the_middle(own_admission: Admission) -> None:
    server = own_admission.server
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        tenant = await settle(cluster)
        work = asyncio.create_task(create_all(tenant, numbered(60)))
        await claimed(tenant, 20)
        server.apiserver.kill()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        server.start()
        again = await create_all(tenant, numbered(60))
        items, _ = await cluster.list(VMS, tenant.namespace)
        addresses = [pinned(one)["blue"][0] for one in items]
        assert len(items) == len(set(addresses)) == 60
        there = [one for one in again if isinstance(one, ApiError)]
        assert all(isinstance(one, AlreadyExists) for one in there), there
        leases = await tenant.leases()
        for one in items:
            name = one["metadata"]["name"]
            assert leases[pinned(one)["blue"][0]] == leases[macs(one)["blue"]] == f"{name}.blue"


async def test_without_the_api_server_the_answer_is_to_try_again(own_admission: Admission) -> None:
    server = own_admission.server
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        tenant = await settle(cluster)
        await tenant.create(vm("known", annotations={"virtnet.dev/addresses": '{"blue": ["10.0.0.9"]}'}))
        server.apiserver.kill()
        manifest = {**vm("db"), "metadata": {"name": "db", "namespace": tenant.namespace}}
        resource = {"group": "kubevirt.io", "version": "v1", "resource": "virtualmachines"}
        review = {"uid": "1", "operation": "CREATE", "resource": resource, "object": manifest, "userInfo": {}}
        _, answer = await own_admission.replicas["a"].post("pin-vm", {"request": review})
        server.start()
    status = answer["response"]["status"]
    assert status["code"] == 503
    assert status["message"].startswith(f"virtnet cannot claim addresses now (API server {server.server}: POST ")
    assert status["message"].endswith("; try again")


async def test_nothing_is_admitted_while_no_replica_lives(own_admission: Admission) -> None:
    async with await Cluster.connect(str(own_admission.server.kubeconfig)) as cluster:
        tenant = await settle(cluster)
        made = await tenant.create(vm("db"))
        own_admission.replicas["a"].daemon.kill()
        with pytest.raises(ApiError, match="failed calling webhook"):
            await tenant.create(vm("web"))
        with pytest.raises(ApiError, match="failed calling webhook"):
            await cluster.patch(VMS, "db", {"spec": vm("db")["spec"]}, tenant.namespace)
        started = await cluster.patch(VMS, "db", {"spec": {"runStrategy": "Always"}}, tenant.namespace)
        assert pinned(started) == pinned(made)
        with pytest.raises(ApiError, match="failed calling webhook"):  # KubeVirt tries again
            await tenant.pod(launcher())
        assert (await tenant.create(vm("plain", networks=())))["metadata"]["name"] == "plain"
        stopped = await cluster.patch(VMS, "db", {"spec": {"runStrategy": "Halted"}}, tenant.namespace)
        assert pinned(stopped) == pinned(made)
        await own_admission.replicas["a"].start()
        assert pinned(await tenant.create(vm("web")))
        (attachment,) = attachments(await tenant.pod(launcher())).values()
        assert attachment["addresses"] == [f"{pinned(made)['blue'][0]}/24"]


async def test_a_claim_that_was_cut_off_is_not_in_the_way(tenant: Tenant) -> None:
    """A claim without a VM, as a killed replica leaves it: the VM takes it over, and nobody else can."""
    ask = {"virtnet.dev/addresses": '{"blue": ["10.0.0.33"]}'}
    await tenant.create(vm("db", annotations=ask))
    await tenant.cluster.delete(VMS, "db", tenant.namespace)
    with pytest.raises(Rejected, match=r"10\.0\.0\.33 is held by VM"):
        await tenant.create(vm("web", annotations=ask))
    assert pinned(await tenant.create(vm("db"))) == {"blue": ("10.0.0.33",)}


async def test_a_kind_that_comes_after_its_webhook(own_admission: Admission) -> None:
    """As KubeVirt's do, where it is installed after virtnet."""
    one = own_admission.replicas["a"]
    async with await Cluster.connect(str(own_admission.server.kubeconfig)) as cluster:
        tenant = await settle(cluster)
        await cluster.delete(CRDS, "virtualmachines.kubevirt.io")
        one.daemon.kill()
        await one.start()
        await manifests.apply(cluster, manifests.read(manifests.FOREIGN_CRDS))
        assert pinned(await tenant.create(vm("first-a")))["blue"]


async def test_an_api_server_that_does_not_know_its_webhook_any_more(own_admission: Admission) -> None:
    """What is decided from memory still is. Last of this server: nobody can make the account again as it was."""
    server, one = own_admission.server, own_admission.replicas["b"]
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        tenant = await settle(cluster)
        known = await cluster.get(kinds.of(Subnet), "blue", tenant.namespace)
        await cluster.delete(ACCOUNTS, ACCOUNT, "virtnet")
    before = one.daemon.log.read_text().count(NOT_ALLOWED)
    server.apiserver.kill()
    server.start()
    async with asyncio.timeout(60):
        while True:  # each watch says it once
            assert one.daemon.pid, one.daemon.last_words()
            if one.daemon.log.read_text().count(NOT_ALLOWED) >= before + WATCHES:
                break
            await asyncio.sleep(0.1)
    metadata = {"name": "twin", "namespace": tenant.namespace}
    resource = {"group": GROUP, "version": VERSION, "resource": "subnets"}
    review = {"uid": "1", "operation": "CREATE", "resource": resource, "object": {**known, "metadata": metadata}}
    _, answer = await one.post("check", {"request": {**review, "userInfo": {}}})
    assert "10.0.0.0/24 overlaps 10.0.0.0/24" in answer["response"]["status"]["message"]
