"""Many VMs are created at once: all are admitted or refused while somebody waits, and what is refused comes again."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.pinning.conftest import Admission, Tenant, settle
from tests.pinning.inputs import vm
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.kube.kinds import VMS
from virtnet.lab import identities, manifests

FEW, MANY = 50, 500
TRIES = 11
"""A client in Go repeats a request ten times that it is told to repeat."""

RIGHTS = (
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "user", "namespace": "default"}},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "user"},
        "rules": [{"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines"], "verbs": ["create"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "user"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "user"},
        "subjects": [{"kind": "ServiceAccount", "name": "user", "namespace": "default"}],
    },
)


@pytest.fixture
async def user(admission: Admission) -> AsyncIterator[Cluster]:
    """Somebody whose requests wait in the API server's queues as those of tenants do."""
    server = admission.server
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        await manifests.apply(cluster, RIGHTS)
    identities.write_kubeconfig(server, "user", identities.token(server, "user", namespace="default"))
    async with await Cluster.connect(str(server.kubeconfig_of("user"))) as found:
        yield found


@pytest.fixture
async def crowded(admission: Admission) -> AsyncIterator[Tenant]:
    """A namespace with a Subnet for them all."""
    async with await Cluster.connect(str(admission.server.kubeconfig)) as cluster:
        found = await settle(cluster)
        await found.subnet("wide", "10.64.0.0/16")
        await found.nad("wide-net", '{"type": "virtnet-cni", "subnet": "wide"}')
        yield found


async def burst(user: Cluster, namespace: str, name: str, count: int) -> tuple[float, Counter[str]]:
    """How many VMs are made in a second, and how the requests ended."""
    ends: Counter[str] = Counter()

    async def create(number: int) -> None:
        body = vm(f"{name}{number}", networks=(("wide", "wide-net"),))
        for _ in range(TRIES):
            try:
                await user.create(VMS, body, namespace)
            except ApiError as error:
                if error.code not in (429, 503):
                    ends[str(error)] += 1
                    return
                ends["repeated"] += 1
                await asyncio.sleep(1)
            else:
                ends["made"] += 1
                return
        ends["given up"] += 1

    began = time.monotonic()
    await asyncio.gather(*(create(number) for number in range(count)))
    return ends["made"] / (time.monotonic() - began), ends


async def test_of_500_at_once_all_are_made(user: Cluster, crowded: Tenant) -> None:
    """None waits until the API server gives up, and five hundred are made as quickly as fifty."""
    best, ends = await burst(user, crowded.namespace, "few", FEW)
    assert ends["made"] == FEW, ends
    rate, ends = await burst(user, crowded.namespace, "many", MANY)
    assert ends["made"] == MANY, ends
    assert rate > best / 3
    assert len(set(await crowded.leases())) == 2 * (FEW + MANY)
