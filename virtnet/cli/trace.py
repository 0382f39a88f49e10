"""``virtnet trace``: what becomes of a VM's packet by OVN's own trace, and which rule of which policy says so."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated, NoReturn, cast

import typer

from virtnet.api import ClusterSubnet, Port, Subnet
from virtnet.api.addresses import Address
from virtnet.cli import certificates
from virtnet.cli.certificates import CaOption, CertificateOption, PrivateKeyOption
from virtnet.cli.ovn import NorthboundOption, SouthboundOption
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.topology.names import router_mac, row_name, switch_key
from virtnet.topology.packet_trace import Acl, PacketTrace, Probe, Protocol, destination, parsed
from virtnet.topology.switch import gateway_key

PASSED, DROPPED, FAILED = range(3)
SECONDS = 60
NOBODY = "00:00:5e:00:53:01"
"""A MAC of examples (RFC 7042): of machines outside, whose own OVN does not know."""


@dataclass(frozen=True)
class Ovn:
    """Its databases, by its own tools."""

    northbound: str
    southbound: str
    files: tuple[str, ...]
    """For ssl: remotes."""

    def trace(self, switch: str, packet: str) -> str:
        fresh = ["--ct=new"] * 8  # of what is new, in each switch that it comes through
        return self._run("ovn-trace", self.southbound, "--detailed", *fresh, switch, packet)

    def acls(self, flows: Sequence[str]) -> dict[str, Acl]:
        """The ACLs that these flows come from, by flow."""
        return {flow: acl for flow in flows for hint in self._hint(flow) for acl in self._acl(hint)}

    def _hint(self, flow: str) -> list[str]:
        """The begin of the uuid of what a flow comes from, if that is told."""
        rows = self._rows("ovn-sbctl", self.southbound, "Logical_Flow", flow)
        return [ids["stage-hint"] for ids, _ in rows if "stage-hint" in ids]

    def _acl(self, hint: str) -> list[Acl]:
        rows = self._rows("ovn-nbctl", self.northbound, "ACL", hint, "action")
        return [Acl(ids.get("virtnet/id", ""), action, ids.get("virtnet/rule", "")) for ids, (action,) in rows]

    def _rows(
        self, program: str, database: str, table: str, uuid: str, *columns: str
    ) -> list[tuple[dict[str, str], list[str]]]:
        """The external_ids, and further columns of text, of what has such a uuid."""
        words = ("--format=json", f"--columns={','.join(('external_ids', *columns))}", "list", table, uuid)
        rows = json.loads(self._run(program, database, *words))["data"]
        return [(dict(ids), more) for (_, ids), *more in rows]

    def _run(self, program: str, database: str, *words: str) -> str:
        if shutil.which(program) is None:
            _fail(f"there is no {program} here; run this where OVN's tools are (Debian: ovn-common, ovn-central)")
        files = self.files if database.startswith("ssl:") else ()
        command = [program, f"--db={database}", *files, *words]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
        except subprocess.CalledProcessError as error:
            _fail(f"{program}: {error.stderr.strip()}")
        except subprocess.TimeoutExpired:
            _fail(f"{program} has no answer of {database} within {SECONDS} s")


def trace(
    vm: Annotated[str, typer.Argument(help="The VM or pod that sends.")],
    to: Annotated[str, typer.Option(help="ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT.")],
    northbound: NorthboundOption,
    southbound: SouthboundOption,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The VM's.")] = "default",
    network: Annotated[str, typer.Option(help="The VM's network, where it has several.")] = "",
    protocol: Annotated[str, typer.Option(help="tcp, udp, sctp or icmp; tcp with a port.")] = "",
    ovn_private_key: PrivateKeyOption = certificates.DEFAULT.private_key,
    ovn_certificate: CertificateOption = certificates.DEFAULT.certificate,
    ovn_ca_cert: CaOption = certificates.DEFAULT.ca,
) -> None:
    """Show what becomes of a new packet of a VM's, and which rule lets it pass or drops it.

    Exits 0 where it comes out, 1 where it is dropped, 2 for an error. Of what is under way the connection tracker may
    decide otherwise.
    """
    try:
        address, number = destination(to)
        kind = _protocol(protocol, number)
        ports, subnet = asyncio.run(_found(vm, namespace, network, address))
    except (ApiError, ValueError) as error:
        _fail(str(error))
    sender = ports[0]
    source = next((one for text in sender.spec.addresses if (one := ip_address(text)).version == address.version), None)
    if source is None:
        _fail(f"NIC {sender.spec.network} of {namespace}/{vm} has no IPv{address.version} address")
    probe = Probe(
        sender.key, sender.spec.mac_address, source, _next_hop(address, ports[1:], subnet), address, kind, number
    )
    files = (f"--private-key={ovn_private_key}", f"--certificate={ovn_certificate}", f"--ca-cert={ovn_ca_cert}")
    ovn = Ovn(northbound, southbound, files)
    found = parsed(ovn.trace(row_name(switch_key(sender.spec.subnet)), probe.expression()))
    acls = ovn.acls([step.flow for step in found.acls if step.flow])
    for line in told(found, acls):
        typer.echo(line)
    raise typer.Exit(PASSED if found.passed else DROPPED)


def told(found: PacketTrace, acls: Mapping[str, Acl]) -> list[str]:
    """What became of a packet, a line for each decision."""
    lines = [
        f"{'leaving' if step.pipeline == 'ingress' else 'arriving'}: {acls[step.flow]}"
        for step in found.acls
        if step.flow in acls and acls[step.flow].decides
    ]
    if found.passed:
        ports = ", ".join(f"{port} ({type_})" if type_ else port for port, type_ in found.outputs.items())
        return [*lines, f"comes out of {ports}"]
    decided = found.last is not None and found.last.flow in acls
    where = f"dropped in {found.last.switch}, {found.last.stage}" if found.last and not decided else "dropped"
    return [*lines, where]


def _protocol(text: str, number: int) -> Protocol:
    kind = text or ("tcp" if number else "icmp")
    if kind not in ("tcp", "udp", "sctp", "icmp"):
        raise ValueError(f"{kind} is no protocol; write tcp, udp, sctp or icmp")
    if (kind == "icmp") == bool(number):
        raise ValueError("tcp, udp and sctp need a port, as in --to 10.0.0.6:80; icmp has none")
    return cast("Protocol", kind)


async def _found(vm: str, namespace: str, network: str, address: Address) -> tuple[list[Port], Subnet | ClusterSubnet]:
    """The sender's Port, then those that have the address in its Subnet; and that. Raises ApiError and ValueError."""
    async with await Cluster.connect(agent="virtnet-cli") as cluster:
        items, _ = await cluster.list(kinds.of(Port))
        ports = [Port.parse(item) for item in items]
        own = [port for port in ports if (port.namespace, port.spec.owner.name) == (namespace, vm)]
        mine = [port for port in own if network in ("", port.spec.network)]
        if len(mine) != 1:
            networks = ", ".join(sorted(port.spec.network for port in own)) or "none"
            raise ValueError(f"{namespace}/{vm}: say by --network which NIC sends; it has {networks}")
        ref = mine[0].spec.subnet
        model: type[Subnet | ClusterSubnet] = Subnet if ref.kind == "Subnet" else ClusterSubnet
        subnet = model.parse(await cluster.get(kinds.of(model), ref.name, ref.namespace))
    holders = (port for port in ports if port.spec.subnet == ref and str(address) in port.spec.addresses)
    return [mine[0], *holders], subnet


def _next_hop(address: Address, holders: Sequence[Port], subnet: Subnet | ClusterSubnet) -> str:
    """The MAC that the sender has for a destination."""
    if holders:
        return holders[0].spec.mac_address
    near = any(address in ip_network(cidr) for cidr in subnet.spec.cidrs)
    return NOBODY if near or subnet.spec.physical_gateway else router_mac(gateway_key(subnet))


def _fail(text: str) -> NoReturn:
    typer.secho(f"virtnet trace: {text}", fg="red", err=True)
    raise typer.Exit(FAILED)
