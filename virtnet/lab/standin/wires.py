"""What QEMU is given for one NIC of its guest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Wire(Protocol):
    """One NIC's way out of QEMU."""

    @property
    def network(self) -> str: ...

    def arguments(self, name: str) -> tuple[str, ...]:
        """What must be on QEMU's command line before the backend."""
        ...

    def backend(self, name: str) -> dict[str, object]:
        """The netdev of this name."""
        ...

    def properties(self) -> dict[str, object]:
        """Of the device that the guest sees."""
        ...


@dataclass(frozen=True)
class TapWire:
    """By a tap of the pod's."""

    network: str
    tap: str
    mac: str
    mtu: int

    def arguments(self, name: str) -> tuple[str, ...]:
        return ()

    def backend(self, name: str) -> dict[str, object]:
        files = {"script": "no", "downscript": "no"}
        return {"type": "tap", "id": name, "ifname": self.tap, "vhost": False, **files}

    def properties(self) -> dict[str, object]:
        return {"mac": self.mac, "host_mtu": self.mtu}


@dataclass(frozen=True)
class VhostUserWire:
    """By a socket that QEMU makes, and a switch that connects to it."""

    network: str
    mac: str
    socket: str
    queues: int
    overrides: Mapping[str, int] = field(default_factory=dict)
    """What the domain has libvirt hand to the device as it is: host_mtu, vectors."""

    def arguments(self, name: str) -> tuple[str, ...]:
        return "-chardev", f"socket,id={name}-socket,path={self.socket},server=on,wait=off"

    def backend(self, name: str) -> dict[str, object]:
        return {"type": "vhost-user", "id": name, "chardev": f"{name}-socket", "queues": self.queues}

    def properties(self) -> dict[str, object]:
        multiqueue = {"mq": True} if self.queues > 1 else {}
        return {"mac": self.mac, **multiqueue, **self.overrides}
