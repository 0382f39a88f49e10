"""What is asked of us, from one place: the URLs in the webhook configurations, the server's routes, kopf's handler ids.

kopf answers what no handler of it matches with "allowed": an unknown path, or a kind sent to another kind's path. So
the server refuses what is not in this table, and the handlers are registered from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.api import GROUP, VERSION


@dataclass(frozen=True)
class Webhook:
    """One path, and what the API server asks about there."""

    path: str
    group: str
    version: str
    plurals: tuple[str, ...]
    operations: tuple[str, ...]
    subresources: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How the API server calls it when it tells people of a refusal."""
        return f"{self.path}.{GROUP}"

    def serves(self, request: Mapping[str, Any]) -> bool:
        """Whether the request of an AdmissionReview belongs here."""
        resource = request.get("resource") or {}
        return (
            resource.get("group") == self.group
            and resource.get("version") == self.version
            and resource.get("resource") in self.plurals
            and (request.get("subResource") or "") in ("", *self.subresources)
            and request.get("operation") in self.operations
        )


PIN_VM = Webhook("pin-vm", "kubevirt.io", "v1", ("virtualmachines",), ("CREATE", "UPDATE"))
MARK_POD = Webhook("mark-pod", "", "v1", ("pods",), ("CREATE", "UPDATE"), ("status",))
CHECK_SUBNET = Webhook("check-subnet", GROUP, VERSION, ("subnets", "clustersubnets"), ("CREATE", "UPDATE", "DELETE"))
CHECK_PROVIDER_NETWORK = Webhook(
    "check-provider-network", GROUP, VERSION, ("providernetworks",), ("CREATE", "UPDATE", "DELETE")
)
CHECK_NAD = Webhook("check-nad", "k8s.cni.cncf.io", "v1", ("network-attachment-definitions",), ("CREATE", "UPDATE"))

ALL = {webhook.path: webhook for webhook in (PIN_VM, MARK_POD, CHECK_SUBNET, CHECK_PROVIDER_NETWORK, CHECK_NAD)}
