"""ClusterPortMirror: whose traffic is copied, and to which collector."""

from typing import ClassVar, Literal

from pydantic import Field

from virtnet.api.grammar import HostAddress, NamespaceName, NetworkName
from virtnet.api.meta import Condition, Crd, PrinterColumn, Resource, Spec
from virtnet.api.security_group import LabelSelector
from virtnet.api.vpc import NAME_RULES

MirrorDirection = Literal["Both", "Egress", "Ingress"]


class MirrorCollector(Spec):
    """Who gets the copies."""

    address: HostAddress = Field(description="Its address. Nodes send to it by themselves, as to each other.")
    protocol: Literal["GRE", "ERSPAN"] = Field(default="GRE", description="What copies are wrapped in: GRE or ERSPAN.")
    key: int = Field(
        default=0,
        ge=0,
        le=0xFFFFE,
        description="The key of GRE, or the index of ERSPAN, of what guests send; what they receive has the next one.",
    )


class ClusterPortMirrorSpec(Spec):
    """NICs, and a collector of what they send and receive."""

    selector: LabelSelector = Field(
        default_factory=LabelSelector,
        description="Workloads whose NICs are meant: by the labels of the VM's instance, while it is stopped of its "
        "template, or of the pod.",
    )
    namespaces: tuple[NamespaceName, ...] = Field(
        default=(), max_length=1024, description="Only workloads of these namespaces; of all for none."
    )
    networks: tuple[NetworkName, ...] = Field(
        default=(), max_length=64, description="Only their NICs in these networks; in all for none."
    )
    direction: MirrorDirection = Field(
        default="Both", description="What is copied, as the guest sees it: what it sends (Egress), receives, or both."
    )
    collector: MirrorCollector = Field(description="Who gets the copies.")


class ClusterPortMirrorStatus(Spec):
    """What has become of the mirror."""

    conditions: tuple[Condition, ...] = Field(default=(), description="Ready; UnsupportedByOvn.")
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


class ClusterPortMirror(Resource):
    """Copies of what NICs send and receive, for a collector. Administrators own it."""

    crd: ClassVar[Crd] = Crd(
        plural="clusterportmirrors",
        short_names=("cpm",),
        namespaced=False,
        columns=(
            PrinterColumn("Collector", ".spec.collector.address"),
            PrinterColumn("Protocol", ".spec.collector.protocol"),
            PrinterColumn("Direction", ".spec.direction"),
            PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        ),
        rules=NAME_RULES,
    )
    spec: ClusterPortMirrorSpec
    status: ClusterPortMirrorStatus = Field(default_factory=ClusterPortMirrorStatus)
