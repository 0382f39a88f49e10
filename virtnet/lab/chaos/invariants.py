"""What must hold when nothing goes on: Kubernetes, OVN, the switches, the kernel and the guests agree."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from virtnet.api import AddressLease, NodeNetwork, Port
from virtnet.api.names import ATTACHMENTS, PINNED
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.kube.kinds import PODS, VMIS, VMS, Kind
from virtnet.lab import netns
from virtnet.lab.chaos import plan
from virtnet.lab.chaos.arena import PROBE, Arena, Object
from virtnet.lab.demo.manifests import NAMESPACE
from virtnet.lab.demo.probes import answers

KINDS: tuple[Kind, ...] = (PODS, VMIS, VMS, *map(kinds.of, (Port, AddressLease, NodeNetwork)))


ROW_COLUMNS = ("name", "type", "options", "external_ids", "addresses", "port_security")


@dataclass(frozen=True)
class Picture:
    """One moment, of everything that can be asked."""

    pods: list[Object]
    instances: dict[str, Object]
    vms: dict[str, Object]
    ports: dict[str, Port]
    leases: list[AddressLease]
    nodes: dict[str, NodeNetwork]
    rows: dict[str, Object]
    """Logical switch ports of NICs, by name."""
    bindings: dict[str, Object]
    chassis: dict[str, str]
    """UUID -> name."""
    interfaces: dict[str, list[Object]]
    """By node: interfaces of the switch that are NICs."""

    @property
    def live(self) -> list[Object]:
        """Pods that have NICs."""
        ended = ("Succeeded", "Failed")
        return [pod for pod in self.pods if pod.get("status", {}).get("phase") not in ended]

    def home(self, port: str) -> str:
        """The node where the guest of a port is."""
        name = port.removeprefix(f"{NAMESPACE}/").partition(".")[0]
        if name == PROBE:
            return next((pod["spec"]["nodeName"] for pod in self.pods if pod["metadata"]["name"] == PROBE), "")
        return str(self.instances.get(name, {}).get("status", {}).get("nodeName", ""))


def violations(arena: Arena) -> list[str]:
    """What does not hold now, each in a sentence. Empty is well."""
    try:
        now = _picture(arena)
    except (ApiError, netns.NetnsError) as error:
        return [f"cannot look: {error}"]
    found = [*_ports(now, arena.names), *_leases(now), *_handoffs(now), *_left(arena, now)]
    with ThreadPoolExecutor(4) as pool:
        return [*found, *filter(None, pool.map(lambda vm: _silent(arena, now, vm), arena.names))]


def _picture(arena: Arena) -> Picture:
    async def listed(cluster: Cluster) -> list[list[Object]]:
        return [(await cluster.list(kind))[0] for kind in KINDS]

    pods, instances, vms, ports, leases, nodes = arena.ask(listed)
    rows = arena.table(arena.nbctl, "Logical_Switch_Port", *ROW_COLUMNS)
    bindings = arena.table(
        arena.sbctl, "Port_Binding", "logical_port", "type", "chassis", "additional_chassis", "options"
    )
    chassis = arena.table(arena.sbctl, "Chassis", "_uuid", "name")
    return Picture(
        pods=pods,
        instances={one["metadata"]["name"]: one for one in instances if one["metadata"]["namespace"] == NAMESPACE},
        vms={one["metadata"]["name"]: one for one in vms if one["metadata"]["namespace"] == NAMESPACE},
        ports={port.key: port for port in map(Port.parse, ports)},
        leases=[AddressLease.parse(one) for one in leases],
        nodes={one["metadata"]["name"]: NodeNetwork.parse(one) for one in nodes},
        rows={row["name"]: row for row in rows if not row["type"]},
        bindings={row["logical_port"]: row for row in bindings if not row["type"]},
        chassis={row["_uuid"]: row["name"] for row in chassis},
        interfaces={node: _interfaces(arena, node) for node in arena.nodes},
    )


def _interfaces(arena: Arena, node: str) -> list[Object]:
    rows = arena.table(lambda *words: arena.vsctl(node, *words), "Interface", "name", "external_ids", "error")
    return [row for row in rows if "virtnet/container" in row["external_ids"]]


def _ports(now: Picture, expected: tuple[str, ...]) -> Iterator[str]:
    names = {port for port in now.ports if _ours(port)}
    vms = {port for port in names if not port.startswith(f"{NAMESPACE}/{PROBE}.")}
    if vms != {f"{NAMESPACE}/{vm}.blue" for vm in expected} or len(names) != len(vms) + 1:
        yield f"the Ports are {sorted(names)}"
    if now.rows.keys() != now.ports.keys():
        yield f"OVN has {sorted(now.rows.keys() ^ now.ports.keys())} too many or too few"
    for port, row in now.rows.items():
        if not _ours(port):
            continue
        home = now.home(port)
        chassis = f"chassis-{home}"
        yield from _row(port, row, chassis)
        binding = now.bindings.get(port, {})
        bound = now.chassis.get(str(binding.get("chassis")), "no chassis")
        if bound != chassis:
            yield f"{port} is bound to {bound}, the guest is on {home}"
        if binding.get("additional_chassis") or "additional-chassis-activated" in binding.get("options", {}):
            yield f"{port} still has an additional chassis"
        known = now.ports.get(port)
        if known is not None and (known.status.phase, known.status.node) != ("Bound", home):
            yield f"Port {port} says {known.status.phase} on {known.status.node}, the guest is on {home}"
        holders = [
            node
            for node, interfaces in now.interfaces.items()
            for interface in interfaces
            if interface["external_ids"].get("iface-id") == port
        ]
        if holders != [home]:
            yield f"{port} is claimed by interfaces on {holders}, the guest is on {home}"


def _ours(port: str) -> bool:
    """Whether it is one of those that faults are done to; what the other tenant has is its own affair."""
    return port.startswith(f"{NAMESPACE}/")


def _row(port: str, row: Object, chassis: str) -> Iterator[str]:
    if row["options"].get("requested-chassis") != chassis:
        yield f"{port} has requested-chassis {row['options'].get('requested-chassis')}, not {chassis}"
    if "activation-strategy" in row["options"]:
        yield f"{port} still has an activation-strategy"
    if any(key.startswith("virtnet/handoff-") for key in row["external_ids"]):
        yield f"{port} still has a journal"


def _leases(now: Picture) -> Iterator[str]:
    pinned: list[str] = []
    for vm in now.vms.values():
        for nic in json.loads(vm["metadata"].get("annotations", {}).get(PINNED, '{"nics":{}}'))["nics"].values():
            pinned += [nic["mac"], *nic["addresses"]]
    leases = [one for one in now.leases if _ours(one.spec.holder.key)]
    held = [one.spec.address for one in leases if one.spec.holder.owner.kind != "Pod"]
    if sorted(held) != sorted(pinned):
        yield f"leased are {sorted(held)}, pinned are {sorted(pinned)}"
    doubled = [address for address, count in Counter(one.spec.address for one in now.leases).items() if count > 1]
    if doubled:
        yield f"held twice: {doubled}"
    yield from (f"lease {one.name} is {one.status.phase}" for one in leases if one.status.phase != "Bound")
    leased = {(one.spec.holder.key, one.spec.address) for one in now.leases}
    for name, security in ((name, row["port_security"]) for name, row in now.rows.items()):
        if extra := {address for address in _addresses(security) if (name, address) not in leased}:
            yield f"{name} may send from {sorted(extra)}, of which it has no lease"
    for name, port in now.ports.items():
        row = now.rows.get(name)
        if row is not None and set(_addresses(row["addresses"])) != {port.spec.mac_address, *port.spec.addresses}:
            yield f"OVN has {row['addresses']} for {name}, the Port {port.spec.mac_address} {port.spec.addresses}"


def _addresses(value: Any) -> list[str]:
    return [address for entry in (value if isinstance(value, list) else [value]) for address in entry.split()]


def _handoffs(now: Picture) -> Iterator[str]:
    for name, node in now.nodes.items():
        if node.spec.handoffs or node.status.handoffs:
            yield f"NodeNetwork {name} still has handoffs of {sorted({*node.spec.handoffs, *node.status.handoffs})}"
        if not node.status.chassis:
            yield f"NodeNetwork {name} says no chassis"
    if now.nodes.keys() != set(plan.NODES):
        yield f"the NodeNetworks are {sorted(now.nodes)}"
    for name, port in now.ports.items():
        yield from (
            f"Port {name} has an unfinished record of migration {one.migration}"
            for one in port.status.handoffs
            if one.finished_at is None
        )


def _left(arena: Arena, now: Picture) -> Iterator[str]:
    """Of NICs: as many journals, host links and switch ports on a node as its live pods have, and no gate."""
    for name, node in arena.nodes.items():
        pods = [pod for pod in now.live if pod["spec"].get("nodeName") == name]
        nics = sum(len(json.loads(pod["metadata"]["annotations"].get(ATTACHMENTS, "{}"))) for pod in pods)
        counts = {
            "journals": len(list((node.names.journal / "attachments").glob("*.json"))),
            "links": _host_links(node.netns),
            "switch ports": len(now.interfaces[name]),
        }
        yield from (f"{name} has {count} {what} for {nics} NICs" for what, count in counts.items() if count != nics)
        broken = [one["name"] for one in now.interfaces[name] if one["error"]]
        if broken:
            yield f"{name} has broken switch ports {broken}"
        if gates := node.gates():
            yield f"{name} still has gates {gates}"


def _host_links(where: str) -> int:
    listed = json.loads(netns.run("ip", "-json", "link", "show", "type", "veth", netns=where) or "[]")
    return sum(link.get("ifname", "").startswith("vn") and len(link["ifname"]) == 13 for link in listed)


def _silent(arena: Arena, now: Picture, vm: str) -> str:
    port = now.ports.get(f"{NAMESPACE}/{vm}.blue")
    if port is None:
        return f"VM {vm} has no Port"
    address = next(one for one in port.spec.addresses if "." in one)
    return "" if answers(arena.lab, f"{NAMESPACE}/{PROBE}", address) else f"VM {vm} does not answer at {address}"
