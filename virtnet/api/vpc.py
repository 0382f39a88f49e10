"""Vpc and ClusterVpc: one OVN logical router; Subnets in it reach each other."""

from typing import ClassVar

from pydantic import Field

from virtnet.api.addresses import Destination
from virtnet.api.grammar import NamespaceName
from virtnet.api.meta import DELETING_COLUMN, Condition, Crd, PrinterColumn, Resource, Spec

NAME_RULES = (
    ("size(self.metadata.name) <= 63", "names have at most 63 characters"),
    ("!self.metadata.name.contains('.')", "names have no dots, because lease names are built from them"),
)


class AllowedCidrs(Spec):
    """Networks of which some namespaces may have Subnets."""

    cidrs: tuple[Destination, ...] = Field(min_length=1, max_length=64, description="The networks.")
    namespaces: tuple[NamespaceName, ...] = Field(
        default=(), max_length=1024, description="Namespaces whose Subnets may lie in them; empty for all."
    )


class VpcSpec(Spec):
    """A routing domain."""

    allowed_namespaces: tuple[NamespaceName, ...] = Field(
        default=(),
        max_length=1024,
        description="Namespaces that may put Subnets into a ClusterVpc; empty for all. Not for a namespaced Vpc.",
    )
    allowed_cidrs: tuple[AllowedCidrs, ...] = Field(
        default=(),
        max_length=64,
        description="Which networks the Subnets of which namespaces may have in a ClusterVpc; empty for any. "
        "ClusterSubnets may have all. Not for a namespaced Vpc.",
    )


class VpcStatus(Spec):
    """What the Vpc has become."""

    subnets: tuple[str, ...] = Field(
        default=(), description="The Subnets in it: namespace/name, or name of a ClusterSubnet."
    )
    conditions: tuple[Condition, ...] = Field(default=(), description="Ready.")
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


COLUMNS = (
    PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    PrinterColumn("Subnets", ".status.subnets"),
    DELETING_COLUMN,
    PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
)


class Vpc(Resource):
    """A tenant's routing domain: its Subnets reach each other and nothing else."""

    crd: ClassVar[Crd] = Crd(
        plural="vpcs",
        columns=COLUMNS,
        rules=(
            *NAME_RULES,
            (
                "!has(self.spec) || !has(self.spec.allowedNamespaces) || size(self.spec.allowedNamespaces) == 0",
                "allowedNamespaces is for a ClusterVpc: a Vpc serves its own namespace",
            ),
            (
                "!has(self.spec) || !has(self.spec.allowedCidrs) || size(self.spec.allowedCidrs) == 0",
                "allowedCidrs is for a ClusterVpc: a Vpc serves its own namespace",
            ),
        ),
    )
    spec: VpcSpec = Field(default_factory=VpcSpec)
    status: VpcStatus = Field(default_factory=VpcStatus)


class ClusterVpc(Resource):
    """A routing domain for all namespaces, or for those that it allows. ``default`` exists from the start."""

    crd: ClassVar[Crd] = Crd(
        plural="clustervpcs", short_names=("cvpc",), namespaced=False, columns=COLUMNS, rules=NAME_RULES
    )
    spec: VpcSpec = Field(default_factory=VpcSpec)
    status: VpcStatus = Field(default_factory=VpcStatus)
