"""What is asked of us, from one place: the URLs in the webhook configurations, the server's routes, kopf's handler ids.

kopf answers what no handler of it matches with "allowed": an unknown path, or a kind sent to another kind's path. So
the server refuses what is not in this table, and the handlers are registered from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.api import GROUP, VERSION
from virtnet.features import FEATURES


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
CHECK = Webhook(
    "check", GROUP, VERSION, tuple(one.model.crd.plural for one in FEATURES if one.check), ("CREATE", "UPDATE")
)
KEEP_DEFAULT = Webhook(
    "keep-default", GROUP, VERSION, tuple(one.model.crd.plural for one in FEATURES if one.defaults), ("DELETE",)
)
"""The deletion of any other object asks nobody: it is taken, and waits for those who use it."""
CHECK_NAD = Webhook("check-nad", "k8s.cni.cncf.io", "v1", ("network-attachment-definitions",), ("CREATE", "UPDATE"))
TELL_NAD_USERS = Webhook("tell-nad-users", CHECK_NAD.group, CHECK_NAD.version, CHECK_NAD.plurals, ("DELETE",))
"""Only warns, and so nothing waits for it."""

ALL = {webhook.path: webhook for webhook in (PIN_VM, MARK_POD, CHECK, KEEP_DEFAULT, CHECK_NAD, TELL_NAD_USERS)}
