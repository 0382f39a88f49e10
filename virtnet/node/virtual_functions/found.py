"""What was found of a virtual function before anything was changed: what undoing has to restore."""

from virtnet.api.meta import Spec
from virtnet.node.virtual_functions.knobs import Knobs


class FoundInterface(Spec):
    """The interface that its driver has made."""

    name: str
    mac: str
    mtu: int
    up: bool
    alternative_names: tuple[str, ...] = ()
    alias: str = ""


class FoundRepresentor(Spec):
    """The interface that stands for it in the node's switch."""

    name: str
    mtu: int
    up: bool
    address_generation: int
    """How the kernel makes its IPv6 link-local address."""
    hw_tc_offload: str
    """``on``, ``off``, or empty where its driver has none."""


class FoundVf(Spec):
    """A virtual function."""

    number: int
    physical: str
    """PCI address of its physical function."""
    driver: str
    knobs: Knobs
    interface: FoundInterface | None = None
    """None where its driver makes none (vfio-pci)."""
    representor: FoundRepresentor | None = None
    """None where its kind has none."""
