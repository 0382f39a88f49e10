"""AddressLease: the proof that one address of one Subnet belongs to one Port."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from virtnet.api.addresses import exploded
from virtnet.api.meta import Column, Crd, Resource, Spec
from virtnet.api.port import Owner
from virtnet.api.references import SubnetRef


class Holder(Spec):
    """Who holds the address."""

    namespace: str = Field(max_length=63, description="The Port's namespace.")
    port: str = Field(max_length=253, description="The Port's name.")
    owner: Owner = Field(description="The VM or pod behind the Port, for people.")
    network: str = Field(max_length=253, description="The NIC's network name, for people.")

    @property
    def key(self) -> str:
        """The Port's key, ``namespace/name``."""
        return f"{self.namespace}/{self.port}"

    def __str__(self) -> str:
        kind = "VM" if self.owner.kind == "VirtualMachine" else self.owner.kind
        return f"{kind} {self.namespace}/{self.owner.name}, NIC {self.network}"


class AddressLeaseSpec(Spec):
    """One address and its holder. Immutable: an address changes hands by another object."""

    address: str = Field(max_length=39, description="The IP address, or the MAC in lower case with colons.")
    subnet: SubnetRef = Field(description="The Subnet that the address is of.")
    holder: Holder = Field(description="Who holds it.")


class AddressLeaseStatus(Spec):
    """Whether the holder exists."""

    phase: Literal["Reserved", "Bound"] = Field(
        default="Reserved", description="Reserved at admission; Bound once the VM exists. Reserved leases expire."
    )
    owner_uid: str = Field(default="", description="UID of the VM or pod that it is bound to.")
    bound_at: datetime | None = Field(default=None, description="When it was bound.")


class AddressLease(Resource):
    """One leased address. Its name is the address, so the API server refuses a second holder."""

    crd: ClassVar[Crd] = Crd(
        plural="addressleases",
        short_names=("al",),
        namespaced=False,
        columns=(
            Column("Address", ".spec.address"),
            Column("Subnet", ".spec.subnet.name"),
            Column("Namespace", ".spec.holder.namespace"),
            Column("Owner", ".spec.holder.owner.name"),
            Column("Network", ".spec.holder.network"),
            Column("Phase", ".status.phase"),
            Column("Age", ".metadata.creationTimestamp", "date"),
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
