"""One driver per NIC kind, behind one protocol.

A driver is a list of steps, and what the rest of the node is to know of a NIC. The attacher writes the journal before
the first step, does them in order, and undoes them in reverse; each must be able to find what a crash has left of
itself, so doing and undoing twice is harmless.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from virtnet.node.device_info import DeviceInfo
from virtnet.node.journal import Entry
from virtnet.node.request import AttachmentId, CniError
from virtnet.ovn.vswitch import InterfaceSpec


class Step(Protocol):
    """One change, and how it is taken back. Both are idempotent."""

    async def do(self, entry: Entry) -> None:
        """Raises CniError when it cannot be done."""
        ...

    async def undo(self, entry: Entry) -> None: ...


@dataclass(frozen=True)
class ResultInterface:
    """One of the ``interfaces`` of a CNI result."""

    name: str
    mac: str
    sandbox: str = ""
    """The pod's network namespace, as a path; empty for an interface of the host."""
    pci_id: str = ""
    """Address of its PCI device; empty for none."""
    socket: str = ""
    """Where the pod has its vhost-user socket; empty for none."""


class Driver(Protocol):
    """A NIC kind."""

    def device(self, entry: Entry) -> str:
        """The device that the NIC is to have for itself, proved to be its pod's; empty for none."""
        ...

    async def prepare(self, entry: Entry) -> Entry:
        """The entry with what its steps are to restore, read before the first of them. Raises CniError."""
        ...

    def plan(self, entry: Entry) -> tuple[Step, ...]:
        """What makes the NIC exist, in order; the port of the switch comes after it, and is not among it."""
        ...

    def interface(self, entry: Entry) -> InterfaceSpec | None:
        """What Open vSwitch is given; None for a NIC that no switch has."""
        ...

    def hook(self, entry: Entry) -> str | None:
        """The link of the node at which gate and drain hang: all that goes to the guest passes it.

        None where there is none: then OVN's activation strategy, or KubeVirt's word, says that the guest has come.
        """
        ...

    def uplink(self, entry: Entry) -> str | None:
        """The interface of the node behind which the NIC is, if no switch of OVN's has it; empty where that is gone."""
        ...

    async def observe(self, entry: Entry) -> tuple[ResultInterface, ...]:
        """The NIC's interfaces, as a CNI result names them; the last is the one that the addresses are of.

        Raises CniError when the NIC is not there as it should be.
        """
        ...

    async def device_info(self, entry: Entry) -> DeviceInfo | None:
        """What the NIC's device is, once all steps are done; None for a NIC without one.

        Raises CniError when the NIC is not there as it should be.
        """
        ...

    async def alive(self, entry: Entry) -> bool:
        """Whether the NIC is there at all. It is gone once its sandbox is. Raises OSError where nobody can say."""
        ...

    async def marked(self) -> Mapping[AttachmentId, bool]:
        """NICs whose marks are on the node's links, each with whether it is certain that its sandbox is there."""
        ...

    async def remove(self, id_: AttachmentId) -> None:
        """Remove what has the marks of a NIC that is in no journal; nothing to do is fine."""
        ...


class Drivers:
    """The drivers of a node, by NIC kind."""

    def __init__(self, by_kind: Mapping[str, Driver]) -> None:
        self.by_kind = by_kind

    def __iter__(self) -> Iterator[Driver]:
        return iter(self.by_kind.values())

    def of(self, entry: Entry) -> Driver:
        """The driver of a NIC. Raises CniError where this node has none of its kind."""
        kind = entry.attachment.nic
        if kind not in self.by_kind:
            served = ", ".join(self.by_kind)
            raise CniError(
                CniError.NETWORK,
                f"port {entry.attachment.port}: NIC kind {kind} is not served by this node, which serves {served}",
                "do webhook and node daemon have the same version?",
            )
        return self.by_kind[kind]
