"""ProviderNetwork: which NIC of which node reaches a physical network."""

from typing import Annotated, ClassVar

from pydantic import Field

from virtnet.api.grammar import INTERFACE_NAME, Label, NodeName
from virtnet.api.meta import DELETING_COLUMN, Condition, Crd, PrinterColumn, Resource, Spec

NicName = Annotated[str, Field(min_length=1, max_length=15), INTERFACE_NAME]


class CustomNic(Spec):
    """A NIC name that holds for some nodes."""

    nic: NicName = Field(description="The NIC's name on these nodes.")
    nodes: tuple[NodeName, ...] = Field(
        min_length=1, max_length=1024, description="Names of the nodes that it holds for."
    )


class ProviderNetworkSpec(Spec):
    """Where a physical network is plugged in."""

    default_nic: NicName = Field(description="The NIC that reaches this network on nodes not named in customNics.")
    custom_nics: tuple[CustomNic, ...] = Field(
        default=(), max_length=256, description="Nodes whose NIC has another name."
    )
    node_selector: dict[Label, Label] = Field(
        default_factory=dict, description="Labels of the nodes that have this network; empty for every node."
    )
    exclude_nodes: tuple[NodeName, ...] = Field(
        default=(), max_length=1024, description="Nodes that do not have this network, whatever their labels."
    )


class NodeFailure(Spec):
    """Why one node does not have the network."""

    node: str = Field(description="The node.")
    nic: str = Field(default="", description="The NIC that it should use.")
    reason: str = Field(description="One CamelCase word for programs.")
    message: str = Field(default="", description="A sentence for people: what, where, and what to do.")


class ProviderNetworkStatus(Spec):
    """Where the network is ready."""

    nodes: int = Field(default=0, description="How many nodes are to have the network.")
    ready: int = Field(default=0, description="How many of them have it.")
    ready_nodes: tuple[str, ...] = Field(default=(), description="Nodes on which the network is plugged in.")
    failures: tuple[NodeFailure, ...] = Field(
        default=(), description="Nodes that are to have the network and do not, with the reason; at most 256."
    )
    conditions: tuple[Condition, ...] = Field(default=(), description="Ready.")
    observed_generation: int = Field(default=0, description="The generation that this status was computed from.")


class ProviderNetwork(Resource):
    """A physical network, and the NIC of each node that reaches it. Administrators own it."""

    crd: ClassVar[Crd] = Crd(
        plural="providernetworks",
        short_names=("pn",),
        namespaced=False,
        columns=(
            PrinterColumn("NIC", ".spec.defaultNic"),
            PrinterColumn("Nodes", ".status.nodes", "integer"),
            PrinterColumn("Plugged", ".status.ready", "integer"),
            PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            DELETING_COLUMN,
            PrinterColumn("Age", ".metadata.creationTimestamp", "date"),
        ),
        rules=(
            ("size(self.metadata.name) <= 63", "names have at most 63 characters"),
            ("self.metadata.name != 'int'", "its bridge would be br-int, which is OVN's own; choose another name"),
        ),
    )
    spec: ProviderNetworkSpec
    status: ProviderNetworkStatus = Field(default_factory=ProviderNetworkStatus)
