"""What Kubernetes says of network policies, by their manifests alone: nothing of how virtnet compiles them is used."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """A pod, or the NIC of a VM."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    addresses: tuple[str, str]
    """IPv4, IPv6."""
    ports: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Protocol and name -> number."""
    network: str = ""
    """The NAD of its NIC; empty for the pod network."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Packet:
    """What opens a connection."""

    source: Endpoint
    target: Endpoint
    protocol: str
    port: int
    version: int = 4

    @property
    def source_address(self) -> str:
        return self.source.addresses[self.version == 6]

    @property
    def target_address(self) -> str:
        return self.target.addresses[self.version == 6]


@dataclass(frozen=True)
class Oracle:
    """The policies of a cluster, and its namespaces' labels."""

    policies: tuple[Manifest, ...]
    namespaces: Mapping[str, Mapping[str, str]]

    def passes(self, packet: Packet) -> bool:
        return self.leaves(packet) and self.arrives(packet)

    def arrives(self, packet: Packet) -> bool:
        of = [one for one in self._selecting(packet.target) if "Ingress" in types(one)]
        rules = [(one, rule) for one in of for rule in one["spec"].get("ingress") or []]
        return not of or any(
            self._concerns(rule, "from", packet.source, packet.source_address, policy, packet) for policy, rule in rules
        )

    def leaves(self, packet: Packet) -> bool:
        of = [one for one in self._selecting(packet.source) if "Egress" in types(one)]
        rules = [(one, rule) for one in of for rule in one["spec"].get("egress") or []]
        return not of or any(
            self._concerns(rule, "to", packet.target, packet.target_address, policy, packet) for policy, rule in rules
        )

    def _selecting(self, endpoint: Endpoint) -> list[Manifest]:
        return [
            policy
            for policy in self.policies
            if policy["metadata"]["namespace"] == endpoint.namespace
            and on_network(policy, endpoint)
            and selected(policy["spec"].get("podSelector") or {}, endpoint.labels)
        ]

    def _concerns(
        self, rule: Manifest, side: str, other: Endpoint, address: str, policy: Manifest, packet: Packet
    ) -> bool:
        peers, ports = rule.get(side) or [], rule.get("ports") or []
        of_peer = not peers or any(self._is_peer(peer, other, address, policy) for peer in peers)
        return of_peer and (not ports or any(to_port(port, packet) for port in ports))

    def _is_peer(self, peer: Manifest, other: Endpoint, address: str, policy: Manifest) -> bool:
        if block := peer.get("ipBlock"):
            return within(address, [block["cidr"]]) and not within(address, block.get("except") or [])
        if not on_network(policy, other):
            return False
        if "namespaceSelector" in peer:
            if not selected(peer["namespaceSelector"], self.namespaces[other.namespace]):
                return False
        elif other.namespace != policy["metadata"]["namespace"]:
            return False
        return selected(peer.get("podSelector") or {}, other.labels)


def types(policy: Manifest) -> list[str]:
    said = policy["spec"].get("policyTypes")
    return said or ["Ingress", *(["Egress"] if policy["spec"].get("egress") else [])]


def on_network(policy: Manifest, endpoint: Endpoint) -> bool:
    if policy["kind"] == "NetworkPolicy":
        return not endpoint.network
    text = policy["metadata"].get("annotations", {}).get("k8s.v1.cni.cncf.io/policy-for", "")
    names = text.replace(" ", "").split(",")
    return endpoint.network in [name if "/" in name else f"{policy['metadata']['namespace']}/{name}" for name in names]


def selected(selector: Manifest, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _holds(one["operator"], labels.get(one["key"]), one.get("values") or [])
        for one in selector.get("matchExpressions") or []
    )


def _holds(operator: str, label: str | None, values: Collection[str]) -> bool:
    if operator == "In":
        return label in values
    if operator == "NotIn":
        return label not in values
    return (label is not None) == (operator == "Exists")


def within(address: str, networks: Iterable[str]) -> bool:
    return any(ip_address(address) in ip_network(one) for one in networks)


def to_port(port: Manifest, packet: Packet) -> bool:
    if port.get("protocol", "TCP") != packet.protocol:
        return False
    wanted = port.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return packet.target.ports.get((packet.protocol, wanted)) == packet.port
    return bool(wanted <= packet.port <= port.get("endPort", wanted))
