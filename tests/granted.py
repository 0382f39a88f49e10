"""What manifests/rbac grants virtnet's service accounts, right by right."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.conftest import REPOSITORY
from virtnet.api import GROUP
from virtnet.features import MODELS
from virtnet.lab import manifests
from virtnet.lab.audit import Request, named

EVERY = {
    "*": [model.crd.plural for model in MODELS],
    "*/status": [f"{model.crd.plural}/status" for model in MODELS],
}
"""What a rule means by all of our kinds. None has another subresource."""


class Right(NamedTuple):
    """One verb on one resource."""

    account: str
    verb: str
    resource: str
    namespace: str
    """Empty: all."""
    name: str
    """Empty: of any."""

    def covers(self, request: Request) -> bool:
        return self[:3] == request[:3] and self.namespace in ("", request.namespace) and self.name in ("", request.name)

    def __str__(self) -> str:
        return " ".join(filter(None, (self.account, self.verb, self.resource, self.name)))


def granted() -> list[Right]:
    """Of all roles that a service account of virtnet's is bound to."""
    found = list(manifests.read(REPOSITORY / "manifests" / "rbac"))
    roles = {_key(body): body for body in found if body["kind"] in ("Role", "ClusterRole")}
    bindings = [body for body in found if body["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    return [
        right
        for binding in bindings
        for subject in binding["subjects"]
        for rule in roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]["rules"]
        for right in _rights(subject["name"], binding["metadata"].get("namespace", ""), rule)
    ]


def _key(body: dict[str, Any]) -> tuple[str, str]:
    return body["kind"], body["metadata"]["name"]


def _rights(account: str, namespace: str, rule: dict[str, Any]) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for written in rule["resources"]:
            for resource in EVERY[written] if group == GROUP and written in EVERY else [written]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(account, verb, named(group, resource), namespace, name)
