"""The two records that virtnet writes into other people's objects as JSON annotations."""

from typing import Annotated, Self

from pydantic import Field, TypeAdapter, model_validator

from virtnet.api.grammar import (
    HostAddress,
    InterfaceAddress,
    NamespacedName,
    NetworkName,
    NicMac,
    OptionalObjectName,
    OptionalUid,
    ProviderNetworkName,
)
from virtnet.api.guest import MOST_ROUTES, GuestDhcp, Route
from virtnet.api.meta import Spec
from virtnet.api.nic_kinds import VETH, NicKind
from virtnet.api.references import SubnetRef
from virtnet.api.strings import check
from virtnet.api.vhostuser import SocketDirectory
from virtnet.api.virtual_function import VirtualFunctionSettings

MOST_PINNED = 256
"""NICs in one record: as many as KubeVirt takes in a VM."""


class Recorded(Spec):
    """What an annotation says. Whoever owns the object may have written it: every string is held to its type."""

    @model_validator(mode="after")
    def _hold_to_types(self) -> Self:
        check(self)
        return self


class PinnedNic(Recorded):
    """What one NIC holds."""

    network_attachment_definition: NamespacedName = Field(alias="nad")
    subnet: SubnetRef
    mac: NicMac
    addresses: Annotated[tuple[HostAddress, ...], Field(max_length=2)]
    """None where its Subnet pins MACs alone."""
    routes: Annotated[tuple[Route, ...], Field(max_length=MOST_ROUTES)] = ()
    """Routes of this NIC alone, besides those of its Subnet."""
    default_route: bool = True
    """Whether its Subnet's gateway is the VM's."""
    nic: NicKind = VETH
    claim: OptionalUid = ""
    """The last claim at admission on what it, or another of its name, held before; empty where there was none."""


class PinnedRecord(Recorded):
    """The ``virtnet.dev/pinned`` annotation: what a VM's NICs hold, and which VM that is."""

    vm: NamespacedName
    """``namespace/name`` of the VM that this was written for; in any other VM it means nothing."""
    nics: Annotated[dict[NetworkName, PinnedNic], Field(max_length=MOST_PINNED)]
    """By network name of the VM's spec.networks."""

    def annotation(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """The record of an annotation; None where there is none. Raises pydantic.ValidationError for anything else."""
        return cls.model_validate_json(text) if text else None


class Underlay(Recorded):
    """Where a NIC reaches a physical network."""

    provider_network: ProviderNetworkName
    vlan: Annotated[int, Field(ge=0, le=4094)] = 0
    conflict_detection: bool = True


class Attachment(Recorded):
    """One NIC of a pod, as its node attaches it: one value of the ``virtnet.dev/attachments`` annotation."""

    port: NamespacedName
    """``namespace/name`` of the Port; also the logical switch port's name and the interface's iface-id."""
    network: NetworkName
    """The NIC's network name: of the VM's spec.networks, or the interface's name in an ordinary pod."""
    network_attachment_definition: NamespacedName = Field(alias="nad")
    subnet: SubnetRef
    mac: NicMac
    addresses: Annotated[tuple[InterfaceAddress, ...], Field(max_length=2)]
    """With prefix length, as a CNI result has them: ``10.0.0.5/24``, one of each family; none where its Subnet pins
    MACs alone."""

    @property
    def bare_addresses(self) -> tuple[str, ...]:
        """Without the prefix length."""
        return tuple(address.partition("/")[0] for address in self.addresses)

    gateways: tuple[HostAddress, ...] = ()
    """Of the default routes, one of each family; none where another network has them."""
    routes: tuple[Route, ...] = ()
    """All others: of its own, and of its Subnet."""
    own_routes: tuple[Route, ...] = ()
    """Those of them that are this NIC's alone."""
    mtu: Annotated[int, Field(ge=576, le=9000)]
    underlay: Underlay | None = None
    """None in an overlay."""
    virtual_function: VirtualFunctionSettings | None = None
    """What its ClusterSubnet says of VFs, for a NIC that has one; None where it says nothing."""
    nic: NicKind = VETH
    ipam_claim: OptionalObjectName = ""
    """Name of the IPAMClaim, in the pod's namespace, that is told of the addresses; empty for none."""
    configure: bool = False
    """Whether the pod's own interface gets the addresses: an ordinary pod's does; a VM's stays bare for the guest."""
    socket_directory: SocketDirectory = ""
    """Where the application of an ordinary pod makes the socket of a vhost-user NIC."""
    claim: OptionalUid = ""
    """As in the PinnedNic."""
    dhcp: GuestDhcp = GuestDhcp()
    """What the guest of a VMI without a VM is told; for any other its VM says it."""


Attachments = dict[str, Attachment]
"""By the pod's interface: the ``virtnet.dev/attachments`` annotation."""

_ATTACHMENTS = TypeAdapter(Attachments)


def read_attachments(text: str | None) -> Attachments:
    """The attachments of an annotation; none where there is none. Raises pydantic.ValidationError for anything else."""
    return _ATTACHMENTS.validate_json(text) if text else {}


def attachments_annotation(attachments: Attachments) -> str:
    """The annotation that says so."""
    return _ATTACHMENTS.dump_json(attachments, by_alias=True, exclude_defaults=True).decode()
