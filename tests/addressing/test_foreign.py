"""What is read of KubeVirt's and Multus' objects, and that no content of theirs breaks the reading."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.api import SubnetRef
from virtnet.api.fields import WrongType
from virtnet.api.kubevirt import VmManifest, VmNic, owning_instance
from virtnet.api.multus import InvalidNetwork, Selection, chosen, network_of_nad, selections
from virtnet.api.names import ADDRESSES
from virtnet.api.vm_requests import InvalidRequest

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["virtnet-cni", "blue"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "subnet", "clusterSubnet", "plugins", "name", "ips", "mac"]), inner)
    ),
    max_leaves=12,
)


def nad(config: str) -> dict[str, Any]:
    return {"metadata": {"name": "net", "namespace": "demo"}, "spec": {"config": config}}


@pytest.mark.parametrize(
    ("config", "subnet"),
    [
        pytest.param({"type": "virtnet-cni", "subnet": "blue"}, SubnetRef(kind="Subnet", namespace="demo", name="blue"), id="Subnet"),
        pytest.param({"type": "virtnet-cni", "clusterSubnet": "lan"}, SubnetRef(kind="ClusterSubnet", name="lan"), id="ClusterSubnet"),
        pytest.param({"plugins": [{"type": "tuning"}, {"type": "virtnet-cni", "subnet": "blue"}]}, SubnetRef(kind="Subnet", namespace="demo", name="blue"), id="list of plugins"),
        pytest.param({"type": "bridge"}, None, id="another plugin"),
        pytest.param({"plugins": None}, None, id="no list of plugins"),
        pytest.param([], None, id="no object"),
    ],
)  # fmt: skip
def test_the_subnet_of_a_nad(config: Any, subnet: SubnetRef | None) -> None:
    found = network_of_nad(nad(json.dumps(config)))
    assert (found and found.subnet) == subnet


@pytest.mark.parametrize("name", ["Blue", "a.b", "..", "../pods", " blue", "blue\n", "b/c", "-blue", "s" * 64, 5])
@pytest.mark.parametrize("key", ["subnet", "clusterSubnet"])
def test_what_cannot_be_a_subnets_name(key: str, name: Any) -> None:
    with pytest.raises(InvalidNetwork, match="cannot be a Subnet's name"):
        network_of_nad(nad(json.dumps({"type": "virtnet-cni", key: name})))


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("10.0.0.5/24", "10.0.0.5"),
        ("10.0.0.5", "10.0.0.5"),
        ("fd00::5/64", "fd00::5"),
        ("10.0.0.5/99", "10.0.0.5/99"),
        ("10.0.0.5/x", "10.0.0.5/x"),
        ("10.0.0.5/", "10.0.0.5/"),
        ("10.0.0.5/24/7", "10.0.0.5/24/7"),
        ("/24", "/24"),
    ],
)
def test_a_prefix_length_is_taken_off_only_where_it_is_one(text: str, bare: str) -> None:
    assert Selection("demo/blue-net", "net1", addresses=(text,)).bare_addresses == (bare,)


@given(anything.map(json.dumps) | st.text() | st.just("[" * 10_000) | st.just('{"virtnet-cni":' * 10_000))
def test_no_nad_breaks_the_reading(config: str) -> None:
    with suppress(InvalidNetwork):
        network_of_nad(nad(config))


@given(anything.map(json.dumps) | st.text())
def test_no_annotation_breaks_the_reading(text: str) -> None:
    with suppress(InvalidNetwork):
        selections(text, "demo")
    body = {"metadata": {"annotations": {"virtnet.dev/addresses": text}}, "spec": {"template": {"spec": {}}}}
    with suppress(InvalidRequest):
        VmManifest.parse(body).requests()


def test_the_networks_of_a_launcher_pod() -> None:
    # As virt-controller writes it for two NICs on one NetworkAttachmentDefinition.
    text = (
        '[{"name":"blue-net","namespace":"demo","mac":"02:00:00:00:00:01","interface":"pod16477688c0e"},'
        '{"name":"blue-net","namespace":"demo","interface":"podae7fae62674"}]'
    )
    assert selections(text, "demo") == (
        Selection("demo/blue-net", "pod16477688c0e", "02:00:00:00:00:01"),
        Selection("demo/blue-net", "podae7fae62674"),
    )


def test_the_default_network_is_eth0() -> None:
    annotations = {"v1.multus-cni.io/default-network": "lan", "k8s.v1.cni.cncf.io/networks": "blue-net"}
    assert chosen({"metadata": {"namespace": "demo", "annotations": annotations}}) == (
        Selection("demo/lan", "eth0", default_route=True),
        Selection("demo/blue-net", "net1"),
    )


def test_the_default_route_is_where_the_pod_wants_it() -> None:
    networks = '[{"name":"blue-net","default-route":["10.0.0.1"]},{"name":"red-net"}]'
    annotations = {"v1.multus-cni.io/default-network": "lan", "k8s.v1.cni.cncf.io/networks": networks}
    found = chosen({"metadata": {"namespace": "demo", "annotations": annotations}})
    assert [one.default_route for one in found] == [False, True, False]


@pytest.mark.parametrize(
    ("annotations", "spec", "expected"),
    [
        pytest.param({}, {}, ["infra/pods"], id="the cluster's"),
        pytest.param({"v1.multus-cni.io/default-network": "lan"}, {}, ["demo/lan"], id="one that the pod names"),
        pytest.param({}, {"hostNetwork": True}, [], id="none on the node's own network"),
    ],
)
def test_the_pod_network_may_be_virtnets(annotations: dict[str, str], spec: Any, expected: list[str]) -> None:
    pod = {"metadata": {"namespace": "demo", "annotations": annotations}, "spec": spec}
    assert [one.nad for one in chosen(pod, "infra/pods")] == expected


def test_the_nics_of_a_vm() -> None:
    spec = {
        "domain": {
            "devices": {"interfaces": [{"name": "default"}, {"name": "lan"}, {"name": "blue", "macAddress": "m"}]}
        },
        "networks": [
            {"name": "default", "pod": {}},
            {"name": "blue", "multus": {"networkName": "blue-net"}},
            {"name": "lan", "multus": {"networkName": "infra/lan", "default": True}},
            {"name": "loose", "multus": {"networkName": "blue-net"}},
        ],
    }
    body = {"metadata": {"namespace": "demo"}, "spec": {"template": {"spec": spec}}}
    found = VmManifest.parse(body).nics()
    assert found == (VmNic("blue", "demo/blue-net", "m"), VmNic("lan", "infra/lan", "", default=True))
    assert [nic.interface for nic in found] == ["pod16477688c0e", "eth0"]
    assert VmManifest.of_instance({"metadata": {"namespace": "demo"}, "spec": spec}).nics() == found
    assert VmManifest.parse(body).nics("infra/pods")[0] == VmNic("default", "infra/pods", "", default=True)


@pytest.mark.parametrize(("binding", "translated"), [("bridge", False), ("masquerade", True), ("passtBinding", True)])
def test_a_translated_nic_leaves_its_addresses_to_the_pod(binding: str, *, translated: bool) -> None:
    devices = {"interfaces": [{"name": "default", binding: {}}]}
    spec = {"domain": {"devices": devices}, "networks": [{"name": "default", "pod": {}}]}
    body = {"metadata": {"namespace": "demo"}, "spec": {"template": {"spec": spec}}}
    (nic,) = VmManifest.parse(body).nics("infra/pods")
    assert nic.translated is translated


@pytest.mark.parametrize(
    ("owner", "instance"),
    [
        pytest.param({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "controller": True}, "db", id="VMI"),
        pytest.param({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance"}, "", id="no controller"),
        pytest.param({"apiVersion": "x.dev/v1", "kind": "VirtualMachineInstance", "controller": True}, "", id="another group"),
        pytest.param({"apiVersion": "v1", "kind": "Pod", "controller": True}, "", id="another kind"),
    ],
)  # fmt: skip
def test_whose_pod_it_is(owner: dict[str, Any], instance: str) -> None:
    assert owning_instance({"metadata": {"ownerReferences": [{**owner, "name": "db"}]}}) == instance


def whole_vm() -> dict[str, Any]:
    """Every field that is read of a VM, and of a type that its schema allows."""
    interface = {
        "name": "blue", "macAddress": "02:00:00:00:00:01", "state": "up", "binding": {"name": "l2bridge"},
    }  # fmt: skip
    devices = {"autoattachPodInterface": True, "interfaces": [interface]}
    network = {"name": "blue", "multus": {"networkName": "blue-net", "default": False}}
    template = {"metadata": {"annotations": {ADDRESSES: '{"blue": ["10.0.0.5"]}'}}}
    spec = {"domain": {"devices": devices}, "networks": [network]}
    return {"metadata": {"namespace": "demo", "name": "db"}, "spec": {"template": {**template, "spec": spec}}}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything below ``spec``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def written(path: tuple[Any, ...]) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)[1:]


@pytest.mark.parametrize("path", [pytest.param(path, id=written(path)) for path in places(whole_vm()["spec"])])
def test_a_field_of_a_wrong_type_is_named(path: tuple[Any, ...]) -> None:
    """Each field of each type: it is taken where that is its own, and else refused by its whole name."""
    for value in (True, 100, 1.5, "y", ["y"], {"y": "z"}):
        body = whole_vm()
        place = body["spec"]
        for key in path[:-1]:
            place = place[key]
        own, place[path[-1]] = place[path[-1]], value
        if type(value) is type(own):
            with suppress(WrongType):  # of what is in it
                VmManifest.parse(body)
        else:
            with pytest.raises(WrongType, match=f"^{re.escape(written(('spec', *path)))} must be "):
                VmManifest.parse(body)


def test_what_yaml_makes_of_a_bare_word() -> None:
    body = whole_vm()
    body["spec"]["template"]["spec"]["networks"][0]["name"] = True
    with pytest.raises(WrongType) as error:
        VmManifest.parse(body)
    assert str(error.value) == "spec.template.spec.networks[0].name must be a string and is true; put it into quotes"
