"""The ports of eswitches, as devlink(7) tells of them: which interface stands for which function."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import genlmsg

from virtnet.node.devices.found import SWITCHDEV
from virtnet.node.devices.generic import dump
from virtnet.node.devices.tree import INTERFACE, WORD, Tree

_PORT_GET = 5
_PHYSICAL, _PCI_PF, _PCI_VF, _PCI_SF = 0, 3, 4, 7
"""Flavours."""
_REPRESENTOR = re.compile(r"(c[0-9]+)?pf[0-9]+((vf|sf)[0-9]+)?|vf[0-9]+|[0-9]+", re.ASCII)
_OF_VF = re.compile(r"(?:pf[0-9]+vf|vf|)([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True)
class Port:
    """What an interface is the port of."""

    device: str
    """Its PCI address, or bus/name."""
    name: str
    """As phys_port_name has it: p0, pf0, pf0vf3; c1pf0vf3 where the function is in the host of a DPU."""


class portcmd(genlmsg):  # type: ignore[misc]  # noqa: N801 - pyroute2 has no types, and such names
    """A message of the family "devlink" (linux/devlink.h) about a port: pyroute2's ends before the last of these."""

    prefix = "DEVLINK_ATTR_"
    nla_map = (
        (1, "DEVLINK_ATTR_BUS_NAME", "asciiz"),
        (2, "DEVLINK_ATTR_DEV_NAME", "asciiz"),
        (7, "DEVLINK_ATTR_PORT_NETDEV_NAME", "asciiz"),
        (77, "DEVLINK_ATTR_PORT_FLAVOUR", "uint16"),
        (78, "DEVLINK_ATTR_PORT_NUMBER", "uint32"),
        (127, "DEVLINK_ATTR_PORT_PCI_PF_NUMBER", "uint16"),
        (128, "DEVLINK_ATTR_PORT_PCI_VF_NUMBER", "uint16"),
        (149, "DEVLINK_ATTR_PORT_EXTERNAL", "uint8"),
        (150, "DEVLINK_ATTR_PORT_CONTROLLER_NUMBER", "uint32"),
        (164, "DEVLINK_ATTR_PORT_PCI_SF_NUMBER", "uint32"),
    )


def ports() -> Mapping[str, Port]:
    """The ports that have interfaces in the network namespace of the calling thread, by these. Raises OSError."""
    return named(dump("devlink", portcmd, _PORT_GET))


def named(answers: Iterable[Any]) -> dict[str, Port]:
    """What answers to DEVLINK_CMD_PORT_GET say of interfaces, by these."""
    found = {}
    for answer in answers:
        bus, device, interface = (
            str(answer.get_attr(f"DEVLINK_ATTR_{part}") or "") for part in ("BUS_NAME", "DEV_NAME", "PORT_NETDEV_NAME")
        )
        name = _name(answer.get_attr)
        if name and WORD.fullmatch(bus) and WORD.fullmatch(device) and INTERFACE.fullmatch(interface):
            found[interface] = Port(device if bus == "pci" else f"{bus}/{device}", name)
    return found


def port_name(tree: Tree, ports: Mapping[str, Port], interface: str) -> str:
    """The name of the port that an interface is, by devlink, or else by sysfs; empty where it is none."""
    port = ports.get(interface)
    return port.name if port else tree.text(f"class/net/{interface}/phys_port_name")


def represents(name: str, eswitch_mode: str) -> bool:
    """Whether an interface whose port has this name stands for a function behind the eswitch.

    A bare number is a port of the wire on NICs without an eswitch.
    """
    return _REPRESENTOR.fullmatch(name) is not None and (eswitch_mode == SWITCHDEV or not name.isdigit())


def represented_vf(name: str) -> int | None:
    """The number of the virtual function, of this machine, that a representor stands for by its port's name.

    On a DPU those of its host begin with c1.
    """
    found = _OF_VF.fullmatch(name)
    return int(found[1]) if found else None


def uplink(tree: Tree, ports: Callable[[], Mapping[str, Port]], device: str) -> str:
    """The interface of a PCI device that reaches the wire; empty where it has none.

    ``ports`` are asked for only where it may be one of several.
    """
    own = list(tree.entries(f"bus/pci/devices/{device}/net", INTERFACE))
    if len(own) == 1 and not represents(port_name(tree, {}, own[0]), ""):
        return own[0]
    known = ports()
    return next((name for name in own if not represents(port_name(tree, known, name), SWITCHDEV)), "")


def representor(tree: Tree, ports: Mapping[str, Port], device: str, vf: int) -> str:
    """The interface that stands for a virtual function of a PCI device, by its number; empty where none does."""
    own = tree.entries(f"bus/pci/devices/{device}/net", INTERFACE)
    names = {*own, *(name for name, port in ports.items() if port.device == device)}  # sysfs has not all of them there
    found = (name for name in sorted(names) if represented_vf(port_name(tree, ports, name)) == vf)
    return next(found, "") if len(names) > 1 else ""


def _name(attribute: Callable[[str], int | None]) -> str:
    """As the kernel names ports."""
    flavour = attribute("DEVLINK_ATTR_PORT_FLAVOUR")
    if flavour == _PHYSICAL:
        return f"p{attribute('DEVLINK_ATTR_PORT_NUMBER')}"
    outside = attribute("DEVLINK_ATTR_PORT_EXTERNAL")
    controller = f"c{attribute('DEVLINK_ATTR_PORT_CONTROLLER_NUMBER')}" if outside else ""
    function = f"{controller}pf{attribute('DEVLINK_ATTR_PORT_PCI_PF_NUMBER')}"
    if flavour == _PCI_PF:
        return function
    if flavour == _PCI_VF:
        return f"{function}vf{attribute('DEVLINK_ATTR_PORT_PCI_VF_NUMBER')}"
    if flavour == _PCI_SF:
        return f"{function}sf{attribute('DEVLINK_ATTR_PORT_PCI_SF_NUMBER')}"
    return ""
