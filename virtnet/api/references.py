"""References between kinds: each knows its scope, as cert-manager's issuerRef does."""

from typing import Literal

from pydantic import Field

from virtnet.api.grammar import NamespaceName, OptionalNamespaceName, ReferenceName
from virtnet.api.meta import Spec


class VpcRef(Spec):
    """Names the Vpc or ClusterVpc of a Subnet."""

    kind: Literal["Vpc", "ClusterVpc"] = Field(
        default="ClusterVpc", description="Vpc (of the same namespace) or ClusterVpc."
    )
    name: ReferenceName = Field(default="default", description="Its name.")

    def key(self, namespace: str) -> str:
        """The key of the Vpc that a Subnet of this namespace means: ``namespace/name`` or ``name``."""
        return f"{namespace}/{self.name}" if self.kind == "Vpc" else self.name


class SubnetRef(Spec):
    """Names a Subnet or ClusterSubnet from anywhere."""

    kind: Literal["Subnet", "ClusterSubnet"] = Field(description="Subnet or ClusterSubnet.")
    namespace: OptionalNamespaceName = Field(
        default="", description="The Subnet's namespace; empty for a ClusterSubnet."
    )
    name: NamespaceName = Field(min_length=1, description="Its name.")

    @property
    def key(self) -> str:
        """``namespace/name`` of a Subnet, ``name`` of a ClusterSubnet."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def suffix(self) -> str:
        """What distinguishes this Subnet's lease names from all others': ``name.namespace`` or ``name``."""
        return f"{self.name}.{self.namespace}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
