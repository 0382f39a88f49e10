"""``virtnet node devices``: what this machine has for fast NICs."""

import asyncio
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from virtnet.api.node_devices import DeviceHealth, NodeDevices, NodeNicDevice, VirtualFunctions


class Output(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"


def devices(
    output: Annotated[Output, typer.Option("--output", "-o", help="A table for people, or JSON.")] = Output.TABLE,
    ovsdb: Annotated[str, typer.Option(help="The local Open vSwitch database.")] = "unix:/run/openvswitch/db.sock",
    bridge: Annotated[str, typer.Option(help="The integration bridge.")] = "br-int",
) -> None:
    """Show the NICs of this machine with their virtual functions, vDPA management devices, huge pages and the switch.

    It reads the machine itself, not the API server: run it on a node, or in the pod of the node's daemon. Who is not
    root is not told of eswitches.
    """
    from virtnet.node.devices.inventory import inventory  # noqa: PLC0415 - each process loads only what it runs
    from virtnet.node.devices.reading import read  # noqa: PLC0415
    from virtnet.node.devices.switch import asked  # noqa: PLC0415

    try:
        found = inventory(read(), {}).model_copy(update={"dpdk": asyncio.run(asked(ovsdb, bridge))})
    except OSError as error:
        typer.secho(f"virtnet node devices: the kernel does not tell of its devices: {error}", fg="red", err=True)
        raise typer.Exit(1) from error
    if output is Output.JSON:
        typer.echo(found.model_dump_json(by_alias=True, indent=2))
    else:
        show(found, Console())


def show(found: NodeDevices, console: Console) -> None:
    """Print a table of NICs, what is wrong with them, and a line each of the rest."""
    columns = ("DEVICE", "INTERFACE", "DRIVER", "NUMA", "IOMMU", "LINK", "ESWITCH", "OFFLOAD", "VFS", "HEALTH")
    table = Table(*(Column(name, overflow="fold") for name in columns), box=None, pad_edge=False)
    for nic in found.nics:
        table.add_row(*_nic(nic))
        for functions in nic.virtual_functions:
            table.add_row(*_functions(functions))
    console.print(table)
    for nic in found.nics:
        for what, message in _problems(nic):
            console.print(f"{what}: {message}", soft_wrap=True)
    for device in found.vdpa_management_devices:
        console.print(f"vDPA management device {device.name}: {device.max_virtqueues} virtqueues at most")
    for pages in found.huge_pages:
        console.print(f"Huge pages of {pages.size_kib} KiB on NUMA node {pages.numa_node}: {pages.total}")
    served = f"served, by DPDK {found.dpdk.version}" if found.dpdk.healthy else f"not served: {found.dpdk.message}"
    console.print(f"vhost-user NICs: {served}", soft_wrap=True)
    if found.left_out:
        console.print(f"{found.left_out} more NICs are left out.")


def _problems(nic: NodeNicDevice) -> Iterator[tuple[str, str]]:
    if not nic.healthy:
        yield nic.address, nic.message
    for functions in nic.virtual_functions:
        if not functions.healthy:
            yield f"{nic.address} VF {functions.indices}", functions.message


def _nic(nic: NodeNicDevice) -> Iterator[str]:
    yield nic.address
    yield ", ".join(nic.interfaces)
    yield nic.driver
    yield _known(nic.numa_node)
    yield _known(nic.iommu_group)
    yield nic.link
    yield nic.eswitch_mode
    yield nic.hw_tc_offload
    yield f"{nic.vfs} of {nic.total_vfs}" if nic.total_vfs else ""
    yield _health(nic)


def _functions(functions: VirtualFunctions) -> Iterator[str]:
    yield f"  {functions.addresses.replace(',', ', ')}"
    yield ""
    yield functions.driver
    yield ""
    yield functions.iommu_groups.replace(",", ", ")
    yield from ("", "", "")
    yield functions.indices.replace(",", ", ")
    yield _health(functions)


def _known(number: int) -> str:
    return "" if number < 0 else str(number)


def _health(device: DeviceHealth) -> str:
    return "healthy" if device.healthy else device.reason
