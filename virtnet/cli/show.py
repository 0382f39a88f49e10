"""``virtnet status`` and ``virtnet ports``: what people ask of a cluster. Reads the API server only."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from virtnet.api import AddressLease, ClusterSubnet, Condition, NodeNetwork, Port, Subnet
from virtnet.api.workloads import lease_holder
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound

console = Console()

R = TypeVar("R")


def ask(question: Callable[[Cluster], Awaitable[R]]) -> R:
    """The answer of the API server; an error ends the command with one line."""

    async def once() -> R:
        async with await Cluster.connect(agent="virtnet-cli") as cluster:
            return await question(cluster)

    try:
        return asyncio.run(once())
    except ApiError as error:
        typer.secho(f"virtnet: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


def status() -> None:
    """Show the nodes, the Subnets and what waits or is wrong."""
    nodes, subnets, ports, leases, leader = ask(_overview)
    table = Table("NODE", "CHASSIS", "ENCAP", "DATAPATH", "NICS", "READY", title="Nodes", title_justify="left")
    for node in nodes:
        ready = _ready(node.status.conditions)
        table.add_row(
            node.name, node.status.chassis, ", ".join(node.status.encap_ips), node.status.datapath,
            str(node.status.ports), ready,
        )  # fmt: skip
    console.print(table)
    table = Table("SUBNET", "CIDRS", "GATEWAYS", "USED", "AVAILABLE", "READY", title="Subnets", title_justify="left")
    for subnet in subnets:
        state = subnet.status
        ready = _ready(state.conditions)
        table.add_row(
            subnet.key, ", ".join(subnet.spec.cidrs), ", ".join(state.gateways), str(state.used),
            "" if state.available is None else str(state.available), ready,
        )  # fmt: skip
    console.print(table)
    phases = [port.status.phase for port in ports]
    counts = ", ".join(f"{phases.count(phase)} {phase}" for phase in sorted(set(phases))) or "none"
    console.print(f"Ports: {counts}. Leases: {len(leases)}. Controller: {leader or 'nobody leads'}.")


async def _overview(
    cluster: Cluster,
) -> tuple[list[NodeNetwork], list[Subnet | ClusterSubnet], list[Port], list[AddressLease], str]:
    nodes, subnets, cluster_subnets, ports, leases = await asyncio.gather(
        *(cluster.list(kinds.of(model)) for model in (NodeNetwork, Subnet, ClusterSubnet, Port, AddressLease))
    )
    try:
        lease = await cluster.get(kinds.LEASES, "virtnet-controller", "virtnet")
        leader = lease_holder(lease)
    except NotFound:
        leader = ""
    return (
        [NodeNetwork.parse(item) for item in nodes[0]],
        [*map(Subnet.parse, subnets[0]), *map(ClusterSubnet.parse, cluster_subnets[0])],
        [Port.parse(item) for item in ports[0]],
        [AddressLease.parse(item) for item in leases[0]],
        leader,
    )


def ports(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Only this namespace.")] = "",
    node: Annotated[str, typer.Option(help="Only what this node has.")] = "",
) -> None:
    """Show the NICs: whose they are, what they hold, and where they are."""

    async def listing(cluster: Cluster) -> list[Port]:
        items, _ = await cluster.list(kinds.of(Port), namespace)
        return [Port.parse(item) for item in items]

    table = Table("PORT", "OWNER", "SUBNET", "ADDRESSES", "MAC", "PHASE", "NODE", "NOTE")
    for port in _of_node(ask(listing), node):
        table.add_row(
            port.key, str(port.spec.owner), port.spec.subnet.key,
            ", ".join(port.spec.addresses or port.status.seen_addresses), port.spec.mac_address, port.status.phase,
            port.status.node, _note(port.status.conditions),
        )  # fmt: skip
    console.print(table)


def _of_node(found: Iterable[Port], node: str) -> list[Port]:
    return [port for port in found if not node or port.status.node == node]


def _ready(conditions: Iterable[Condition]) -> str:
    found: Any = next((c for c in conditions if c.type == "Ready"), None)
    if found is None:
        return "unknown"
    return "yes" if found.status == "True" else f"{found.reason}: {found.message}"


def _note(conditions: Iterable[Condition]) -> str:
    return next((c.message for c in conditions if c.type == "Ready"), "")
