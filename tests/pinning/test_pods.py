"""Pods come out of admission with all that their node needs, and with nothing that they brought themselves."""

import json
from typing import Any

import pytest

from tests.pinning.conftest import Tenant, macs, pinned
from tests.pinning.inputs import vm
from tests.pinning.pods import BLUE, attachments, launcher, pod, unmarked
from virtnet.api import AddressLease
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import IPAM_CLAIMS, PODS


@pytest.mark.parametrize(
    ("networks", "interfaces"),
    [
        pytest.param("blue-net", ("net1",), id="short form"),
        pytest.param("foreign, NS/blue-net@data", ("data",), id="short form with namespace and interface"),
        pytest.param("foreign,blue-net", ("net2",), id="counted as Multus does"),
        pytest.param([{"name": "blue-net"}, {"name": "blue-net", "interface": "x"}], ("net1", "x"), id="JSON"),
    ],
)
async def test_an_ordinary_pod_holds_addresses_of_its_own(
    tenant: Tenant, networks: Any, interfaces: tuple[str, ...]
) -> None:
    text = networks if isinstance(networks, str) else json.dumps(networks)
    found = attachments(await tenant.pod(pod(networks=text.replace("NS", tenant.namespace))))
    assert tuple(found) == interfaces
    assert all(one["configure"] for one in found.values())
    held = {(one["addresses"][0].removesuffix("/24"), one["port"]) for one in found.values()}
    held |= {(one["mac"], one["port"]) for one in found.values()}
    assert {(address, f"{tenant.namespace}/{port}") for address, port in (await tenant.leases()).items()} == held


async def test_an_ordinary_pod_asks_in_its_selection(tenant: Tenant) -> None:
    element = {"name": "blue-net", "ips": ["10.0.0.66/24"], "mac": "02:00:00:00:00:66", "default-route": ["10.0.0.1"]}
    (found,) = attachments(await tenant.pod(pod(networks=[element]))).values()
    assert (found["addresses"], found["mac"], found["gateways"]) == (
        ["10.0.0.66/24"],
        "02:00:00:00:00:66",
        ["10.0.0.1"],
    )


async def test_a_pod_of_a_deployment_is_named_in_time(tenant: Tenant) -> None:
    body = pod(generateName="web-5d9c-")
    del body["metadata"]["name"]
    made = await tenant.pod(body)
    name = made["metadata"]["name"]
    assert name.startswith("web-5d9c-")
    assert attachments(made)["net1"]["port"].startswith(f"{tenant.namespace}/{name}.net1-pod-")


async def test_a_pod_of_a_stateful_set_has_what_it_had_when_it_is_made_again(tenant: Tenant) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u", "controller": True}
    member = pod("web-0", ownerReferences=[owner])
    first = attachments(await tenant.pod(member))
    await tenant.cluster.delete(PODS, "web-0", tenant.namespace)
    again = attachments(await tenant.pod(member))
    for one in again.values():
        assert one.pop("claim")  # by which its leases, that were claimed again, are its own
    assert again == first
    items, _ = await tenant.cluster.list(kinds.of(AddressLease))
    ours = [item["spec"]["holder"] for item in items if item["spec"]["holder"]["namespace"] == tenant.namespace]
    assert {holder["owner"]["statefulSet"] for holder in ours} == {"web"}


async def test_an_ipam_claim_has_a_say(tenant: Tenant) -> None:
    """ipam-extensions writes the reference. What the claim has is asked for by an ordinary pod; a VM was pinned before."""
    await tenant.nad("kept-net", '{"type":"virtnet-cni","subnet":"blue","allowPersistentIPs":true}')
    element: dict[str, Any] = {"name": "kept-net", "ipam-claim-reference": "data"}
    with pytest.raises(Rejected, match=r"IPAMClaim .*/data, which is to be used on .*/kept-net, does not exist"):
        await tenant.pod(pod(networks=[element]))
    for name in ("..", "../pods/x", "data/status"):
        with pytest.raises(Rejected, match="cannot be the name of an IPAMClaim"):
            await tenant.pod(pod(networks=[{**element, "ipam-claim-reference": name}]))
    body = {"apiVersion": "k8s.cni.cncf.io/v1alpha1", "kind": "IPAMClaim", "metadata": {"name": "data"}}
    claim = {**body, "spec": {"network": "kept-net", "interface": "net1"}}
    await tenant.cluster.create(IPAM_CLAIMS, claim, tenant.namespace)
    fresh = attachments(await tenant.pod(pod("fresh", [element])))["net1"]
    assert fresh["ipamClaim"] == "data"
    status = {"status": {"ips": ["10.0.0.88/24"]}}
    await tenant.cluster.patch(IPAM_CLAIMS, "data", status, tenant.namespace, subresource="status")
    assert attachments(await tenant.pod(pod("again", [element])))["net1"]["addresses"] == ["10.0.0.88/24"]

    made = await tenant.create(vm(networks=(("blue", "kept-net"),)))
    virt_launcher = launcher()
    virt_launcher["metadata"]["annotations"][NETWORKS] = json.dumps([{**element, "interface": BLUE}])
    found = attachments(await tenant.pod(virt_launcher))[BLUE]
    assert (found["ipamClaim"], found["addresses"]) == ("data", [f"{pinned(made)['blue'][0]}/24"])


async def test_a_claim_is_nothing_where_its_nad_does_not_ask_for_it(tenant: Tenant) -> None:
    element = {"name": "blue-net", "ipam-claim-reference": "of-nobody"}
    found = attachments(await tenant.pod(pod(networks=[element])))["net1"]
    assert "ipamClaim" not in found


async def test_a_pod_never_takes_over_what_a_vm_of_its_name_holds(tenant: Tenant) -> None:
    reservations = [{"address": "10.1.0.5", "vm": "db"}]
    await tenant.subnet("red", "10.1.0.0/24", reservations=reservations)
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    made = await tenant.create(vm(networks=(("red", "red-net"),)))
    (found,) = attachments(await tenant.pod(pod("db", [{"name": "red-net", "interface": "red"}]))).values()
    assert found["addresses"] != [f"{pinned(made)['red'][0]}/24"]
    assert found["mac"] != macs(made)["red"]
    assert len(await tenant.leases()) == 4


async def test_a_dry_run_claims_nothing(tenant: Tenant) -> None:
    assert attachments(await tenant.pod(pod(), dry_run=True))
    assert await tenant.leases() == {}


async def test_a_pod_that_brings_its_own_is_not_believed(tenant: Tenant) -> None:
    forged = {"net1": {"port": "demo/db.blue", "network": "blue", "nad": "demo/blue-net", "mac": "02:00:00:00:00:01"}}
    brought = {"annotations": {ATTACHMENTS: json.dumps(forged)}, "labels": {ATTACHED_LABEL: "true"}}
    assert unmarked(await tenant.pod(pod("bare", networks="", **brought)))
    assert unmarked(await tenant.pod(pod("foreign", networks="foreign", **brought)))
    assert attachments(await tenant.pod(pod("ours", **brought)))["net1"]["mac"] != "02:00:00:00:00:01"


@pytest.mark.parametrize("subresource", [pytest.param("", id="pod"), pytest.param("status", id="status")])
async def test_nobody_alters_it_later(tenant: Tenant, subresource: str) -> None:
    made = await tenant.pod(pod())
    before = attachments(made)
    for patch in (
        {"annotations": {ATTACHMENTS: "{}"}},
        {"annotations": {ATTACHMENTS: None}},
        {"labels": {ATTACHED_LABEL: None}},
        {"labels": {ATTACHED_LABEL: "false"}, "annotations": {"x": "y"}},
    ):
        altered = await tenant.cluster.patch(
            PODS, "web", {"metadata": patch}, tenant.namespace, subresource=subresource
        )
        assert attachments(altered) == before
    plain = await tenant.pod(pod("plain", networks=""))
    forged = {"metadata": {"annotations": {ATTACHMENTS: made["metadata"]["annotations"][ATTACHMENTS]}}}
    ns = tenant.namespace
    altered = await tenant.cluster.patch(PODS, plain["metadata"]["name"], forged, ns, subresource=subresource)
    assert unmarked(altered)
