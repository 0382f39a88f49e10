"""The webhook process: memory first, then kopf, which dispatches what our server takes in."""

import asyncio
import gc
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf
import structlog
from kopf._cogs.structs.references import Insights, Resource
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory
from prometheus_client import start_http_server

from virtnet.kube.client import Cluster
from webhooks import paths
from webhooks.admission import Handlers, registry
from webhooks.cache import Cache
from webhooks.server import Server

log = structlog.get_logger()


@dataclass(frozen=True)
class Settings:
    """Flags of ``virtnet webhook``."""

    cert: Path
    key: Path
    port: int = 9443
    metrics_port: int = 9403
    """0: none."""
    pod_network: str = ""
    """The NAD of the cluster's pod network, where that is virtnet's."""


class NoMemories(ResourceMemories):
    """kopf remembers every object that it was ever asked about, and only its watches let it forget: here are none."""

    async def recall(self, raw_body: Any, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class Served(set[Resource]):
    """What kopf takes reviews of: all that we serve, whatever kinds it has found when it started.

    So KubeVirt may be installed after us, and nothing has to be watched: kopf ends the process when the API server
    refuses it a watch, which one that has just started, or has lost its etcd, does.
    """

    def __init__(self) -> None:
        super().__init__(
            Resource(webhook.group, webhook.version, plural)
            for webhook in paths.ALL.values()
            for plural in webhook.plurals
        )

    def difference_update(self, *found: Any) -> None:
        """Not what kopf has not found."""


async def run(settings: Settings) -> None:
    """Serve until cancelled or told to end; then end what is under way."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=registry)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf.objects").setLevel(logging.CRITICAL)  # every refusal, which we log with more
    async with await Cluster.connect(agent="virtnet-webhook") as cluster, asyncio.TaskGroup() as group:
        cache = Cache(cluster)
        # The port opens when everything is known: until then the kubelet and the API server find nobody.
        memory = group.create_task(cache.run(), name="cache")
        await cache.ready.wait()
        gc.collect()
        gc.freeze()  # else every full collection looks at all leases again, for which a VM's admission waits
        server = Server(port=settings.port, certificate=settings.cert, key=settings.key, ready=cache.ready.is_set)
        # kopf takes SIGTERM and SIGINT for itself and then returns.
        await kopf.operator(
            registry=operator_registry(Handlers(cluster, cache, settings.pod_network), server),
            memories=NoMemories(),
            insights=Insights(webhook_resources=Served()),
            standalone=True,
            clusterwide=True,
        )
        memory.cancel()
    log.info("ended")


def operator_registry(handlers: Handlers, server: Server) -> kopf.OperatorRegistry:
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
        (paths.CHECK_SUBNET, kopf.on.validate, handlers.check_subnet),
        (paths.CHECK_PROVIDER_NETWORK, kopf.on.validate, handlers.check_provider_network),
        (paths.CHECK_NAD, kopf.on.validate, handlers.check_nad),
    ):
        for plural in webhook.plurals:
            decorator(
                webhook.group, webhook.version, plural, id=webhook.path, subresource="*", registry=found
            )(handler)  # fmt: skip
    return found
