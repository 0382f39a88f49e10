"""``virtnet migrations``: the story of each NIC's live migrations, with the time of every step."""

from collections.abc import Iterator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated

import typer
from rich.table import Table

from virtnet.api import HandoffRecord, Port
from virtnet.cli.show import ask, console
from virtnet.kube import kinds
from virtnet.kube.client import Cluster

PORTS = kinds.of(Port)
COLUMNS = ("TIME", "PORT", "FROM", "TO", "STATE", "BOUND", "HEARD", "RUNNING", "ANSWERED", "DONE", "FORWARDED", "NOTE")
LAYOUT = "{:19}  {:28}  {:10}  {:10}  {:11}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {}"


def migrations(
    vm: Annotated[str, typer.Argument(help="Only this VM's.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only this namespace.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, with every step as it is taken.")] = False,
) -> None:
    """Show the live migrations of NICs: how far each is, what it waits for, and when each step was taken.

    BOUND, HEARD (the first frame on the target), RUNNING (KubeVirt's word for that), ANSWERED (the guest itself, not
    QEMU for it) and DONE are times since the port belonged to both nodes. FORWARDED counts the frames that the guest
    had not read on the source, and that were forwarded to it.
    """
    if watch:
        typer.echo(LAYOUT.format(*COLUMNS))
        ask(lambda cluster: _follow(cluster, vm, namespace))
        return
    table = Table(*COLUMNS)
    for cells in sorted(
        cells for port in ask(lambda cluster: _listed(cluster, vm, namespace)) for cells in _rows(port)
    ):
        table.add_row(*cells)
    console.print(table)


async def _listed(cluster: Cluster, vm: str, namespace: str) -> list[Port]:
    items, _ = await cluster.list(PORTS, namespace)
    return [port for port in map(Port.parse, items) if vm in ("", port.spec.owner.name)]


async def _follow(cluster: Cluster, vm: str, namespace: str) -> None:
    """Print a line for every step, also of what has ended before, until interrupted."""
    printed: set[tuple[str, ...]] = set()
    async with aclosing(cluster.watch(PORTS, namespace)) as changes:
        async for change, found in changes:
            if change in ("SYNC", "DELETED"):
                continue
            ports = map(Port.parse, found["items"] if change == "LISTED" else [found])
            lines = {cells for port in ports if vm in ("", port.spec.owner.name) for cells in _rows(port)}
            for cells in sorted(lines - printed):
                typer.echo(LAYOUT.format(*cells))
            printed |= lines


def _rows(port: Port) -> Iterator[tuple[str, ...]]:
    stuck = next(
        (one.message for one in port.status.conditions if one.type == "HandoffStuck" and one.status == "True"), ""
    )
    if stuck and all(record.finished_at for record in port.status.handoffs):  # it could not even begin
        yield ("", port.key, port.status.node, "", "Stuck", *[""] * 6, stuck)
    for record in port.status.handoffs:
        state, note = record.state, record.message
        if stuck and record.finished_at is None:
            state, note = "Stuck", stuck
        began = f"{record.armed_at:%Y-%m-%d %H:%M:%S}" if record.armed_at else ""
        forwarded = "" if record.forwarded_frames is None else str(record.forwarded_frames)
        yield (began, port.key, record.source, record.target, state, *_times(record), forwarded, note)


def _times(record: HandoffRecord) -> Iterator[str]:
    for moment in (
        record.bound_at,
        record.activated_at,
        record.domain_ready_at,
        record.answered_at,
        record.finished_at,
    ):
        yield since(record.armed_at, moment)


def since(start: datetime | None, moment: datetime | None) -> str:
    """A time in a person's units; empty where there is none.

    >>> since(datetime(2026, 1, 1), datetime(2026, 1, 1, 0, 0, 2, 41000))
    '2.041 s'
    """
    if start is None or moment is None:
        return ""
    seconds = (moment - start).total_seconds()
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.3f} s"
