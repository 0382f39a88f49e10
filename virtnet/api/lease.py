"""AddressLease: the proof that one address of one Subnet belongs to one Port."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from virtnet.api.addresses import exploded
from virtnet.api.grammar import LeasedAddress, NamespaceName, NetworkName, ObjectName
from virtnet.api.meta import Crd, PrinterColumn, Resource, Spec
from virtnet.api.port import Owner
from virtnet.api.references import SubnetRef


def owner_title(kind: str, namespace: str, name: str) -> str:
    """What people call a VM or pod."""
    return f"{'VM' if kind == 'VirtualMachine' else kind} {namespace}/{name}"


class Holder(Spec):
    """Who holds the address."""

    namespace: NamespaceName = Field(description="The Port's namespace.")
    port: ObjectName = Field(description="The Port's name.")
    owner: Owner = Field(description="The VM or pod behind the Port, for people.")
    network: NetworkName = Field(description="The NIC's network name, for people.")

    @property
    def key(self) -> str:
        """The Port's key, ``namespace/name``."""
        return f"{self.namespace}/{self.port}"

    @property
    def owner_title(self) -> str:
        """What people call the VM or pod."""
        return owner_title(self.owner.kind, self.namespace, self.owner.name)

    def __str__(self) -> str:
        return f"{self.owner_title}, NIC {self.network}"


class AddressLeaseSpec(Spec):
    """One address and its holder. Immutable: an address changes hands by another object."""

    address: LeasedAddress = Field(description="The IP address, or the MAC in lower case with colons.")
    subnet: SubnetRef = Field(description="The Subnet that the address is of.")
    holder: Holder = Field(description="Who holds it.")


class AddressLeaseStatus(Spec):
    """Whether the holder exists."""

    phase: Literal["Reserved", "Bound"] = Field(
        default="Reserved", description="Reserved at admission; Bound once the VM exists. Reserved leases expire."
    )
    owner_uid: str = Field(default="", description="UID of the VM or pod that it is bound to.")
    bound_at: datetime | None = Field(default=None, description="When it was bound.")
    claim: str = Field(default="", description="The last claim at admission whose VM or pod has come.")


class AddressLease(Resource):
    """One leased address. Its name is the address, so the API server refuses a second holder."""

    crd: ClassVar[Crd] = Crd(
        plural="addressleases",
        short_names=("al",),
        namespaced=False,
        columns=(
            PrinterColumn("Address", ".spec.address"),
            PrinterColumn("Subnet", ".spec.subnet.name"),
            PrinterColumn("Namespace", ".spec.holder.namespace"),
            PrinterColumn("Owner", ".spec.holder.owner.name"),
            PrinterColumn("Network", ".spec.holder.network"),
            PrinterColumn("Phase", ".status.phase"),
            PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        ),
        rules=(("self.spec == oldSelf.spec", "a lease does not change hands: delete it and create another"),),
    )
    spec: AddressLeaseSpec
    status: AddressLeaseStatus = Field(default_factory=AddressLeaseStatus)


def lease_name(address: str, subnet: SubnetRef) -> str:
    """The name of an address's lease: the address made a DNS name, then the Subnet.

    >>> lease_name("10.0.0.5", SubnetRef(kind="Subnet", namespace="demo", name="blue"))
    '10.0.0.5.blue.demo'
    >>> lease_name("02:00:00:00:00:01", SubnetRef(kind="ClusterSubnet", name="lan"))
    '02-00-00-00-00-01.lan'
    >>> lease_name("fd00::5", SubnetRef(kind="ClusterSubnet", name="lan"))
    'fd00-0000-0000-0000-0000-0000-0000-0005.lan'

    However an IPv6 address is written, it has one name; at full length, because a name ends in no dash.
    """
    return f"{exploded(address).replace(':', '-')}.{subnet.suffix}"
