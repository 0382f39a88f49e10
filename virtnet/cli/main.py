"""``virtnet``: the processes of a cluster, the lab, and what people ask."""

import asyncio
import logging
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer

from virtnet import __version__
from virtnet.cli import certificates, devices, flows, lab, migrations, ovn, show, trace
from virtnet.cli.certificates import CaOption, CertificateOption, PrivateKeyOption

app = typer.Typer(no_args_is_help=True, add_completion=False, help="A network for KubeVirt VMs that moves with them.")

MetricsAddress = Annotated[
    str, typer.Option(envvar="VIRTNET_METRICS_ADDRESS", help="Address for probes and Prometheus; all if empty.")
]

app.command()(show.status)
app.command()(show.ports)
app.command()(migrations.migrations)
app.command()(trace.trace)
app.add_typer(lab.app, name="lab")
app.add_typer(ovn.app, name="ovn")
node_app = typer.Typer()
node_app.command()(devices.devices)
node_app.command()(flows.flows)
app.add_typer(node_app, name="node")


def serve(main: Coroutine[Any, Any, None], *, verbose: bool = False) -> None:
    """Run a process until it ends or is told to: SIGTERM and SIGINT cancel it, and it cleans up after itself."""
    level = logging.DEBUG if verbose else logging.INFO
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    async def until_signalled() -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs has a task
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await main
        except asyncio.CancelledError:
            structlog.get_logger().info("told to end")

    asyncio.run(until_signalled())


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def controller(
    northbound: Annotated[str, typer.Option(help="OVN northbound database, for example tcp:10.0.0.1:6641.")],
    southbound: Annotated[str, typer.Option(help="OVN southbound database.")],
    leader_elect: Annotated[bool, typer.Option(help="Lead only while holding the Lease.")] = True,
    namespace: Annotated[str, typer.Option(help="Namespace of the Lease.")] = "virtnet",
    metrics_address: MetricsAddress = "",
    metrics_port: Annotated[int, typer.Option(help="Port for probes and Prometheus; 0 for none.")] = 9402,
    ovn_private_key: PrivateKeyOption = certificates.DEFAULT.private_key,
    ovn_certificate: CertificateOption = certificates.DEFAULT.certificate,
    ovn_ca_cert: CaOption = certificates.DEFAULT.ca,
    verbose: bool = False,
) -> None:
    """Run the controller: Ports, leases, OVN rows and handoffs."""
    certificates.use(ovn_private_key, ovn_certificate, ovn_ca_cert)
    from virtnet.controllers import service  # noqa: PLC0415 - each process loads only what it runs

    settings = service.ControllerSettings(
        northbound=northbound,
        southbound=southbound,
        leader_elect=leader_elect,
        namespace=namespace,
        metrics_address=metrics_address,
        metrics_port=metrics_port,
    )
    serve(service.run(settings), verbose=verbose)


@app.command()
def webhook(
    cert: Annotated[Path, typer.Option(help="TLS certificate (PEM).")],
    key: Annotated[Path, typer.Option(help="Its private key (PEM).")],
    client_ca: Annotated[
        Path | None, typer.Option(help="Answer only who has a certificate of this CA (PEM): the API server.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port to serve admission on.")] = 9443,
    metrics_address: MetricsAddress = "",
    metrics_port: Annotated[int, typer.Option(help="Port for probes and Prometheus; 0 for none.")] = 9403,
    pod_network: Annotated[
        str,
        typer.Option(help="namespace/name of the NAD of the cluster's pod network, where virtnet is it."),
    ] = "",
    verbose: bool = False,
) -> None:
    """Run the admission service: pins VMs, marks pods, validates Subnets."""
    from webhooks import service  # noqa: PLC0415 - each process loads only what it runs

    settings = service.WebhookSettings(
        port=port,
        cert=cert,
        key=key,
        client_ca=client_ca,
        metrics_address=metrics_address,
        metrics_port=metrics_port,
        pod_network=pod_network,
    )
    serve(service.run(settings), verbose=verbose)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """For commands whose answer is on stdout."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        yield
    finally:
        structlog.configure(**before)


@node_app.callback(invoke_without_command=True)
def node(
    context: typer.Context,
    node: Annotated[str, typer.Option(help="Name of the Kubernetes node.", envvar="NODE_NAME")] = "",
    socket: Annotated[Path, typer.Option(help="Where the CNI plugin connects.")] = Path("/run/virtnet/cni.sock"),
    state_dir: Annotated[Path, typer.Option(help="Journals of attached NICs.")] = Path("/var/lib/virtnet"),
    ovsdb: Annotated[str, typer.Option(help="The local Open vSwitch database.")] = "unix:/run/openvswitch/db.sock",
    ovn_run_dir: Annotated[Path, typer.Option(help="Where ovn-controller has its socket.")] = Path("/run/ovn"),
    bridge: Annotated[str, typer.Option(help="The integration bridge.")] = "br-int",
    cni_bin_dir: Annotated[Path | None, typer.Option(help="Install the CNI plugin there.")] = None,
    kubelet_dir: Annotated[Path, typer.Option(help="kubelet's --root-dir.")] = Path("/var/lib/kubelet"),
    metrics_address: MetricsAddress = "",
    metrics_port: Annotated[int, typer.Option(help="Port for probes and Prometheus; 0 for none.")] = 9404,
    ovn_private_key: PrivateKeyOption = certificates.DEFAULT.private_key,
    ovn_certificate: CertificateOption = certificates.DEFAULT.certificate,
    ovn_ca_cert: CaOption = certificates.DEFAULT.ca,
    verbose: bool = False,
) -> None:
    """Run the node daemon: attaches NICs."""
    if context.invoked_subcommand is not None:
        context.with_resource(_log_on_stderr())
        return
    if not node:
        raise typer.BadParameter("name the Kubernetes node, or set NODE_NAME", param_hint="--node")
    certificates.use(ovn_private_key, ovn_certificate, ovn_ca_cert)
    from virtnet.node import daemon  # noqa: PLC0415 - each process loads only what it runs
    from virtnet.node.record_store import StoreInUse  # noqa: PLC0415

    settings = daemon.NodeSettings(
        node=node,
        socket=socket,
        state_dir=state_dir,
        ovsdb=ovsdb,
        ovn_run_dir=ovn_run_dir,
        bridge=bridge,
        cni_bin_dir=cni_bin_dir,
        kubelet_dir=kubelet_dir,
        metrics_address=metrics_address,
        metrics_port=metrics_port,
    )
    try:
        serve(daemon.run(settings), verbose=verbose)
    except StoreInUse as error:
        typer.secho(f"virtnet node: {error}", fg="red", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
