"""``virtnet ovn``: what OVN should have beside what it has, and writing that in the controller's place."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn

import structlog
import typer

from virtnet.api.workloads import lease_holder
from virtnet.cli import certificates
from virtnet.cli.certificates import CaOption, CertificateOption, PrivateKeyOption
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.ovn.errors import OvnError
from virtnet.topology.transaction import Transaction

app = typer.Typer(no_args_is_help=True, help="What OVN should have beside what it has.")

NorthboundOption = Annotated[
    str, typer.Option(envvar="VIRTNET_NORTHBOUND", help="OVN northbound database, for example tcp:10.0.0.1:6641.")
]
SouthboundOption = Annotated[str, typer.Option(envvar="VIRTNET_SOUTHBOUND", help="OVN southbound database.")]

SAME, DIFFERENT, FAILED = range(3)
PATIENCE = 2.0
"""Seconds to wait for the lock: one that nobody has comes at once."""


@app.callback()
def prepare(
    ovn_private_key: PrivateKeyOption = certificates.DEFAULT.private_key,
    ovn_certificate: CertificateOption = certificates.DEFAULT.certificate,
    ovn_ca_cert: CaOption = certificates.DEFAULT.ca,
) -> None:
    """See and repair what OVN has: only the answer is printed."""
    certificates.use(ovn_private_key, ovn_certificate, ovn_ca_cert)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@app.command()
def diff(northbound: NorthboundOption, southbound: SouthboundOption) -> None:
    """Show as ovn-nbctl lines what virtnet would change; writes nothing. Exits 0: nothing, 1: something, 2: error."""

    async def look() -> Transaction:
        from virtnet.controllers.preview import Preview  # noqa: PLC0415 - the product's processes share this command line

        async with (
            await Cluster.connect(agent="virtnet-cli") as cluster,
            Preview.of(cluster, northbound, southbound) as preview,
        ):
            return preview.transaction()

    transaction = _answer(look())
    if transaction.ops:
        typer.echo(str(transaction))
        raise typer.Exit(DIFFERENT)
    typer.echo("no difference", err=True)


@app.command()
def apply(
    northbound: NorthboundOption,
    southbound: SouthboundOption,
    steal: Annotated[bool, typer.Option("--steal", help="Take the lock from a controller that holds it.")] = False,
) -> None:
    """Write what ``virtnet ovn diff`` shows, in one transaction, in place of a controller that does not run."""
    transaction = _answer(_apply(northbound, southbound, steal=steal))
    typer.echo(str(transaction) if transaction.ops else "no difference", err=not transaction.ops)


async def _apply(northbound: str, southbound: str, *, steal: bool) -> Transaction:
    from virtnet.controllers.preview import LOCK, Preview  # noqa: PLC0415 - as above

    async with (
        await Cluster.connect(agent="virtnet-cli") as cluster,
        Preview.of(cluster, northbound, southbound, lock=LOCK) as preview,
    ):
        if steal:
            await preview.northbound.steal_lock()
        elif not await preview.northbound.wait_for_lock(PATIENCE):
            _fail(
                f"the lock {LOCK} of {northbound} is held by {await _leader(cluster)}, which writes these rows "
                "itself: let it, or stop it first; --steal takes the lock, until a new leader takes it back"
            )
        transaction = preview.transaction()
        await preview.northbound.commit(transaction.ops)
        return transaction


async def _leader(cluster: Cluster) -> str:
    """Who should hold the lock; the database itself does not tell."""
    try:
        lease = await cluster.get(kinds.LEASES, "virtnet-controller", "virtnet")
    except ApiError:
        return "another client"
    holder = lease_holder(lease)
    return f"controller {holder}" if holder else "another client"


def _answer(question: Coroutine[Any, Any, Transaction]) -> Transaction:
    try:
        return asyncio.run(question)
    except (ApiError, OvnError) as error:
        _fail(str(error))


def _fail(text: str) -> NoReturn:
    typer.secho(f"virtnet ovn: {text}", fg="red", err=True)
    raise typer.Exit(FAILED)
