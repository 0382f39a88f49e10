"""A simulated NIC with an eswitch, whose representors are as those of a real one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from virtnet.lab.netns import run
from virtnet.node.devices.found import SWITCHDEV
from virtnet.node.devices.generic import Devlink
from virtnet.node.devices.ports import ports, representor
from virtnet.node.devices.tree import Tree
from virtnet.node.virtual_functions.eswitch import Eswitch
from virtnet.node.virtual_functions.sysfs import LocatedVf

BUS = Path("/sys/bus/netdevsim")
NUMBER = 10
DEVICE = f"netdevsim/netdevsim{NUMBER}"
"""As devlink names it."""


@contextmanager
def netdevsim(vfs: int) -> Iterator[None]:
    """In legacy mode, with so many VFs."""
    (BUS / "new_device").write_text(f"{NUMBER} 1")
    try:
        (BUS / f"devices/netdevsim{NUMBER}/sriov_numvfs").write_text(str(vfs))
        yield
    finally:
        (BUS / "del_device").write_text(str(NUMBER))


def set_mode(mode: str) -> None:
    run("devlink", "dev", "eswitch", "set", DEVICE, "mode", mode)


def devlink_ports() -> dict[str, dict[str, Any]]:
    """Its ports by their interfaces, as devlink shows them."""
    told = json.loads(run("devlink", "--json", "port", "show"))["port"]
    return {port["netdev"]: port for name, port in told.items() if name.startswith(f"{DEVICE}/")}


def representors() -> dict[int, str]:
    """The interface that stands for each virtual function, by its number."""
    return {port["vfnum"]: name for name, port in devlink_ports().items() if port["flavour"] == "pcivf"}


def eswitch_of(tree: Tree, vf: LocatedVf) -> Eswitch:
    """Its own, for the virtual functions of a NIC that has none: its representors stand for them, by their numbers."""
    with Devlink() as devlink:
        mode = devlink.eswitch_mode(DEVICE)
    return Eswitch(mode, representor(tree, ports(), DEVICE, vf.number) if mode == SWITCHDEV else "")
