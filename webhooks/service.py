"""The webhook process: memory first, then kopf, which dispatches what our server takes in."""

import asyncio
import gc
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf
import structlog

from virtnet.health import serving
from virtnet.kube.client import Cluster
from webhooks import kopf_internals, paths
from webhooks.admission import Handlers
from webhooks.cache import Cache
from webhooks.measured import AUTHENTICATES, registry
from webhooks.server import WebhookServer

log = structlog.get_logger()


@dataclass(frozen=True)
class WebhookSettings:
    """Flags of ``virtnet webhook``."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    """Whose certificates callers must have; None: anybody is answered."""
    port: int = 9443
    metrics_address: str = ""
    """Empty: all."""
    metrics_port: int = 9403
    """For probes, too; 0: none."""
    pod_network: str = ""
    """The NAD of the cluster's pod network, where that is virtnet's."""


async def run(settings: WebhookSettings) -> None:
    """Serve until cancelled or told to end; then end what is under way."""
    AUTHENTICATES.set(settings.client_ca is not None)
    if settings.client_ca is None:
        log.warning(
            "whoever reaches this port can lease addresses of every Subnet; let the API server have a certificate, "
            "and name its CA with --client-ca (docs/security.md)",
            port=settings.port,
        )
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").setLevel(logging.CRITICAL)  # every refusal, which we log with more
    async with (
        await Cluster.connect(agent="virtnet-webhook") as cluster,
        AsyncExitStack() as stack,
        asyncio.TaskGroup() as group,
    ):
        cache = Cache(cluster)
        server = WebhookServer(
            port=settings.port,
            certificate=settings.cert,
            key=settings.key,
            client_ca=settings.client_ca,
            ready=cache.ready.is_set,
        )
        await stack.enter_async_context(
            serving(settings.metrics_address, settings.metrics_port, registry, server.obstacles)
        )
        # The port opens when everything is known: until then the kubelet and the API server find nobody.
        memory = group.create_task(cache.run(), name="cache")
        await cache.ready.wait()
        gc.collect()
        gc.freeze()  # else every full collection looks at all leases again, for which a VM's admission waits
        # kopf takes SIGTERM and SIGINT for itself and then returns.
        await kopf.operator(
            registry=operator_registry(Handlers(cluster, cache, settings.pod_network), server),
            memories=kopf_internals.NoMemories(),
            insights=kopf_internals.insights(),
            standalone=True,
            clusterwide=True,
        )
        memory.cancel()
    log.info("ended")


def operator_registry(handlers: Handlers, server: WebhookServer) -> kopf.OperatorRegistry:
    """The handlers under their paths, and what serves them."""
    found = kopf.OperatorRegistry()

    @kopf.on.startup(registry=found)
    def configure(*, settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.admission.server = server
        settings.admission.managed = None  # our own manifests: match conditions, timeout, failure policy
        settings.posting.enabled = False
        settings.scanning.disabled = True

    @kopf.on.login(registry=found)
    def login(**known: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)

    for webhook, decorator, handler in (
        (paths.PIN_VM, kopf.on.mutate, handlers.pin_vm),
        (paths.MARK_POD, kopf.on.mutate, handlers.mark_pod),
        (paths.CHECK, kopf.on.validate, handlers.check),
        (paths.KEEP_DEFAULT, kopf.on.validate, handlers.keep_default),
        (paths.CHECK_NAD, kopf.on.validate, handlers.check_nad),
        (paths.TELL_NAD_USERS, kopf.on.validate, handlers.tell_nad_users),
    ):
        for plural in webhook.plurals:
            decorator(
                webhook.group, webhook.version, plural, id=webhook.path, subresource="*", registry=found
            )(handler)  # fmt: skip
    return found
