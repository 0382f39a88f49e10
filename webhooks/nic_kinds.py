"""Of which kind a NIC is to be, whether that is served, and on which networks. Pure."""

from collections.abc import Mapping
from typing import Any

from virtnet.addressing.requests import Refused
from virtnet.api.kubevirt import VmNic
from virtnet.api.multus import RESOURCE_NAME, NadNetwork
from virtnet.api.names import NIC
from virtnet.api.nic_kinds import DEVICE_NICS, EXTERNAL_NICS, SERVED_NICS, SRIOV, VETH, VHOSTUSER, VHOSTUSER_BINDING
from virtnet.api.records import PinnedNic
from virtnet.api.subnet import SubnetSpec
from virtnet.api.vhostuser import socket_directory


def served(kind: str, where: str) -> str:
    """The kind. Raises Refused, with ``where`` it is asked for, unless this version attaches such NICs."""
    if kind not in SERVED_NICS:
        kinds = ", ".join(SERVED_NICS)
        raise Refused(f"{where}: NIC kind {kind} is not served by this version of virtnet, which serves {kinds}")
    return kind


def kind_of(nic: VmNic, *, requested: str, nad: str, before: PinnedNic | None) -> str:
    """The kind of a VM's NIC: as its annotation asks, else its NAD, else as its binding takes for granted.

    Raises Refused.
    ``before``: what the NIC held. A kind that only a newer version knows is that one's to change.
    """
    if before is not None:
        served(before.nic, f"NIC {nic.network}, as it was pinned")
    kind, source = next(
        (kind, source)
        for kind, source in (
            (requested, f"annotation {NIC}"),
            (nad, f"NetworkAttachmentDefinition {nic.nad}"),
            (nic.bound_as or VETH, "its interface's binding"),
        )
        if kind
    )
    if nic.bound_as and (kind == VETH or nic.bound_as == VHOSTUSER != kind):
        raise Refused(
            f"NIC {nic.network}: {source} says {kind}, and its interface is bound as {nic.bound_as}; change one of them"
        )
    served(kind, f"NIC {nic.network}, by {source}")
    if kind in DEVICE_NICS and nic.bound_as != SRIOV:
        raise Refused(
            f"NIC {nic.network}: {source} says {kind}, and a guest gets a virtual function by the binding sriov alone; "
            "write sriov: {} in the place of its interface's binding"
        )
    if kind == VHOSTUSER:
        _check_vhost_user(nic, source)
    return kind


def with_device(kind: str, nad: NadNetwork, where: str) -> str:
    """The kind. Raises Refused, with ``where`` it is asked for, if its NICs have devices and the NAD has none."""
    if kind in DEVICE_NICS and not nad.resource:
        raise Refused(
            f"{where}: a NIC of kind {kind} has a device of its node; name the device plugin's resource in the "
            f"NetworkAttachmentDefinition's annotation {RESOURCE_NAME}"
        )
    return kind


def reaching(kind: str, spec: SubnetSpec, where: str) -> str:
    """The kind. Raises Refused, with ``where`` it is asked for, if no NIC of it reaches the Subnet."""
    if kind in EXTERNAL_NICS and not spec.underlay:
        raise Refused(
            f"{where}: a NIC of kind {kind} is on a physical network, and its Subnet is an overlay; choose a "
            f"ClusterSubnet with a providerNetwork, or the kind {VETH}"
        )
    return kind


def _check_vhost_user(nic: VmNic, source: str) -> None:
    if nic.binding not in ("", VHOSTUSER_BINDING):
        raise Refused(
            f"NIC {nic.network}: {source} says {VHOSTUSER}, and its interface is bound by {nic.binding}; write the "
            f"interface without that binding, and it is bound by {VHOSTUSER_BINDING}"
        )
    if nic.model not in ("", "virtio"):
        raise Refused(
            f"NIC {nic.network}: {source} says {VHOSTUSER}, and its interface has model {nic.model}; vhost-user NICs "
            "are virtio: remove the model"
        )


def require_binding(nic: VmNic, kind: str) -> None:
    """Of a VMI without a VM, whose interfaces are no longer admission's to bind. Raises Refused."""
    if kind == VHOSTUSER and not nic.binding:
        raise Refused(
            f"NIC {nic.network}: it is to be {kind}, and its interface is bound by nothing; write "
            f"binding: {{name: {VHOSTUSER_BINDING}}} there"
        )


def socket_directory_of(kind: str, pod: Mapping[str, Any], where: str) -> str:
    """Where an ordinary pod has the socket of such a NIC; empty for a NIC that has none. Raises Refused."""
    if kind != VHOSTUSER:
        return ""
    try:
        return socket_directory(pod)
    except ValueError as error:
        raise Refused(f"{where}: {error}") from error
