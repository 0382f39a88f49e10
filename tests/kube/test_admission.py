"""What the API server tells a webhook about a new object, which is what pinning is built on."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from virtnet.kube.client import Cluster, Kind, Rejected
from virtnet.kube.kinds import PODS, VMS
from virtnet.lab.control_plane import ControlPlane

GROUP = "admissionregistration.k8s.io"
CONFIGURATIONS = {
    "MutatingWebhookConfiguration": Kind(GROUP, "v1", "mutatingwebhookconfigurations", namespaced=False),
    "ValidatingWebhookConfiguration": Kind(GROUP, "v1", "validatingwebhookconfigurations", namespaced=False),
}
SPECS: dict[Kind, dict[str, Any]] = {
    PODS: {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "c", "image": "i"}]}},
    VMS: {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "spec": {"runStrategy": "Always", "template": {"spec": {"domain": {"devices": {}}}}},
    },
}


class Webhook:
    """Remembers what it was asked, names what wants a name, and denies what is called ``denied``."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def of(self, path: str) -> dict[str, Any]:
        """The one request that came to this path."""
        (request,) = (request for at, request in self.requests if at == path)
        return request

    async def answer(self, received: web.Request) -> web.Response:
        request = (await received.json())["request"]
        self.requests.append((received.path, request))
        metadata = request["object"]["metadata"]
        response = {"uid": request["uid"], "allowed": metadata.get("name") != "denied"}
        if not response["allowed"]:
            response["status"] = {"code": 409, "message": "10.0.0.5 is held by VM demo/db"}
        if metadata.get("generateName") == "wants-" and "name" not in metadata:
            patch = [{"op": "add", "path": "/metadata/name", "value": "wants-this"}]
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


def configuration(kind: str, name: str, url: str, bundle: bytes) -> dict[str, Any]:
    """Of the test's own namespace only, and only of objects without the label ``ignored``."""
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "test.virtnet.dev",
                "clientConfig": {"url": url, "caBundle": base64.b64encode(bundle).decode()},
                "rules": [
                    {
                        "apiGroups": ["", "kubevirt.io"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["pods", "virtualmachines"],
                    }
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "matchConditions": [
                    {
                        "name": "not-ignored",
                        "expression": "!has(object.metadata.labels) || !('ignored' in object.metadata.labels)",
                    }
                ],
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "timeoutSeconds": 5,
            }
        ],
    }


@pytest.fixture
async def webhook(api_server: ControlPlane, cluster: Cluster, namespace: str) -> AsyncIterator[Webhook]:
    """A webhook that is asked about this test's namespace, at /Mutating... and at /Validating..."""
    made = Webhook()
    pair = api_server.authority.server("test-webhook", ("127.0.0.1",))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    application = web.Application()
    application.router.add_post("/{configuration}", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    bundle = api_server.authority.root.certificate.read_bytes()
    for kind, collection in CONFIGURATIONS.items():
        body = configuration(kind, namespace, f"https://127.0.0.1:{port}/{kind}", bundle)
        await cluster.create(collection, body)
    async with asyncio.timeout(10):
        while {path for path, _ in made.requests} != {f"/{kind}" for kind in CONFIGURATIONS}:
            await cluster.create(PODS, {**SPECS[PODS], "metadata": {"name": "probe"}}, namespace, dry_run=True)
    made.requests.clear()
    yield made
    for collection in CONFIGURATIONS.values():
        await cluster.delete(collection, namespace)
    await runner.cleanup()


@pytest.mark.parametrize("kind", [PODS, VMS], ids=str)
@pytest.mark.parametrize("applied", [False, True], ids=["created", "applied"])
async def test_a_new_object_has_a_uid_only_after_all_mutation(
    cluster: Cluster, namespace: str, webhook: Webhook, kind: Kind, *, applied: bool
) -> None:
    body = {**SPECS[kind], "metadata": {"name": "a"}}
    if applied:
        made = await cluster.apply(kind, "a", body, namespace, manager="test")
    else:
        made = await cluster.create(kind, body, namespace)
    mutating, validating = (webhook.of(f"/{configured}") for configured in CONFIGURATIONS)
    assert (mutating["name"], mutating["object"]["metadata"]["name"]) == ("a", "a")
    assert "uid" not in mutating["object"]["metadata"]
    assert validating["object"]["metadata"]["uid"] == made["metadata"]["uid"]


@pytest.mark.parametrize("kind", [PODS, VMS], ids=str)
async def test_a_generated_name_comes_only_after_all_mutation(
    cluster: Cluster, namespace: str, webhook: Webhook, kind: Kind
) -> None:
    made = await cluster.create(kind, {**SPECS[kind], "metadata": {"generateName": "a-"}}, namespace)
    mutating, validating = (webhook.of(f"/{configured}") for configured in CONFIGURATIONS)
    assert "name" not in mutating
    assert "name" not in mutating["object"]["metadata"]
    assert validating["name"] == made["metadata"]["name"]


@pytest.mark.parametrize("kind", [PODS, VMS], ids=str)
async def test_a_webhook_may_choose_the_name(cluster: Cluster, namespace: str, webhook: Webhook, kind: Kind) -> None:
    made = await cluster.create(kind, {**SPECS[kind], "metadata": {"generateName": "wants-"}}, namespace)
    assert made["metadata"]["name"] == "wants-this"


async def test_conditions_keep_a_webhook_out(cluster: Cluster, namespace: str, webhook: Webhook) -> None:
    body = {**SPECS[VMS], "metadata": {"name": "a", "labels": {"ignored": "yes"}}}
    await cluster.create(VMS, body, namespace)
    assert webhook.requests == []


async def test_a_denial_is_rejected_with_the_webhooks_words(cluster: Cluster, namespace: str, webhook: Webhook) -> None:
    with pytest.raises(Rejected, match=r"denied the request: 10\.0\.0\.5 is held by VM demo/db") as refused:
        await cluster.create(VMS, {**SPECS[VMS], "metadata": {"name": "denied"}}, namespace)
    assert refused.value.code == 409
