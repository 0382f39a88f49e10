"""Of which kind a NIC is to be: its annotation, its NAD, its binding; and that no other than the served is admitted."""

import pytest

from virtnet.addressing.requests import Refused
from virtnet.api import ClusterSubnet, SubnetRef
from virtnet.api.kubevirt import VmNic
from virtnet.api.multus import NadNetwork, Selection
from virtnet.api.records import PinnedNic, attachments_annotation, read_attachments
from virtnet.api.subnet import SubnetSpec
from virtnet.api.virtual_function import VirtualFunctionSettings
from webhooks.networks import AdmittedNetwork, Member, attachment
from webhooks.nic_kinds import kind_of, reaching, with_device

SERVES = "is not served by this version of virtnet, which serves veth, sriov, switchdev, vhostuser"
PLUGIN = "virtnet-vhostuser"
BOUND_BY = (
    "vhostuser, and its interface is bound by {}; write the interface without that binding, and it is bound by "
    "virtnet-vhostuser"
)


def before(kind: str) -> PinnedNic:
    return PinnedNic(
        nad="demo/blue-net", subnet=SubnetRef(kind="Subnet", namespace="demo", name="blue"), mac="02:00:00:00:00:01",
        addresses=("10.0.0.5",), nic=kind,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("requested", "nad", "bound", "stored", "found"),
    [
        ("", "", "", None, "veth"),
        ("veth", "", "", None, "veth"),
        ("", "veth", "", "veth", "veth"),
        ("veth", "sriov", "", None, "veth"),
        ("warp", "", "", None, f"NIC blue, by annotation virtnet.dev/nic: NIC kind warp {SERVES}"),
        ("", "vdpa", "", None, f"NIC blue, by NetworkAttachmentDefinition demo/blue-net: NIC kind vdpa {SERVES}"),
        ("", "", "sriov", None, "sriov"),
        ("", "switchdev", "sriov", None, "switchdev"),
        ("", "warp", "sriov", None,
         f"NIC blue, by NetworkAttachmentDefinition demo/blue-net: NIC kind warp {SERVES}"),
        ("veth", "", "sriov", None,
         "NIC blue: annotation virtnet.dev/nic says veth, and its interface is bound as sriov; change one of them"),
        ("vhostuser", "", "", None, "vhostuser"),
        ("", "vhostuser", PLUGIN, "veth", "vhostuser"),
        ("", "", PLUGIN, None, "vhostuser"),
        ("veth", "", PLUGIN, None,
         "NIC blue: annotation virtnet.dev/nic says veth, and its interface is bound as vhostuser; change one of them"),
        ("", "switchdev", PLUGIN, None,
         "NIC blue: NetworkAttachmentDefinition demo/blue-net says switchdev, and its interface is bound as vhostuser; "
         "change one of them"),
        ("vhostuser", "", "sriov", None, f"NIC blue: annotation virtnet.dev/nic says {BOUND_BY.format('sriov')}"),
        ("", "vhostuser", "masquerade", None,
         f"NIC blue: NetworkAttachmentDefinition demo/blue-net says {BOUND_BY.format('masquerade')}"),
        ("veth", "", "", "warp", f"NIC blue, as it was pinned: NIC kind warp {SERVES}"),
    ],
)  # fmt: skip
def test_the_kind_of_a_nic(requested: str, nad: str, bound: str, stored: str | None, found: str) -> None:
    nic = VmNic("blue", "demo/blue-net", "", binding=bound)
    was = before(stored) if stored else None
    if " " not in found:
        assert kind_of(nic, requested=requested, nad=nad, before=was) == found
        return
    with pytest.raises(Refused) as refused:
        kind_of(nic, requested=requested, nad=nad, before=was)
    assert str(refused.value) == found


@pytest.mark.parametrize(
    ("requested", "nad", "bound", "found"),
    [
        ("", "", "sriov", "sriov"),
        ("sriov", "veth", "sriov", "sriov"),
        ("", "sriov", "sriov", "sriov"),
        ("", "sriov", "", "NIC blue: NetworkAttachmentDefinition demo/blue-net says sriov"),
        ("sriov", "", "", "NIC blue: annotation virtnet.dev/nic says sriov"),
        ("switchdev", "sriov", "sriov", "switchdev"),
        ("", "switchdev", "", "NIC blue: NetworkAttachmentDefinition demo/blue-net says switchdev"),
        ("", "veth", "sriov", "NIC blue: NetworkAttachmentDefinition demo/blue-net says veth"),
    ],
)
def test_a_virtual_function_is_bound_as_one(requested: str, nad: str, bound: str, found: str) -> None:
    nic = VmNic("blue", "demo/blue-net", "", binding=bound)
    if " " not in found:
        assert kind_of(nic, requested=requested, nad=nad, before=None) == found
        return
    with pytest.raises(Refused, match=found):
        kind_of(nic, requested=requested, nad=nad, before=None)


UNDERLAY, OVERLAY = SubnetSpec(provider_network="rack"), SubnetSpec()
PLAIN = NadNetwork(SubnetRef(kind="ClusterSubnet", name="lan"))
WITH_RESOURCE = NadNetwork(SubnetRef(kind="ClusterSubnet", name="lan"), resource="intel.com/vf")


@pytest.mark.parametrize(
    ("kind", "nad", "spec", "problem"),
    [
        ("veth", PLAIN, OVERLAY, ""),
        ("veth", WITH_RESOURCE, UNDERLAY, ""),
        ("sriov", WITH_RESOURCE, UNDERLAY, ""),
        ("sriov", PLAIN, UNDERLAY,
         "here: a NIC of kind sriov has a device of its node; name the device plugin's resource in the "
         "NetworkAttachmentDefinition's annotation k8s.v1.cni.cncf.io/resourceName"),
        ("switchdev", WITH_RESOURCE, UNDERLAY, ""),
        ("switchdev", WITH_RESOURCE, OVERLAY, ""),
        ("switchdev", PLAIN, OVERLAY,
         "here: a NIC of kind switchdev has a device of its node; name the device plugin's resource in the "
         "NetworkAttachmentDefinition's annotation k8s.v1.cni.cncf.io/resourceName"),
        ("sriov", WITH_RESOURCE, OVERLAY,
         "here: a NIC of kind sriov is on a physical network, and its Subnet is an overlay; choose a ClusterSubnet with a "
         "providerNetwork, or the kind veth"),
    ],
)  # fmt: skip
def test_where_a_nic_can_be(kind: str, nad: NadNetwork, spec: SubnetSpec, problem: str) -> None:
    try:
        found = reaching(with_device(kind, nad, "here"), spec, "here")
    except Refused as refused:
        assert str(refused) == problem  # noqa: PT017 - one table
    else:
        assert (found, problem) == (kind, "")


@pytest.mark.parametrize(("kind", "travels"), [("sriov", True), ("switchdev", False), ("veth", False)])
def test_settings_of_virtual_functions_travel_with_their_nics(kind: str, *, travels: bool) -> None:
    spec = {"providerNetwork": "rack", "virtualFunctions": {"trust": False, "vlanQoS": 0}}
    subnet = ClusterSubnet.parse({"metadata": {"name": "lan"}, "spec": spec})
    member = Member(Selection("demo/blue-net", "net1"), AdmittedNetwork(WITH_RESOURCE, subnet, ()))
    nic = before(kind).model_copy(update={"addresses": (), "subnet": subnet.ref})
    made = attachment("demo/p.net1", "net1", nic, member, configure=True)
    again = read_attachments(attachments_annotation({"net1": made}))["net1"]
    assert again.virtual_function == (VirtualFunctionSettings(trust=False, vlan_qos=0) if travels else None)
