"""Who holds an address: what is kept of an AddressLease."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any, Self

from virtnet.api import AddressLease, Owner, SubnetRef
from virtnet.api.lease import owner_title
from virtnet.api.names import CLAIM

OF_ANOTHER_NAMESPACE = "a NIC of another namespace"

_shared_subnet = lru_cache(maxsize=4096)(lambda ref: ref)
"""One reference for all leases of a Subnet."""


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """A tenth of the whole lease, and there are two for every NIC. What many have alike, they share."""

    name: str
    uid: str
    version: str
    """Its resourceVersion."""
    address: str
    subnet: SubnetRef
    port: str
    """Key of the Port that holds it."""
    owner_kind: str
    """Of the VM or pod behind the Port, whose namespace is the Port's."""
    owner_name: str
    network: str
    """The NIC's network name."""
    bound: bool
    """Whether its VM or pod has come; else it is only reserved."""
    owner_uid: str
    """Of the VM or pod that it is bound to."""
    open_claim: str
    """The claim with which admission took it again, for a VM or pod that has not come yet; empty where it has."""

    def is_of(self, port: str, owner: Owner) -> bool:
        """Whether a Port holds it, as the NIC of the same VM or pod."""
        same = self.owner_name == owner.name and (self.owner_kind == "Pod") == (owner.kind == "Pod")
        return same and self.port == port

    @property
    def namespace(self) -> str:
        """The Port's, and its owner's."""
        return self.port.partition("/")[0]

    @property
    def owner(self) -> str:
        """The VM or pod behind the Port, for people."""
        return owner_title(self.owner_kind, self.namespace, self.owner_name)

    @property
    def holder(self) -> str:
        """Whoever holds it, for people."""
        return f"{self.owner}, NIC {self.network}"

    def holder_for(self, namespace: str) -> str:
        """The same for people of a namespace: who there is in others is none of their business."""
        return self.holder if namespace == self.namespace else OF_ANOTHER_NAMESPACE

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Raises pydantic.ValidationError for a body that the CRD's schema would not let in."""
        return cls.of_lease(AddressLease.parse(body))

    @classmethod
    def of_lease(cls, lease: AddressLease) -> Self:
        spec, status = lease.spec, lease.status
        claim = lease.metadata.annotations.get(CLAIM, "")
        return cls(
            lease.name,
            lease.metadata.uid,
            lease.metadata.resource_version,
            spec.address,
            _shared_subnet(spec.subnet),
            intern(spec.holder.key),
            spec.holder.owner.kind,
            intern(spec.holder.owner.name),
            intern(spec.holder.network),
            status.phase == "Bound",
            intern(status.owner_uid),
            "" if claim == status.claim else claim,
        )
