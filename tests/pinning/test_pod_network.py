"""A cluster whose pod network is virtnet's, too: pods and VMs that name no network have a NIC on it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest

from tests.pinning.conftest import Admission, Replica, Tenant, macs, pinned, replica, settle
from tests.pinning.inputs import vm
from tests.pinning.pods import attachments, launcher, pod, unmarked
from virtnet.api.multus import DEFAULT_NETWORK
from virtnet.api.names import PINNED, POD_NETWORK
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists
from virtnet.kube.kinds import NAMESPACES, VMIS, Kind
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
        with suppress(AlreadyExists):
            await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
            owner = Tenant(cluster, home)
            subnet = await owner.cluster_subnet("10.244.0.0/16")
            await owner.nad(NAD, f'{{"type":"virtnet-cni","clusterSubnet":"{subnet}"}}')
        found = await settle(cluster)
        await register(cluster, one, found.namespace)
        yield found
        await cluster.delete(MUTATING, f"virtnet-{found.namespace}")


def on_pod_network(name: str, binding: str = "bridge") -> dict[str, Any]:
    manifest = vm(name, networks=(("default", ""),))
    spec = manifest["spec"]["template"]["spec"]
    spec["networks"] = [{"name": "default", "pod": {}}]
    spec["domain"]["devices"]["interfaces"] = [{"name": "default", binding: {}}]
    return manifest


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
        made = await tenant.create(on_pod_network(name, binding))
        body = launcher(name=f"launcher-{name}", instance=name)
        body["metadata"]["annotations"] = {}
        found = attachments(await tenant.pod(body))["eth0"]
        assert found["addresses"] == [f"{pinned(made)['default'][0]}/16"]
        assert found["mac"] == macs(made)["default"]
        assert found.get("configure", False) is (binding == "masquerade")


async def test_a_namespace_may_have_a_pod_network_of_its_own(tenant: Tenant, home: str) -> None:
    """VMs that were pinned before it had one stay where they are until their manifest changes."""
    early = await tenant.create(on_pod_network("early"))
    await tenant.cluster.patch(NAMESPACES, tenant.namespace, {"metadata": {"annotations": {POD_NETWORK: "blue-net"}}})

    async def addresses(body: dict[str, Any]) -> str:
        return str(attachments(await tenant.pod(body))["eth0"]["addresses"][0])

    async with asyncio.timeout(10):
        number = 0
        while not (await addresses(pod(f"own-{number}", networks=""))).startswith("10.0.0."):
            number += 1
    late = await tenant.create(on_pod_network("late"))
    assert pinned(late)["default"][0].startswith("10.0.0.")
    for name, made, length in (("early", early, 16), ("late", late, 24)):
        body = launcher(name=f"launcher-{name}", instance=name)
        body["metadata"]["annotations"] = {}
        assert await addresses(body) == f"{pinned(made)['default'][0]}/{length}"
    explicit = pod("explicit", networks="", annotations={DEFAULT_NETWORK: f"{home}/{NAD}"})
    assert (await addresses(explicit)).startswith("10.244."), "what a pod says itself counts more"


async def test_a_vm_that_names_no_network_has_a_nic_on_it(tenant: Tenant) -> None:
    """KubeVirt adds the NIC to its VMI, with the binding that the cluster prefers."""
    manifest = vm("plain", networks=())
    spec = manifest["spec"]["template"]["spec"]
    del spec["networks"], spec["domain"]["devices"]["interfaces"]
    made = await tenant.create(manifest)
    assert pinned(made)["default"][0].startswith("10.244.")
    assert "interfaces" not in made["spec"]["template"]["spec"]["domain"]["devices"]
    template = on_pod_network("plain", "masquerade")["spec"]["template"]["spec"]
    vmi = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "plain"}}
    await tenant.cluster.create(VMIS, {**vmi, "spec": template}, tenant.namespace)
    body = launcher(instance="plain")
    body["metadata"]["annotations"] = {}
    found = attachments(await tenant.pod(body))["eth0"]
    assert found["addresses"] == [f"{pinned(made)['default'][0]}/16"]
    assert found["configure"], "the pod translates"

    alone = vm("alone", networks=())
    alone["spec"]["template"]["spec"]["domain"]["devices"] = {"autoattachPodInterface": False}
    assert PINNED not in (await tenant.create(alone))["metadata"].get("annotations", {})
