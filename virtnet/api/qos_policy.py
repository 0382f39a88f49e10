"""QosPolicy and ClusterQosPolicy: how fast a NIC may send and receive, and how its packets are marked."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from virtnet.api.by_network import read_by_network
from virtnet.api.grammar import NamespaceName, ReferenceName
from virtnet.api.meta import DELETING_COLUMN, GROUP, Condition, Crd, PrinterColumn, Resource, Spec
from virtnet.api.names import is_name

QOS = f"{GROUP}/qos"
"""On a VM: the policies of its NICs, JSON ``{"<network>": "<policy>"}``."""

LONGEST_BURST = 10
"""Seconds of the rate."""


class QosPolicyRef(Spec):
    """Names the QosPolicy or ClusterQosPolicy of a Subnet."""

    kind: Literal["QosPolicy", "ClusterQosPolicy"] = Field(
        default="QosPolicy", description="QosPolicy (of the same namespace) or ClusterQosPolicy."
    )
    name: ReferenceName = Field(description="Its name.")

    def key(self, namespace: str) -> str:
        """The key of the policy that a Subnet of this namespace means: ``namespace/name`` or ``name``."""
        return f"{namespace}/{self.name}" if self.kind == "QosPolicy" else self.name


class QosLimit(Spec):
    """One direction of a NIC, as its guest sees it."""

    rate_kbps: int | None = Field(
        default=None,
        ge=64,
        le=400_000_000,
        description="Kilobits a second; what is more is dropped. Not below 64, where no jumbo frame would pass.",
    )
    burst_kbits: int | None = Field(
        default=None,
        ge=1,
        le=4_000_000_000,
        description="Kilobits that may pass at once after a pause: at most ten seconds of rateKbps. Default: 0.8 s.",
    )
    dscp: int | None = Field(default=None, ge=0, le=63, description="What its IP packets are marked with (RFC 2474).")

    @property
    def burst(self) -> int | None:
        """Kilobits; None without a rate."""
        if self.rate_kbps is None:
            return None
        return self.burst_kbits or -(-self.rate_kbps * 4 // 5)


class QosPolicySpec(Spec):
    """Limits of each NIC that it is for: each has them to itself."""

    egress: QosLimit = Field(default_factory=QosLimit, description="What the guest sends.")
    ingress: QosLimit = Field(default_factory=QosLimit, description="What the guest receives.")
    enforced: bool = Field(
        default=False,
        description="Whether it bounds every NIC of the namespaces that it allows, whatever else is chosen for it: of "
        "rates and bursts the lowest counts, and its DSCP takes the place of others. Not for a namespaced QosPolicy.",
    )
    allowed_namespaces: tuple[NamespaceName, ...] = Field(
        default=(),
        max_length=1024,
        description="Namespaces that may name a ClusterQosPolicy; empty for all. Not for a namespaced QosPolicy.",
    )

    def allows(self, namespace: str) -> bool:
        return not self.allowed_namespaces or namespace in self.allowed_namespaces


class QosPolicyStatus(Spec):
    """What has become of the policy."""

    conditions: tuple[Condition, ...] = Field(
        default=(), description="Ready; Deleting while Subnets or VMs still name it."
    )
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


def _rules() -> Iterator[tuple[str, str]]:
    yield (
        "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
        "names have at most 63 characters, no dots",
    )
    for direction in ("egress", "ingress"):
        limit = f"self.spec.{direction}"
        yield (
            f"!has(self.spec) || !has({limit}) || !has({limit}.burstKbits) || (has({limit}.rateKbps)"
            f" && {limit}.burstKbits <= {LONGEST_BURST} * {limit}.rateKbps)",
            f"{direction}: burstKbits is for a rateKbps, and at most {LONGEST_BURST} seconds of it",
        )


COLUMNS = (
    PrinterColumn("Egress", ".spec.egress.rateKbps", "integer"),
    PrinterColumn("Ingress", ".spec.ingress.rateKbps", "integer"),
    PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    DELETING_COLUMN,
    PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
)


class QosPolicy(Resource):
    """A tenant's limits for NICs, named by its Subnets and VMs."""

    crd: ClassVar[Crd] = Crd(
        plural="qospolicies",
        columns=COLUMNS,
        rules=(
            *_rules(),
            (
                "!has(self.spec) || ((!has(self.spec.enforced) || !self.spec.enforced)"
                " && (!has(self.spec.allowedNamespaces) || size(self.spec.allowedNamespaces) == 0))",
                "enforced and allowedNamespaces are for a ClusterQosPolicy: a QosPolicy serves its own namespace",
            ),
        ),
    )
    spec: QosPolicySpec = Field(default_factory=QosPolicySpec)
    status: QosPolicyStatus = Field(default_factory=QosPolicyStatus)


class ClusterQosPolicy(Resource):
    """Limits for NICs in all namespaces, or in those that it allows. Administrators own it."""

    crd: ClassVar[Crd] = Crd(
        plural="clusterqospolicies",
        short_names=("cqos",),
        namespaced=False,
        columns=(*COLUMNS[:2], PrinterColumn("Enforced", ".spec.enforced", "boolean"), *COLUMNS[2:]),
        rules=tuple(_rules()),
    )
    spec: QosPolicySpec = Field(default_factory=QosPolicySpec)
    status: QosPolicyStatus = Field(default_factory=QosPolicyStatus)


def policies_in(text: str | None) -> dict[str, str]:
    """Network -> name of the policy, by the annotation QOS. Raises ValueError, which says what form it has."""
    found = read_by_network(text)
    for network, name in found.items():
        if not isinstance(name, str) or not is_name(name):
            raise ValueError(f"{network} has no policy's name")
    return found
