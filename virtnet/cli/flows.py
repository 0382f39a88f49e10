"""``virtnet node flows``: how many flows of the node's Ports their NICs forward."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from virtnet.ovn.errors import OvnUnavailable

if TYPE_CHECKING:
    from virtnet.node.offload import PortFlows


def flows(
    ovsdb: Annotated[str, typer.Option(help="The local Open vSwitch database.")] = "unix:/run/openvswitch/db.sock",
    bridge: Annotated[str, typer.Option(help="The integration bridge.")] = "br-int",
) -> None:
    """Show how many flows each Port of this node has now, and how many of them its NIC has taken.

    It asks the machine's own Open vSwitch: run it on a node, or in the pod of the node's daemon.
    """
    from virtnet.node.offload import port_flows  # noqa: PLC0415 - each process loads only what it runs

    try:
        found = asyncio.run(port_flows(ovsdb, bridge))
    except OvnUnavailable as error:
        typer.secho(f"virtnet node flows: {error}; does Open vSwitch run on this node?", fg="red", err=True)
        raise typer.Exit(1) from error
    show(found, Console())


def show(found: "Iterable[PortFlows]", console: Console) -> None:
    """Print a table."""
    columns = (Column(name, overflow="fold") for name in ("PORT", "INTERFACE", "FLOWS", "OFFLOADED"))
    table = Table(*columns, box=None, pad_edge=False)
    for one in found:
        table.add_row(one.port, one.interface, str(one.flows), str(one.offloaded))
    console.print(table)
