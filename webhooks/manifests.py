"""The webhook configurations and rights, from the handlers and features: ``python -m webhooks.manifests manifests``."""

import base64
import sys
from pathlib import Path
from typing import Any

import yaml

from virtnet.api.multus import DEFAULT_NETWORK, NETWORKS
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, CNI_TYPE, PINNED
from virtnet.api.vm_requests import OWN
from virtnet.features import FEATURES
from webhooks import paths
from webhooks.paths import Webhook
from webhooks.rights import rights

HEADER = "# Generated from webhooks/{} by `make generate`. Do not edit.\n"
NAME = "virtnet"
SERVICE = {"namespace": "virtnet", "name": "virtnet-webhook", "port": 443}
TIMEOUT_SECONDS = 10
"""For a VM of 32 NICs, whose hundred leases a busy API server takes seconds for."""

# What is not changed by an update is not asked about: with every virtnet process dead VMs are written, stop and are
# deleted. A start or a migration is begun; its pod is refused, and KubeVirt makes it anew until a process is back.
_ANNOTATION = "{0}.metadata.?annotations[?'{1}'].orValue('')"


def _differs(expression: str, absent: str) -> str:
    """CEL: whether an expression over ``{0}`` differs between the old object and the new, or from ``absent``."""
    old = f"(oldObject == null ? {absent} : {expression.replace('{0}', 'oldObject')})"
    return f"{expression.replace('{0}', 'object')} != {old}"


def _annotation(name: str) -> str:
    return _ANNOTATION.replace("{1}", name)


EMPTY = "''"
_RECORD = _annotation(PINNED).replace("{0}", "object")
VM_CONDITIONS = {
    # A deletion never waits for us. Whether it is one, only the stored object says: a create may claim it, too.
    "is-not-being-deleted-or-gets-another-record": " ||\n".join(
        (
            "oldObject == null",
            "!has(oldObject.metadata.deletionTimestamp)",
            f"{_RECORD} != '' && {_differs(_annotation(PINNED), EMPTY)}",
        )
    ),
    "uses-multus-or-has-a-record": (
        f"object.spec.template.?spec.?networks.orValue([]).exists(n, has(n.multus)) || {_RECORD} != ''"
    ),
    "is-not-pinned-or-changes": " ||\n".join(
        (
            f"{_RECORD} == ''",
            _differs(_annotation(PINNED), EMPTY),
            *(_differs(_annotation(name), EMPTY) for name in OWN),
            _differs("{0}.spec.template.?metadata.?annotations.orValue({})", "{}"),
            _differs("{0}.spec.template.?spec.?networks.orValue([])", "[]"),
            _differs("{0}.spec.template.?spec.?domain.?devices.?interfaces.orValue([])", "[]"),
        )
    ),
}
POD_CONDITIONS = {
    "networks-or-attachments-change": " ||\n".join(
        (
            *(_differs(_annotation(name), "''") for name in (NETWORKS, DEFAULT_NETWORK, ATTACHMENTS)),
            _differs("{0}.metadata.?labels[?'" + ATTACHED_LABEL + "'].orValue('')", "''"),
        )
    )
}
# Where the pod network is virtnet's, too, all VMs on it are asked about, and all pods when they are made.
DEFAULT_VM_CONDITIONS = {
    **VM_CONDITIONS,
    "uses-multus-or-has-a-record": VM_CONDITIONS["uses-multus-or-has-a-record"].replace(
        ".exists(n, has(n.multus))",
        ".exists(n, has(n.multus) || has(n.pod)) || object.spec.template.?spec.?networks.orValue([]).size() == 0",
    ),
}
DEFAULT_POD_CONDITIONS = {
    "networks-or-attachments-change": "(oldObject == null && !object.spec.?hostNetwork.orValue(false)) ||\n"
    + POD_CONDITIONS["networks-or-attachments-change"]
}
SPEC_CONDITIONS = {"spec-changes": "request.operation != 'UPDATE' || object.spec != oldObject.spec"}
DEFAULT_CONDITIONS = {
    "is-a-default": " ||\n".join(
        f"request.resource.resource == '{feature.model.crd.plural}' && request.name == '{one.name}'"
        for feature in FEATURES
        for one in feature.defaults
    )
}
_CONFIG = "{0}.?spec.?config.orValue('')"
_WAS_OURS = f"{_CONFIG.replace('{0}', 'oldObject')}.contains('{CNI_TYPE}')"
NAD_CONDITIONS = {
    "is-or-was-virtnets": (
        f"{_CONFIG.replace('{0}', 'object')}.contains('{CNI_TYPE}') || (oldObject != null && {_WAS_OURS})"
    ),
    "config-changes": _differs(_CONFIG, "''"),
}
GONE_NAD_CONDITIONS = {"was-virtnets": _WAS_OURS}

NOT_THE_SYSTEM = {
    "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]
}


def configurations(*, url: str = "", ca_bundle: bytes = b"", pod_network: bool = False) -> list[dict[str, Any]]:
    """Both configurations. With a URL (a process outside of the cluster's network) or for the Service.

    ``pod_network``: whether the cluster's pod network is virtnet's, too. ``ca_bundle``: PEM of the authority behind the
    server's certificate; without it, cert-manager injects it.
    """

    def client(webhook: Webhook) -> dict[str, Any]:
        path = f"/{webhook.path}"
        where: dict[str, Any] = {"url": f"{url}{path}"} if url else {"service": {**SERVICE, "path": path}}
        return {**where, **({"caBundle": base64.b64encode(ca_bundle).decode()} if ca_bundle else {})}

    def entry(webhook: Webhook, conditions: dict[str, str], **more: Any) -> dict[str, Any]:
        return {
            "name": webhook.name,
            "clientConfig": client(webhook),
            "rules": [_rule(webhook)],
            "matchConditions": [{"name": name, "expression": text} for name, text in conditions.items()],
            "failurePolicy": "Fail",
            "timeoutSeconds": TIMEOUT_SECONDS,
            "matchPolicy": "Equivalent",
            "admissionReviewVersions": ["v1"],
            **more,
        }

    vms, pods = (DEFAULT_VM_CONDITIONS, DEFAULT_POD_CONDITIONS) if pod_network else (VM_CONDITIONS, POD_CONDITIONS)
    # Another webhook may change the networks after us.
    mutating = {
        "sideEffects": "NoneOnDryRun",
        "reinvocationPolicy": "IfNeeded",
        "namespaceSelector": NOT_THE_SYSTEM,
    }
    injected = not ca_bundle
    return [
        _configuration(
            "MutatingWebhookConfiguration",
            [entry(paths.PIN_VM, vms, **mutating), entry(paths.MARK_POD, pods, **mutating)],
            injected=injected,
        ),
        _configuration(
            "ValidatingWebhookConfiguration",
            [
                entry(paths.CHECK, SPEC_CONDITIONS, sideEffects="None"),
                entry(paths.KEEP_DEFAULT, DEFAULT_CONDITIONS, sideEffects="None"),
                entry(paths.CHECK_NAD, NAD_CONDITIONS, sideEffects="None"),
                entry(paths.TELL_NAD_USERS, GONE_NAD_CONDITIONS, sideEffects="None", failurePolicy="Ignore"),
            ],
            injected=injected,
        ),
    ]


def _rule(webhook: Webhook) -> dict[str, Any]:
    return {
        "apiGroups": [webhook.group],
        "apiVersions": [webhook.version],
        "resources": [*webhook.plurals, *(f"{p}/{sub}" for p in webhook.plurals for sub in webhook.subresources)],
        "operations": list(webhook.operations),
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


class _Dumper(yaml.SafeDumper):
    """Writes what two configurations share twice, and not as an anchor that people have to look up."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Expressions of several lines as such lines."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def files() -> dict[str, str]:
    """Path below ``manifests`` -> content."""
    return {
        path: HEADER.format(source) + yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120)
        for path, source, documents in (
            ("webhook/configurations.yaml", "manifests.py", configurations()),
            ("rbac/webhook.yaml", "rights.py", rights()),
        )
    }


if __name__ == "__main__":
    for name, content in files().items():
        (Path(sys.argv[1]) / name).write_text(content)
