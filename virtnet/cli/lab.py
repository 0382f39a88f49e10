"""``virtnet lab``: a cluster in a box."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from virtnet.lab.lab import Lab

app = typer.Typer(no_args_is_help=True, help="A cluster in a box: real API server, real OVN, real VMs.")

LabName = Annotated[str, typer.Option("--name", help="Labs of different names run side by side.", envvar="VIRTNET_LAB")]

COMMAND = {"allow_extra_args": True, "ignore_unknown_options": True}


@contextmanager
def explained() -> Iterator[None]:
    """Failures that have a message for a person are that message, and exit 1."""
    from virtnet.lab.problems import EXPECTED  # noqa: PLC0415 - see _lab

    try:
        yield
    except EXPECTED as problem:
        typer.echo(f"virtnet lab: {problem}", err=True)
        raise typer.Exit(1) from None


def _lab(name: str, *, progress: bool = False) -> "Lab":
    """Loaded only when asked for: the product's processes share this command line, and run without the lab's needs."""
    from virtnet.lab.lab import Lab, silent  # noqa: PLC0415

    return Lab(name, say=typer.echo if progress else silent)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@app.command()
def up(
    name: LabName = "lab",
    nodes: Annotated[int, typer.Option(min=1, help="How many nodes.")] = 3,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS with OVN, with its role-based access control.")] = False,
    dpdk: Annotated[int, typer.Option(min=0, help="So many nodes have DPDK in their switches, for vhost-user.")] = 0,
) -> None:
    """Bring a lab up, and wait until it works."""
    signal.signal(signal.SIGTERM, _interrupt)  # so that a lab half up is taken down again
    with explained():
        _lab(name, progress=True).up(nodes, tls=tls, dpdk=dpdk)
    flag = "" if name == "lab" else f" --name {name}"
    typer.echo(f"\n  virtnet lab run{flag} -- kubectl get nodes\n  virtnet lab status{flag}\n  virtnet lab down{flag}")


@app.command()
def down(name: LabName = "lab") -> None:
    """End everything of a lab, and leave nothing."""
    with explained():
        found = _lab(name).down()
    typer.echo(f"lab {name} is down" if found else f"there is no lab {name}")


@app.command()
def status(name: LabName = "lab") -> None:
    """Show a lab's processes. Exits 1 unless all of them run."""
    with explained():
        lab = _lab(name)
        daemons = lab.daemons
    table = Table(title=f"lab {name} in {lab.names.state}", title_justify="left")
    for column in ("process", "state", "log"):
        table.add_column(column, overflow="fold")
    ended = 0
    for key, daemon in daemons.items():
        pid = daemon.pid
        ended += pid is None
        table.add_row(key, f"runs ({pid})" if pid else "[red]ended[/red]", str(daemon.log.relative_to(lab.names.state)))
    Console().print(table)
    raise typer.Exit(1 if ended else 0)


@app.command(context_settings=COMMAND)
def run(context: typer.Context, name: LabName = "lab") -> None:
    """Run a command where the API server is, as administrator: virtnet lab run -- kubectl get vm,port."""
    with explained():
        lab = _lab(name)
        _become(lab.command(_words(context)), lab.environment())


@app.command("exec", context_settings=COMMAND)
def execute(
    context: typer.Context,
    pod: Annotated[str, typer.Argument(help="NAMESPACE/POD")],
    name: LabName = "lab",
) -> None:
    """Run a command in a pod's network namespace: virtnet lab exec demo/virt-launcher-db-x7k2p -- ip address."""
    with explained():
        lab = _lab(name)
        _become(lab.command(_words(context), pod=pod), lab.environment())


@app.command("migrate")
def migrate_vm(
    vm: Annotated[str, typer.Argument(help="Name of the VM.")],
    to: Annotated[str, typer.Option(help="The node to go to.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n")] = "default",
    name: LabName = "lab",
) -> None:
    """Live-migrate a VM and wait for the end. Exits 1 unless it succeeds."""
    with explained():
        from virtnet.lab.migrate import migrate  # noqa: PLC0415 - see _lab

        lab = _lab(name)
        lab.command(())  # says so when there is no lab
        lab.ask(lambda cluster: migrate(cluster, vm, namespace, to=to, say=typer.echo))


def _words(context: typer.Context) -> list[str]:
    if not context.args:
        raise typer.BadParameter("which command? put it after --")
    return context.args


def _become(command: list[str], environment: dict[str, str]) -> NoReturn:
    """In place of this process, so that signals and exit codes are the command's."""
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is what is wanted
