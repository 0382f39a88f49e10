"""The two records that virtnet writes into other people's objects as JSON annotations."""

from ipaddress import ip_address, ip_interface
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from virtnet.api.guest import Route
from virtnet.api.meta import Spec
from virtnet.api.references import SubnetRef


class PinnedNic(Spec):
    """What one NIC holds."""

    network_attachment_definition: str = Field(alias="nad")
    subnet: SubnetRef
    mac: str
    addresses: tuple[str, ...]
    routes: tuple[Route, ...] = ()
    """Routes of this NIC alone, besides those of its Subnet."""
    default_route: bool = True
    """Whether its Subnet's gateway is the VM's."""


class PinnedRecord(Spec):
    """The ``virtnet.dev/pinned`` annotation: what a VM's NICs hold, and which VM that is."""

    vm: str
    """``namespace/name`` of the VM that this was written for; in any other VM it means nothing."""
    nics: dict[str, PinnedNic]
    """By network name of the VM's spec.networks."""

    def annotation(self) -> str:
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """The record of an annotation; None where there is none. Raises pydantic.ValidationError for anything else."""
        return cls.model_validate_json(text) if text else None


def _interface(text: str) -> str:
    ip_interface(text)
    return text


def _address(text: str) -> str:
    ip_address(text)
    return text


class Underlay(Spec):
    """Where a NIC reaches a physical network."""

    provider_network: str
    vlan: Annotated[int, Field(ge=0, le=4094)] = 0
    conflict_detection: bool = True


class Attachment(Spec):
    """One NIC of a pod, as its node attaches it: one value of the ``virtnet.dev/attachments`` annotation."""

    port: str
    """``namespace/name`` of the Port; also the logical switch port's name and the interface's iface-id."""
    network: str
    """The NIC's network name: of the VM's spec.networks, or the interface's name in an ordinary pod."""
    network_attachment_definition: str = Field(alias="nad")
    subnet: SubnetRef
    mac: Annotated[str, Field(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]
    addresses: tuple[Annotated[str, AfterValidator(_interface)], ...]
    """With prefix length, as a CNI result has them: ``10.0.0.5/24``, one of each family."""

    @property
    def bare_addresses(self) -> tuple[str, ...]:
        """Without the prefix length."""
        return tuple(address.partition("/")[0] for address in self.addresses)

    gateways: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    """Of the default routes, one of each family; none where another network has them."""
    routes: tuple[Route, ...] = ()
    """All others: of its own, and of its Subnet."""
    own_routes: tuple[Route, ...] = ()
    """Those of them that are this NIC's alone."""
    mtu: Annotated[int, Field(ge=576, le=9000)]
    underlay: Underlay | None = None
    """None in an overlay."""
    nic: Literal["veth"] = "veth"
    ipam_claim: str = ""
    """Name of the IPAMClaim, in the pod's namespace, that is told of the addresses; empty for none."""
    configure: bool = False
    """Whether the pod's own interface gets the addresses: an ordinary pod's does; a VM's stays bare for the guest."""
