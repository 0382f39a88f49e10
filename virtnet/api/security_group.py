"""SecurityGroup and ClusterSecurityGroup: who may talk to a NIC, and to whom it may."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from virtnet.api.addresses import within
from virtnet.api.by_network import read_by_network
from virtnet.api.grammar import Label, NamespaceName, NetworkName, PeerCidr
from virtnet.api.meta import DELETING_COLUMN, GROUP, Condition, Crd, PrinterColumn, Resource, Spec
from virtnet.api.names import is_name
from virtnet.api.vpc import NAME_RULES

SECURITY_GROUPS = f"{GROUP}/security-groups"
"""On a VM or pod: the groups of its NICs, JSON ``{"<network>": ["<group>", ...]}``."""

MOST_RULES = 1024
"""Of one direction of a group."""

MOST_GROUPS = 32
"""Of one NIC, by name."""

Protocol = Literal["TCP", "UDP", "SCTP", "ICMP", "ICMPv6"]
RuleAction = Literal["Allow", "Deny"]


class LabelRequirement(Spec):
    """As in a LabelSelector of Kubernetes."""

    key: Label = Field(min_length=1, max_length=317, description="The label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="What of it must hold; NotIn holds where there is no such label."
    )
    values: tuple[Annotated[Label, Field(max_length=63)], ...] = Field(
        default=(), max_length=64, description="Of In and NotIn."
    )


class LabelSelector(Spec):
    """As of Kubernetes; an empty one selects all."""

    match_labels: dict[Annotated[Label, Field(max_length=317)], Annotated[Label, Field(max_length=63)]] = Field(
        default_factory=dict, max_length=64, description="Labels with their values, all of which must be there."
    )
    match_expressions: tuple[LabelRequirement, ...] = Field(
        default=(), max_length=64, description="Further requirements, all of which must hold."
    )


class GroupPeer(Spec):
    """Who is on the other side: exactly one of these."""

    security_group: NamespaceName | None = Field(
        default=None,
        min_length=1,
        description="NICs of this SecurityGroup of the same namespace, else of this ClusterSecurityGroup.",
    )
    subnet: NamespaceName | None = Field(
        default=None,
        min_length=1,
        description="Addresses of this Subnet of the same namespace, or else of this ClusterSubnet.",
    )
    cidr: PeerCidr | None = Field(default=None, description="Addresses of this network.")
    excluded: tuple[PeerCidr, ...] = Field(
        default=(), alias="except", max_length=64, description="Networks in cidr that are left out."
    )


class GroupPort(Spec):
    """Of what is sent: a protocol, and ports that it is sent to or a type that it has."""

    protocol: Protocol = Field(description="TCP, UDP, SCTP, ICMP or ICMPv6.")
    port: int | None = Field(default=None, ge=1, le=65535, description="Destination port; all where there is none.")
    end_port: int | None = Field(default=None, ge=1, le=65535, description="The last of a range that begins with port.")
    icmp_type: int | None = Field(default=None, ge=0, le=255, description="Type of ICMP; all where there is none.")


class GroupRule(Spec):
    """Packets that pass, or do not."""

    peers: tuple[GroupPeer, ...] = Field(default=(), max_length=256, description="Any of these; everybody for none.")
    ports: tuple[GroupPort, ...] = Field(default=(), max_length=256, description="Any of these; everything for none.")
    action: RuleAction = Field(default="Allow", description="Deny is for a ClusterSecurityGroup.")


class SecurityGroupSpec(Spec):
    """Rules for each NIC that is in the group."""

    selector: LabelSelector | None = Field(
        default=None,
        description="Workloads whose NICs are in the group without being told: by the labels of the VM's instance, "
        "while it is stopped of its template, or of the pod.",
    )
    networks: tuple[NetworkName, ...] = Field(
        default=(), max_length=64, description="Only their NICs in these networks; in all for none."
    )
    allowed_namespaces: tuple[NamespaceName, ...] = Field(
        default=(),
        max_length=1024,
        description="ClusterSecurityGroup: namespaces whose workloads it selects, and that may name it; all for none.",
    )
    ingress: tuple[GroupRule, ...] | None = Field(
        default=None,
        max_length=MOST_RULES,
        description="What a NIC may get. An empty list: nothing; left out: this group says nothing of it.",
    )
    egress: tuple[GroupRule, ...] | None = Field(
        default=None,
        max_length=MOST_RULES,
        description="What a NIC may send. An empty list: nothing; left out: this group says nothing of it.",
    )
    stateful: bool = Field(
        default=True, description="Whether answers pass by themselves. Otherwise each direction needs its rule."
    )

    established_by_flags: bool = Field(
        default=False,
        description="Whether TCP that does not open a connection passes untracked, so that connections outlive a live "
        "migration. Whoever may not open one may then send such packets all the same.",
    )

    def allows(self, namespace: str) -> bool:
        return not self.allowed_namespaces or namespace in self.allowed_namespaces

    @property
    def isolates(self) -> bool:
        """Whether it drops what no rule of it lets pass. Denials alone leave the rest to other groups."""
        given = (rules for rules in (self.ingress, self.egress) if rules is not None)
        return any(not rules or any(rule.action != "Deny" for rule in rules) for rules in given)

    @property
    def rules(self) -> Iterator[tuple[str, GroupRule]]:
        """Each with where it stands."""
        for direction, rules in (("ingress", self.ingress), ("egress", self.egress)):
            yield from ((f"{direction}[{number}]", rule) for number, rule in enumerate(rules or ()))


class SecurityGroupStatus(Spec):
    """What has become of the group."""

    conditions: tuple[Condition, ...] = Field(
        default=(), description="Ready; RuleIncomplete where rules name what is not there; Deleting while it is named."
    )
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


COLUMNS = (
    PrinterColumn("Stateful", ".spec.stateful", "boolean"),
    PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    DELETING_COLUMN,
    PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
)


class SecurityGroup(Resource):
    """A tenant's rules for NICs, named by its workloads and Subnets, or selecting workloads by their labels."""

    crd: ClassVar[Crd] = Crd(
        plural="securitygroups",
        short_names=("sg",),
        columns=COLUMNS,
        rules=(
            *NAME_RULES,
            (
                "!has(self.spec) || !has(self.spec.allowedNamespaces) || size(self.spec.allowedNamespaces) == 0",
                "allowedNamespaces is for a ClusterSecurityGroup: a SecurityGroup serves its own namespace",
            ),
        ),
    )
    spec: SecurityGroupSpec = Field(default_factory=SecurityGroupSpec)
    status: SecurityGroupStatus = Field(default_factory=SecurityGroupStatus)


class ClusterSecurityGroup(Resource):
    """Rules that come before those of tenants, and may deny. Administrators own it."""

    crd: ClassVar[Crd] = Crd(
        plural="clustersecuritygroups", short_names=("csg",), namespaced=False, columns=COLUMNS, rules=NAME_RULES
    )
    spec: SecurityGroupSpec = Field(default_factory=SecurityGroupSpec)
    status: SecurityGroupStatus = Field(default_factory=SecurityGroupStatus)


def mistake(spec: SecurityGroupSpec, *, may_deny: bool) -> str:
    """What is wrong with a group, where, and what to do; empty for nothing."""
    if spec.selector and (problem := selector_mistake(spec.selector)):
        return problem
    for where, rule in spec.rules:
        if rule.action == "Deny" and not may_deny:
            return f"{where}: Deny is for a ClusterSecurityGroup: leave out what allows it, or ask an administrator"
        for number, peer in enumerate(rule.peers):
            if problem := _mistake_in_peer(peer):
                return f"{where}.peers[{number}]: {problem}"
        for number, port in enumerate(rule.ports):
            if problem := _mistake_in_port(port):
                return f"{where}.ports[{number}]: {problem}"
    return ""


def selector_mistake(selector: LabelSelector) -> str:
    """What is wrong with the selector of an object, and where; empty for nothing."""
    for number, one in enumerate(selector.match_expressions):
        if (one.operator in ("In", "NotIn")) != bool(one.values):
            return f"selector.matchExpressions[{number}]: In and NotIn need values, Exists and DoesNotExist have none"
    return ""


def _mistake_in_peer(peer: GroupPeer) -> str:
    if sum(one is not None for one in (peer.security_group, peer.subnet, peer.cidr)) != 1:
        return "name one of securityGroup, subnet and cidr"
    if peer.excluded and peer.cidr is None:
        return "except is for a cidr"
    if peer.cidr is None:
        return ""
    whole = ip_network(peer.cidr)
    for text in peer.excluded:
        if not within(ip_network(text), whole):
            return f"except {text} is not within {peer.cidr}"
    return ""


def _mistake_in_port(port: GroupPort) -> str:
    if port.protocol.startswith("ICMP"):
        return "ICMP has no ports; write icmpType" if port.port is not None or port.end_port is not None else ""
    if port.icmp_type is not None:
        return f"{port.protocol} has no icmpType"
    if port.end_port is not None and (port.port is None or port.end_port < port.port):
        return "endPort is the last of a range that begins with port, and not below that"
    return ""


def groups_in(text: str | None) -> dict[str, tuple[str, ...]]:
    """Network -> names of groups, by the annotation SECURITY_GROUPS. Raises ValueError, which says what form it has."""
    found = read_by_network(text)
    for network, names in found.items():
        if not isinstance(names, list) or not all(isinstance(name, str) and is_name(name) for name in names):
            raise ValueError(f"{network} has no list of groups' names")
        if len(names) > MOST_GROUPS:
            raise ValueError(f"{network} has {len(names)} groups; a NIC has at most {MOST_GROUPS} by name")
    return {network: tuple(dict.fromkeys(names)) for network, names in found.items()}
