"""What follows from looking at an object, beside its rows: carried out after the commit."""

from dataclasses import dataclass

from virtnet.engine.keys import ObjectKey


@dataclass(frozen=True)
class Evict:
    """Take chassis off a port's binding that OVN leaves there."""

    port: str
    """The Port's key, ``namespace/name``."""
    chassis: frozenset[str]


@dataclass(frozen=True)
class RemoveChassis:
    """Remove a chassis that no node is any more."""

    chassis: str
    address: str
    """One that it must still have."""
    once: bool = False
    """Whether it is left alone where it is back: it has an ovn-controller then, somewhere."""


@dataclass(frozen=True)
class HandoffWait:
    """What a handoff waits for now; an empty text where it waits for nothing, or there is none."""

    port: ObjectKey
    text: str = ""
    patient: bool = False
