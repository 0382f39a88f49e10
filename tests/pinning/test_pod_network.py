"""A cluster whose pod network is virtnet's, too: pods and VMs that name no network have a NIC on it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from tests.pinning.conftest import Admission, Replica, Tenant, macs, pinned, replica
from tests.pinning.inputs import vm
from tests.pinning.test_pods import attachments, launcher, pod, unmarked
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NAMESPACES, Kind
from webhooks.manifests import configurations

NAD = "pod-network"
MUTATING = Kind("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False)


async def register(cluster: Cluster, one: Replica, namespace: str) -> None:
    """Asked about this namespace alone: the other tests' replicas are not asked about what names no network."""
    bundle = one.authority.root.certificate.read_bytes()
    body = configurations(url=one.url, ca_bundle=bundle, pod_network=True)[0]
    body["metadata"]["name"] = f"virtnet-{namespace}"
    for webhook in body["webhooks"]:
        webhook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    await cluster.create(MUTATING, body)


@pytest.fixture(scope="module")
def home() -> str:
    return f"t{uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def one(admission: Admission, home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    state = tmp_path_factory.mktemp("pod-network")
    found = replica(admission.server, state, "pod-network", "--pod-network", f"{home}/{NAD}")
    asyncio.run(found.start())
    yield found
    found.daemon.stop()


@pytest.fixture
async def tenant(admission: Admission, one: Replica, home: str) -> AsyncIterator[Tenant]:
    async with await Cluster.connect(str(admission.server.kubeconfig)) as cluster:
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
        found = Tenant(cluster, home)
        subnet = await found.cluster_subnet("10.244.0.0/16")
        await found.nad(NAD, f'{{"type":"virtnet-cni","clusterSubnet":"{subnet}"}}')
        await found.subnet()
        await found.nad("blue-net", '{"type":"virtnet-cni","subnet":"blue"}')
        await register(cluster, one, home)
        yield found
        await cluster.delete(MUTATING, f"virtnet-{home}")


async def test_pods_and_vms_have_a_nic_on_it(tenant: Tenant) -> None:
    (plain,) = attachments(await tenant.pod(pod(networks=""))).items()
    assert plain[0] == "eth0"
    assert plain[1]["addresses"][0].startswith("10.244.")
    assert plain[1]["configure"]
    assert plain[1]["gateways"] == ["10.244.0.1"]

    both = attachments(await tenant.pod(pod("both")))
    assert set(both) == {"eth0", "net1"}
    assert "gateways" not in both["net1"], "one default route is enough"

    host = pod("host", networks="")
    host["spec"]["hostNetwork"] = True
    assert unmarked(await tenant.pod(host))

    for name, binding in (("bridged", "bridge"), ("translated", "masquerade")):
        manifest = vm(name, networks=(("default", ""),))
        spec = manifest["spec"]["template"]["spec"]
        spec["networks"] = [{"name": "default", "pod": {}}]
        spec["domain"]["devices"]["interfaces"] = [{"name": "default", binding: {}}]
        made = await tenant.create(manifest)
        body = launcher(name=f"launcher-{name}", instance=name)
        body["metadata"]["annotations"] = {}
        found = attachments(await tenant.pod(body))["eth0"]
        assert found["addresses"] == [f"{pinned(made)['default'][0]}/16"]
        assert found["mac"] == macs(made)["default"]
        assert found.get("configure", False) is (binding == "masquerade")
