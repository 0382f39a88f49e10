"""A virtual function for a guest, on machines that have none: sysfs is a directory, and what its physical function has
set is a file, read and written as ``tests/hardware/test_sriov.py`` sees the igb do. Its representor is a veth.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.attach.rig import run
from tests.devices.sysfs import PF, Sysfs
from tests.virtual_functions.test_knobs import FRESH, put
from virtnet.node.devices.tree import Tree
from virtnet.node.virtual_functions import physical
from virtnet.node.virtual_functions.eswitch import Eswitch
from virtnet.node.virtual_functions.knobs import Knob, Knobs
from virtnet.node.virtual_functions.sysfs import LocatedVf

VF = "0000:3b:02.0"
UPLINK, REPRESENTOR, GUEST = "ens1", "ens1r0", "vf0"


@dataclass(frozen=True)
class ModelledVf:
    """Below a directory."""

    state: Path

    def make(self, netns: str, guest: str) -> None:
        """With its interfaces in a node's namespace; what stands for the function itself is in the guest's."""
        sysfs = Sysfs(self.kernel)
        sysfs.nic(PF, UPLINK, total=8)
        sysfs.vfs(PF, [VF], driver="vfio-pci")
        self.mode.write_text("switchdev")
        self.knobs.write_text(FRESH.model_dump_json())
        run("ip", "-n", netns, "link", "add", UPLINK, "type", "veth", "peer", "name", f"{UPLINK}w")
        run("ip", "-n", netns, "link", "set", UPLINK, "up")
        run("ip", "-n", netns, "link", "add", REPRESENTOR, "type", "veth", "peer", "name", GUEST, "netns", guest)
        run("ip", "netns", "exec", guest, "ethtool", "-K", GUEST, "tx", "off")

    @property
    def kernel(self) -> Path:
        return self.state / "sys"

    @property
    def knobs(self) -> Path:
        return self.state / "knobs"

    @property
    def mode(self) -> Path:
        return self.state / "eswitch"

    def functions(self, here: str) -> physical.PhysicalFunctions:
        """In the place of those of the machine, for this process."""
        model = self

        class ModelSocket:
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                """Nothing is held."""

            def read(self, _: int, number: int) -> Knobs | None:
                return Knobs.model_validate_json(model.knobs.read_text()) if number == 0 else None

            def set(self, index: int, number: int, knob: Knob, wanted: Knobs) -> None:
                now = self.read(index, number)
                assert now is not None
                model.knobs.write_text(put(now, knob, wanted).model_dump_json())

        def eswitch(_: Tree, __: LocatedVf) -> Eswitch:
            mode = model.mode.read_text()
            return Eswitch(mode, REPRESENTOR if mode == "switchdev" else "")

        physical.VfSocket = ModelSocket  # type: ignore[attr-defined, assignment]
        return physical.PhysicalFunctions(here, Tree(self.kernel), eswitch)
