"""The eswitch that a virtual function is behind."""

from dataclasses import dataclass

from virtnet.node.devices.found import SWITCHDEV
from virtnet.node.devices.generic import Devlink
from virtnet.node.devices.ports import ports, representor
from virtnet.node.devices.tree import Tree
from virtnet.node.virtual_functions.sysfs import LocatedVf


@dataclass(frozen=True)
class Eswitch:
    """As it is now."""

    mode: str = ""
    """legacy or switchdev; empty where there is none."""
    representor: str = ""
    """The interface that stands for the virtual function; empty for none."""


def eswitch_of(tree: Tree, vf: LocatedVf) -> Eswitch:
    """In the network namespace of the calling thread. Raises OSError."""
    with Devlink() as devlink:
        mode = devlink.eswitch_mode(f"pci/{vf.physical}")
    return Eswitch(mode, representor(tree, ports(), vf.physical, vf.number) if mode == SWITCHDEV else "")
