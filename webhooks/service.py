"""The webhook process: kopf serves admission over TLS."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kopf
from prometheus_client import start_http_server

from virtnet.api import GROUP, VERSION
from virtnet.kube.client import Cluster
from webhooks import paths
from webhooks.admission import Handlers, registry
from webhooks.cache import Cache


@dataclass(frozen=True)
class Settings:
    """Flags of ``virtnet webhook``."""

    cert: Path
    key: Path
    port: int = 9443
    metrics_port: int = 9403
    """0: none."""


class Server(kopf.WebhookServer):
    """kopf's server, which refuses what no handler of ours answers: kopf itself would say "allowed"."""

    async def __call__(self, fn: kopf.WebhookFn) -> AsyncIterator[kopf.WebhookClientConfig]:
        async def known(request: Any, *, webhook: Any = None, **rest: Any) -> Any:
            if webhook not in paths.ALL:
                raise kopf.AdmissionError(f"virtnet has no webhook {webhook!r}; is its configuration up to date?", 404)
            return await fn(request, webhook=webhook, **rest)

        async for config in super().__call__(known):
            yield config


async def run(settings: Settings) -> None:
    """Serve until cancelled."""
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=registry)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    async with await Cluster.connect(agent="virtnet-webhook") as cluster:
        cache = Cache(cluster)
        operator = kopf.operator(
            registry=operator_registry(Handlers(cluster, cache), settings), standalone=True, clusterwide=True
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(cache.run(), name="cache")
            group.create_task(operator, name="kopf")


def operator_registry(handlers: Handlers, settings: Settings) -> kopf.OperatorRegistry:
    """The handlers under their paths, and how kopf serves them."""
    found = kopf.OperatorRegistry()

    @kopf.on.startup(registry=found)
    def configure(*, settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.admission.server = server
        settings.admission.managed = None  # our own manifests: match conditions, timeout, failure policy
        settings.posting.enabled = False

    server = Server(port=settings.port, certfile=str(settings.cert), pkeyfile=str(settings.key))

    @kopf.on.login(registry=found)
    def login(**known: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**known) or kopf.login_with_kubeconfig(**known)

    kopf.on.mutate("kubevirt.io", "v1", "virtualmachines", id=paths.PIN_VM, registry=found)(handlers.pin_vm)
    kopf.on.mutate("", "v1", "pods", id=paths.MARK_POD, registry=found)(handlers.mark_pod)
    for plural in ("subnets", "clustersubnets"):
        kopf.on.validate(GROUP, VERSION, plural, id=paths.CHECK_SUBNET, registry=found)(handlers.check_subnet)
    return found
