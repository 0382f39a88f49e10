"""The webhook configurations, from the same constants as the handlers: ``python -m webhooks.manifests FOLDER``."""

import base64
import sys
from pathlib import Path
from typing import Any

import yaml

from virtnet.api import GROUP, VERSION
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ATTACHMENTS
from webhooks import paths

HEADER = "# Generated from webhooks/manifests.py by `make generate`. Do not edit.\n"
NAME = "virtnet"
SERVICE = {"namespace": "virtnet", "name": "virtnet-webhook", "port": 443}
TIMEOUT_SECONDS = 5

_ANNOTATIONS = "has(object.metadata.annotations) && '{0}' in object.metadata.annotations"
_OLD_ANNOTATIONS = "oldObject != null && has(oldObject.metadata.annotations) && '{0}' in oldObject.metadata.annotations"
USES_MULTUS = (
    "has(object.spec.template.spec.networks) && object.spec.template.spec.networks.exists(n, has(n.multus))"
    " || has(object.metadata.annotations) && 'virtnet.dev/pinned' in object.metadata.annotations"
)
HAS_NETWORKS = " || ".join(
    text.format(name) for name in (NETWORKS, ATTACHMENTS) for text in (_ANNOTATIONS, _OLD_ANNOTATIONS)
)


def configurations(*, url: str = "", ca_bundle: bytes = b"") -> list[dict[str, Any]]:
    """Both configurations. With a URL (a process outside of the cluster's network) or for the Service.

    ``ca_bundle``: PEM of the authority behind the server's certificate; without it, cert-manager injects it.
    """

    def client(path: str) -> dict[str, Any]:
        where: dict[str, Any] = {"url": f"{url}/{path}"} if url else {"service": {**SERVICE, "path": f"/{path}"}}
        return {**where, **({"caBundle": base64.b64encode(ca_bundle).decode()} if ca_bundle else {})}

    def webhook(path: str, rule: dict[str, Any], conditions: dict[str, str], **more: Any) -> dict[str, Any]:
        return {
            "name": f"{path}.{GROUP}",
            "clientConfig": client(path),
            "rules": [rule],
            "matchConditions": [{"name": name, "expression": text} for name, text in conditions.items()],
            "failurePolicy": "Fail",
            "timeoutSeconds": TIMEOUT_SECONDS,
            "matchPolicy": "Equivalent",
            "admissionReviewVersions": ["v1"],
            **more,
        }

    mutating = {"sideEffects": "NoneOnDryRun", "reinvocationPolicy": "IfNeeded"}
    return [
        _configuration(
            "MutatingWebhookConfiguration",
            [
                webhook(
                    paths.PIN_VM,
                    _rule("kubevirt.io", "v1", "virtualmachines"),
                    {"uses-multus": USES_MULTUS},
                    **mutating,
                ),
                webhook(paths.MARK_POD, _rule("", "v1", "pods"), {"has-networks": HAS_NETWORKS}, **mutating),
            ],
            injected=not ca_bundle,
        ),
        _configuration(
            "ValidatingWebhookConfiguration",
            [
                webhook(
                    paths.CHECK_SUBNET,
                    _rule(GROUP, VERSION, "subnets", "clustersubnets", verbs=("CREATE", "UPDATE", "DELETE")),
                    {},
                    sideEffects="None",
                )
            ],
            injected=not ca_bundle,
        ),
    ]


def _rule(group: str, version: str, *resources: str, verbs: tuple[str, ...] = ("CREATE", "UPDATE")) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": list(resources),
        "operations": list(verbs),
        "scope": "*",
    }


def _configuration(kind: str, webhooks: list[dict[str, Any]], *, injected: bool) -> dict[str, Any]:
    annotations = {"cert-manager.io/inject-ca-from": "virtnet/virtnet-webhook"} if injected else {}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": NAME, **({"annotations": annotations} if annotations else {})},
        "webhooks": webhooks,
    }


def content() -> str:
    """The file ``configurations.yaml``."""
    return HEADER + yaml.safe_dump_all(configurations(), sort_keys=False, width=120)


if __name__ == "__main__":
    (Path(sys.argv[1]) / "configurations.yaml").write_text(content())
