"""Routes that are asked for one NIC: by its VM or pod, and by its NetworkAttachmentDefinition."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.pinning.conftest import Tenant
from tests.pinning.inputs import vm
from tests.pinning.pods import BLUE, attachments, launcher, pod
from virtnet.api.multus import NETWORKS
from virtnet.api.names import PINNED, ROUTES, pod_interface
from virtnet.kube.kinds import PODS, VMIS, VMS

FAR = {"destination": "192.168.0.0/16", "gateway": "10.0.0.9"}
RED = pod_interface("red")
TWO = (("blue", "blue-net"), ("red", "red-net"))


def nics(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = json.loads(body["metadata"]["annotations"][PINNED])["nics"]
    return found


def with_default(body: dict[str, Any]) -> list[str]:
    return [name for name, nic in nics(body).items() if nic.get("defaultRoute", True)]


def asking(**routes: Iterable[dict[str, str]]) -> dict[str, str]:
    return {ROUTES: json.dumps(routes)}


@pytest.fixture
async def both(tenant: Tenant) -> Tenant:
    """With a second network, red."""
    shared = [{"destination": "172.16.0.0/12", "gateway": "10.1.0.7"}]
    await tenant.subnet("red", "10.1.0.0/24 fd01::/64", routes=shared, ranges=["10.1.0.16-10.1.0.99"])
    routes = [{"dst": "10.200.0.0/16", "gw": "10.1.0.8"}, {"dst": "10.201.0.0/16"}]
    await tenant.nad("red-net", json.dumps({"type": "virtnet-cni", "subnet": "red", "routes": routes}))
    return tenant


async def test_a_nic_gets_the_routes_of_its_manifest_and_of_its_nad(both: Tenant) -> None:
    named = [{"destination": "10.201.0.0/16", "gateway": "10.1.0.6"}, {"destination": "10.9.0.0/16"}]
    made = await both.create(vm(networks=TWO, annotations=asking(blue=[FAR], red=named)))
    by_nad = {"destination": "10.200.0.0/16", "gateway": "10.1.0.8"}
    assert nics(made)["blue"]["routes"] == [FAR]
    expected = [named[0], {"destination": "10.9.0.0/16", "gateway": "10.1.0.1"}, by_nad]
    assert nics(made)["red"]["routes"] == expected

    body = launcher(BLUE)
    networks = [{"name": "blue-net", "interface": BLUE}, {"name": "red-net", "interface": RED}]
    body["metadata"]["annotations"][NETWORKS] = json.dumps(networks)
    found = attachments(await both.pod(body))
    assert found[RED]["ownRoutes"] == expected
    assert found[RED]["routes"] == [*expected, {"destination": "172.16.0.0/12", "gateway": "10.1.0.7"}]
    assert found[BLUE]["gateways"] == ["10.0.0.1"]
    assert "gateways" not in found[RED]

    patch = {"metadata": {"annotations": {ROUTES: None}}}
    changed = await both.cluster.patch(VMS, "db", patch, both.namespace)
    assert "routes" not in nics(changed)["blue"], "a change to the annotation is heard"


@pytest.mark.parametrize(
    ("networks", "routes", "default"),
    [
        pytest.param(TWO, {}, ["blue"], id="the first"),
        pytest.param(TWO[::-1], {}, ["red"], id="in the order of spec.networks"),
        pytest.param(TWO, {"red": [{"destination": "0.0.0.0/0"}]}, ["red"], id="the one that asks for it"),
        pytest.param(TWO, {"blue": [FAR]}, ["blue"], id="other routes change nothing"),
        pytest.param(TWO, {"red": [{"destination": "0.0.0.0/0", "gateway": "10.1.0.9"}]}, [], id="another machine"),
    ],
)
async def test_one_nic_has_the_default_route(
    both: Tenant, networks: tuple[tuple[str, str], ...], routes: dict[str, Any], default: list[str]
) -> None:
    made = await both.create(vm(networks=networks, annotations=asking(**routes)))
    assert with_default(made) == default


async def test_the_pod_network_has_the_default_route_unless_a_nic_asks_for_it(both: Tenant) -> None:
    def with_pod_network(name: str, **routes: Any) -> dict[str, Any]:
        body = vm(name, annotations=asking(**routes))
        spec = body["spec"]["template"]["spec"]
        spec["networks"].append({"name": "default", "pod": {}})
        spec["domain"]["devices"]["interfaces"].append({"name": "default", "masquerade": {}})
        return body

    assert with_default(await both.create(with_pod_network("db"))) == []
    assert with_default(await both.create(with_pod_network("web", blue=[{"destination": "0.0.0.0/0"}]))) == ["blue"]


async def test_the_network_in_the_place_of_the_pod_network_has_the_default_route(both: Tenant) -> None:
    body = vm(networks=TWO)
    body["spec"]["template"]["spec"]["networks"][1]["multus"]["default"] = True
    assert with_default(await both.create(body)) == ["red"]


async def test_a_nic_that_is_to_be_unplugged_has_no_say(both: Tenant) -> None:
    made = await both.create(vm(networks=TWO, annotations=asking(red=[{"destination": "0.0.0.0/0"}])))
    spec = made["spec"]
    spec["template"]["spec"]["domain"]["devices"]["interfaces"][1]["state"] = "absent"
    unplugged = await both.cluster.patch(VMS, "db", {"spec": spec}, both.namespace)
    assert with_default(unplugged) == ["blue"]


async def test_a_vmi_without_a_vm_asks_in_its_own_annotations(both: Tenant) -> None:
    template = vm(networks=TWO)["spec"]["template"]["spec"]
    metadata = {"name": "alone", "annotations": asking(red=[{"destination": "10.9.0.0/16"}])}
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": metadata, "spec": template}
    await both.cluster.create(VMIS, body, both.namespace)
    made = attachments(await both.pod(launcher(RED, name="l", instance="alone", nad="red-net")))[RED]
    assert made["ownRoutes"][0] == {"destination": "10.9.0.0/16", "gateway": "10.1.0.1"}
    assert "gateways" not in made


async def test_a_pod_asks_by_its_interfaces(both: Tenant) -> None:
    routes = asking(net1=[{"destination": "fd20::/48"}, {"destination": "10.201.0.0/16", "gateway": "10.1.0.9"}])
    made = attachments(await both.pod(pod(networks="red-net", annotations=routes)))["net1"]
    assert made["routes"] == [
        {"destination": "fd20::/48", "gateway": "fd01::1"},
        {"destination": "10.201.0.0/16", "gateway": "10.1.0.9"},
        {"destination": "10.200.0.0/16", "gateway": "10.1.0.8"},
        {"destination": "172.16.0.0/12", "gateway": "10.1.0.7"},
    ]


async def test_a_pod_with_routes_gets_a_further_nic(both: Tenant) -> None:
    made = await both.pod(pod(annotations=asking(net1=[FAR])))
    patch = {"metadata": {"annotations": {NETWORKS: "blue-net, red-net"}}}
    found = attachments(await both.cluster.patch(PODS, "web", patch, both.namespace))
    assert found["net1"] == attachments(made)["net1"]
    assert set(found) == {"net1", "net2"}


async def test_the_next_hop_is_told_no_route_by_itself(both: Tenant) -> None:
    """Its kernel would not take it, and the pod would never start."""
    selection = {"name": "red-net", "ips": ["10.1.0.8/24"]}
    made = attachments(await both.pod(pod(networks=[selection])))["net1"]
    assert "10.200.0.0/16" not in [route["destination"] for route in made["routes"]]
