"""What virtnet reads of KubeVirt's objects: a VirtualMachine's manifest, and whose pod a launcher is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from virtnet.api.fields import Fields
from virtnet.api.meta import annotations_of, controller_of, is_deleting, labels_of
from virtnet.api.multus import POD_INTERFACE, qualified
from virtnet.api.names import PINNED, pod_interface
from virtnet.api.nic_kinds import SRIOV, VHOSTUSER, VHOSTUSER_BINDING
from virtnet.api.records import PinnedRecord
from virtnet.api.vm_requests import (
    NOTHING,
    RequestAnnotations,
    VmRequests,
    newly_requested,
    requests_of,
    with_new_requests,
)

Body = Mapping[str, Any]

MIGRATION_JOB_UID = "kubevirt.io/migrationJobUID"
"""Label of a migration's target pod. It stays on it for good: on a pod that is created it means "target"."""


MOST_INTERFACES = 256
"""Of a VM, and so of its networks: KubeVirt's own limit, which its schema holds a manifest to only after admission."""

LEFT_OUT = "default"
"""The network that KubeVirt adds where a VM names none."""

_METHODS = ("bridge", "masquerade", "sriov", "passtBinding", "slirp", "macvtap", "passt")
_TAKEN_FOR_GRANTED = {"sriov": SRIOV, VHOSTUSER_BINDING: VHOSTUSER}
"""Binding -> NIC kind."""


@dataclass(frozen=True)
class VmNic:
    """One NIC on a Multus network, or on the pod network."""

    network: str
    nad: str
    """``namespace/name``; empty for the cluster's pod network."""
    mac: str
    """As the manifest has it; empty where it has none."""
    default: bool = False
    """Whether it takes the place of the pod network."""
    translated: bool = False
    """Whether the pod itself has the addresses, and KubeVirt translates them for the guest (masquerade, passt)."""
    binding: str = ""
    """How its interface is bound, in the manifest's words, or the plugin's name; empty where that is left out."""
    model: str = ""
    """The device that the guest sees; empty where that is left out."""

    @property
    def interface(self) -> str:
        """Its interface in the launcher pod."""
        return POD_INTERFACE if self.default else pod_interface(self.network)

    @property
    def bound_as(self) -> str:
        """The NIC kind that its binding takes for granted; empty for a binding to an interface in the pod."""
        return _TAKEN_FOR_GRANTED.get(self.binding, "")

    def requests_no_more_than(self, stored: "VmNic | None") -> bool:
        """Whether it is as it is stored, or leaves to virtnet what that has written: its MAC, its binding plugin."""
        if stored is None:
            return False
        left = not self.binding and stored.binding == VHOSTUSER_BINDING
        binding = stored.binding if left else self.binding
        return replace(self, mac=self.mac or stored.mac, binding=binding) == stored


@dataclass(frozen=True)
class VmManifest:
    """A VirtualMachine's manifest, or that of a VirtualMachineInstance as the VM that would have made it."""

    namespace: str
    name: str
    deleting: bool
    pinned: str | None
    """The annotation ``virtnet.dev/pinned``."""
    networks: tuple[str, ...]
    """The names in ``spec.networks``."""
    interfaces: tuple[str, ...]
    """The names of the interfaces, in their order."""
    attached: frozenset[str]
    """Those of them that are not to be unplugged (``state: absent``)."""
    left_to_kubevirt: bool
    """Whether it says nothing of networks, so that KubeVirt gives its VMI a NIC on the pod network."""
    has_pod_network: bool
    """Whether it has a NIC on the pod network, or on one in its place."""
    annotations: RequestAnnotations
    declared: tuple[VmNic, ...]
    """The NICs on Multus networks and on the pod network, but for those that are to be unplugged."""
    leaving: tuple[VmNic, ...]
    """Those that are to be unplugged."""
    runs: bool
    """Whether KubeVirt has an instance of it."""

    @classmethod
    def parse(cls, body: Body) -> "VmManifest":
        """Of a VirtualMachine. Raises WrongType for a field of another type than KubeVirt's schema says."""
        template = Fields(body).object("spec").object("template")
        return cls._of(body, annotations_of(body), template.object("metadata"), template.object("spec"))

    @classmethod
    def of_instance(cls, body: Body) -> "VmManifest":
        """Of a VirtualMachineInstance. Raises WrongType."""
        whole = Fields(body)
        return cls._of(body, {}, whole.object("metadata"), whole.object("spec"))

    @classmethod
    def _of(cls, body: Body, own: Mapping[str, str], metadata: Fields, spec: Fields) -> "VmManifest":
        devices = spec.object("domain").object("devices")
        interfaces = tuple(devices.objects("interfaces", most=MOST_INTERFACES))
        networks = tuple(spec.objects("networks", most=MOST_INTERFACES))
        by_name = {one.text("name"): one for one in interfaces}
        attached = {name: one for name, one in by_name.items() if one.text("state") != "absent"}
        leaving = {name: one for name, one in by_name.items() if name not in attached}
        autoattach = devices.flag("autoattachPodInterface", default=True)
        replaces_pod_network = [one.object("multus").flag("default") or "pod" in one for one in networks]
        identity = body["metadata"]
        namespace = identity.get("namespace") or ""
        return cls(
            namespace=namespace,
            name=identity.get("name") or "",
            deleting=is_deleting(body),
            pinned=own.get(PINNED),
            networks=tuple(one.text("name") for one in networks),
            interfaces=tuple(one.text("name") for one in interfaces),
            attached=frozenset(attached),
            left_to_kubevirt=autoattach and not (networks or interfaces),
            has_pod_network=any(replaces_pod_network),
            annotations=RequestAnnotations.of(own, metadata.texts("annotations")),
            declared=tuple(_nics(networks, attached, namespace)),
            leaving=tuple(_nics(networks, leaving, namespace)),
            runs=(body.get("status") or {}).get("created") is True,
        )

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    @cached_property
    def record(self) -> PinnedRecord | None:
        """The pinned record; one that cannot be read was not written by virtnet, and says nothing."""
        try:
            return PinnedRecord.read(self.pinned)
        except ValidationError:
            return None

    def nics(self, pod_network: str = "") -> tuple[VmNic, ...]:
        """The NICs on Multus networks, but for those that are to be unplugged or are so already.

        ``pod_network``: the NAD of the cluster's pod network, where that is virtnet's, too. A network without an
        interface is none; KubeVirt refuses it anyway.
        """
        if pod_network and self.left_to_kubevirt:
            return (VmNic(LEFT_OUT, pod_network, "", default=True, binding="KubeVirt's default"),)
        placed = (nic if nic.nad else replace(nic, nad=pod_network) for nic in self.declared)
        return tuple(nic for nic in placed if nic.nad)

    def requests(self, stored: "VmManifest | None" = None) -> VmRequests:
        """What its annotations ask for, besides those that it is stored with. Raises InvalidRequest."""
        return requests_of(self.annotations, stored.annotations if stored else NOTHING, self.networks)

    def unchanged_nics(self, stored: "VmManifest | None") -> frozenset[str]:
        """The networks of the NICs for which it asks nothing that it did not ask when it was stored."""
        if stored is None:
            return frozenset()
        before = {nic.network: nic for nic in stored.declared}
        same = {nic.network for nic in self.declared if nic.requests_no_more_than(before.get(nic.network))}
        if self.left_to_kubevirt and stored.left_to_kubevirt:
            same.add(LEFT_OUT)
        return frozenset(same) - with_new_requests(self.annotations, stored.annotations)

    def newly_requested(self, stored: "VmManifest | None" = None) -> dict[str, str]:
        """NIC -> the annotation of virtnet's by which something is asked for it now. Raises InvalidRequest."""
        return newly_requested(self.annotations, stored.annotations if stored else NOTHING, self.attached)


def _nics(networks: tuple[Fields, ...], attached: Mapping[str, Fields], namespace: str) -> list[VmNic]:
    found = []
    for network in networks:
        name, multus = network.text("name"), network.object("multus")
        nad = multus.text("networkName")
        interface = attached.get(name)
        if interface is None or not (nad or "pod" in network):
            continue
        found.append(
            VmNic(
                network=name,
                nad="" if "pod" in network else qualified(nad, namespace),
                mac=interface.text("macAddress"),
                default="pod" in network or multus.flag("default"),
                translated="masquerade" in interface or "passtBinding" in interface,
                binding=_binding(interface),
                model=interface.text("model"),
            )
        )
    return found


def _binding(interface: Fields) -> str:
    method = next((method for method in _METHODS if method in interface), "")
    return interface.object("binding").text("name") or method


INTERFACES = ("spec", "template", "spec", "domain", "devices", "interfaces")
"""Where a VM's manifest has them."""


def interfaces_of(vm: Body) -> list[Mapping[str, Any]]:
    """The interfaces of a VM whose manifest could be parsed."""
    found: Any = vm
    for step in INTERFACES:
        found = found[step]
    return list(found)


def migration_of(pod: Body) -> str:
    """The UID of the migration that a launcher pod was made for; empty for any other pod."""
    return labels_of(pod).get(MIGRATION_JOB_UID, "")


def owning_instance(pod: Body) -> str:
    """The name of the VirtualMachineInstance that a pod runs; empty for any other pod."""
    return controller_of(pod, "kubevirt.io", "VirtualMachineInstance")
