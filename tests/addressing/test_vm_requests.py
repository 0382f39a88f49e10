"""What the annotations of a VM ask for its NICs, and the NIC kinds of its manifest and of NADs."""

import json
import re
from typing import Any

import pytest

from virtnet.api.kubevirt import VmManifest
from virtnet.api.multus import InvalidNetwork, network_of_nad
from virtnet.api.names import ADDRESSES, NIC
from virtnet.api.vm_requests import InvalidRequest, VmRequests


def requests(vm: dict[str, Any], stored: dict[str, Any] | None = None) -> VmRequests:
    return VmManifest.parse(vm).requests(VmManifest.parse(stored) if stored else None)


def newly_requested(vm: dict[str, Any], stored: dict[str, Any] | None = None) -> dict[str, str]:
    return VmManifest.parse(vm).newly_requested(VmManifest.parse(stored) if stored else None)


def nad(config: str) -> dict[str, Any]:
    return {"metadata": {"name": "net", "namespace": "demo"}, "spec": {"config": config}}


def test_a_request_outlives_the_network_that_it_was_admitted_for() -> None:
    asking = {"annotations": {"virtnet.dev/addresses": '{"red": ["10.20.0.7"]}'}}
    without: dict[str, Any] = {"metadata": asking, "spec": {"template": {"spec": {"networks": [{"name": "blue"}]}}}}
    both = {"metadata": asking, "spec": {"template": {"spec": {"networks": [{"name": "blue"}, {"name": "red"}]}}}}
    silent = {**both, "metadata": {}}
    assert requests(both).addresses == {"red": ("10.20.0.7",)}
    assert requests(without, both).addresses == requests(without, without).addresses == {}
    for before in (None, silent):
        with pytest.raises(InvalidRequest, match="has no network red; it has blue"):
            requests(without, before)


def test_what_only_virtnet_is_asked_for() -> None:
    """What was admitted once is not asked again: KubeVirt itself changes the VM, and cannot change the annotation."""

    def vm(text: str, **interface: str) -> dict[str, Any]:
        devices = {"interfaces": [{"name": "red", **interface}]}
        template = {"metadata": {"annotations": {"network.kubevirt.io/addresses": '{"blue": ["10.0.0.5"]}'}}}
        spec = {"networks": [{"name": "red"}], "domain": {"devices": devices}}
        return {
            "metadata": {"annotations": {"virtnet.dev/addresses": text}},
            "spec": {"template": {**template, "spec": spec}},
        }

    one, other = vm('{"red": ["10.20.0.7"]}'), vm('{"red": ["10.20.0.8"]}')
    assert newly_requested(one) == newly_requested(one, other) == newly_requested(one, vm("")) == {"red": ADDRESSES}
    assert newly_requested(one, one) == {}
    assert newly_requested(vm('{"red": ["10.20.0.7"]}', state="absent")) == {}


def kinds_vm(requested: Any, **template: str) -> dict[str, Any]:
    interfaces = [
        {"name": "a", "bridge": {}}, {"name": "b", "sriov": {}}, {"name": "c", "binding": {"name": "virtnet-vhostuser"}},
        {"name": "d", "binding": {"name": "passt"}}, {"name": "e", "masquerade": {}},
    ]  # fmt: skip
    networks = [{"name": one["name"], "multus": {"networkName": "blue-net"}} for one in interfaces]
    spec = {"networks": networks, "domain": {"devices": {"interfaces": interfaces}}}
    annotations = {NIC: requested if isinstance(requested, str) else json.dumps(requested)}
    metadata = {"annotations": {key.replace("_", "/"): value for key, value in template.items()}}
    return {
        "metadata": {"namespace": "demo", "annotations": annotations},
        "spec": {"template": {"metadata": metadata, "spec": spec}},
    }


def test_the_kinds_that_bindings_take_for_granted() -> None:
    assert [nic.bound_as for nic in VmManifest.parse(kinds_vm({})).nics()] == ["", "sriov", "vhostuser", "", ""]


def test_the_kinds_that_a_vm_asks_for() -> None:
    assert requests(kinds_vm({"a": "veth", "b": "switchdev", "c": ""})).nics == {"a": "veth", "b": "switchdev"}
    assert requests(kinds_vm("", **{"virtnet.dev_nic": '{"a": "veth"}'})).nics == {"a": "veth"}
    assert newly_requested(kinds_vm({"a": "veth"})) == {"a": NIC}


@pytest.mark.parametrize(
    ("requested", "says"),
    [
        ("veth", 'must be JSON like {"blue": "veth"}'),
        ('["veth"]', 'must be JSON like {"blue": "veth"}'),
        ({"a": ["veth"]}, "a has no NIC kind"),
        ({"a": "../veth"}, "a has no NIC kind"),
        ({"a": "v" * 33}, "a has no NIC kind"),
        ({"z": "veth"}, "the VM has no network z; it has a, b, c, d, e"),
    ],
)
def test_what_is_no_request_for_kinds(requested: Any, says: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(says)):
        requests(kinds_vm(requested))


def test_two_annotations_that_ask_for_different_kinds() -> None:
    with pytest.raises(InvalidRequest, match="keep one of them"):
        requests(kinds_vm({"a": "veth"}, **{"virtnet.dev_nic": '{"a": "sriov"}'}))


@pytest.mark.parametrize("nic", [5, ["veth"], "SR-IOV", "a/b"])
def test_what_is_no_kind_in_a_nad(nic: Any) -> None:
    with pytest.raises(InvalidNetwork, match="nic must be a NIC kind"):
        network_of_nad(nad(json.dumps({"type": "virtnet-cni", "subnet": "blue", "nic": nic})))


def test_the_kind_of_a_nad() -> None:
    found = network_of_nad(nad(json.dumps({"type": "virtnet-cni", "subnet": "blue", "nic": "sriov"})))
    assert found is not None
    assert found.nic == "sriov"
