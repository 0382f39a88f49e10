"""NetworkAttachmentDefinitions: who uses them, and what becomes of NICs whose own is gone, or leads elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Self

from virtnet.api import Port
from virtnet.api.meta import Metadata, object_key
from virtnet.api.multus import InvalidNetwork, NadNetwork, network_of_nad
from virtnet.api.names import IN_USE
from virtnet.engine.collection import Collection
from virtnet.engine.deletion import finalizers_after
from virtnet.engine.graph import Reader
from virtnet.engine.outcome import ConditionState
from virtnet.features.sources import PORTS

NAD_UNUSABLE = "NadUnusable"
"""Condition of a Port and reason of an Event: its VM can neither start nor migrate by its NAD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nad:
    """A NAD: what it leads to, and what the API server has to know to let it go."""

    key: str
    version: str
    deleting: bool = False
    finalizers: tuple[str, ...] = ()
    network: NadNetwork | None
    """None where it is another plugin's, or cannot be understood."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        metadata = Metadata.model_validate(body["metadata"])
        try:
            network = network_of_nad(body)
        except InvalidNetwork:
            network = None
        deleting = metadata.deletion_timestamp is not None
        return cls(
            key=object_key(body),
            version=metadata.resource_version,
            deleting=deleting,
            finalizers=metadata.finalizers,
            network=network,
        )


NADS: Collection[Nad] = Collection("NetworkAttachmentDefinition", relevant=lambda nad: nad.network)

PORTS.index("nad", lambda port: [port.spec.network_attachment_definition])


def finalizers_of(nad: Nad, reader: Reader) -> tuple[str, ...]:
    """The finalizers that a NAD should have: ours, until it is deleted and nobody has a NIC by it.

    By Ports, for what a VM's manifest says anybody can write. Another plugin's gets none; what was ours keeps it while
    in use.
    """
    if (nad.network is None or nad.deleting) and IN_USE not in nad.finalizers:
        return nad.finalizers
    used = bool(reader.by(PORTS, "nad", nad.key))
    return finalizers_after(nad.finalizers, kept=used or (nad.network is not None and not nad.deleting))


def nad_state(port: Port, reader: Reader) -> ConditionState:
    """Whether a Port's pod can be made again by its NAD, here or on a migration's target."""
    name, subnet = port.spec.network_attachment_definition, port.spec.subnet
    nad = reader.get(NADS, NADS.key(name))
    reason, message, can = "Usable", "", f"{port.spec.owner} can neither start nor migrate"
    if nad is None:
        reason = "Missing"
        message = f"NetworkAttachmentDefinition {name} does not exist, so that {can}; make it again, for {subnet}"
    elif nad.network is None or nad.network.subnet != subnet:
        reason = "LeadsElsewhere"
        message = f"NetworkAttachmentDefinition {name} does not name {subnet} any more, so that {can}; name it there"
    return ConditionState(NAD_UNUSABLE, holds=bool(message), reason=reason, message=message, announced=True)


@dataclass(frozen=True, slots=True)
class NicUser:
    """A NIC that was made by a NAD: what admission keeps of a Port."""

    key: str
    nad: str
    subnet: str
    """The Subnet, as its reference prints."""
    title: str
    """For people."""
    mtu: int
    """What it was given when its pod was made; 0 where it has none."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        port = Port.parse(body)
        spec = port.spec
        kind = "VM" if spec.owner.kind == "VirtualMachine" else spec.owner.kind
        return cls(
            port.key,
            intern(spec.network_attachment_definition),
            intern(str(spec.subnet)),
            f"{kind} {port.namespace}/{spec.owner.name}, NIC {spec.network}",
            spec.mtu,
        )


NIC_USERS: Collection[NicUser] = Collection(
    Port.__name__, indexes={"nad": lambda one: [one.nad], "subnet": lambda one: [one.subnet]}
)
