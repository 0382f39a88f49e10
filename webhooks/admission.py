"""The admission handlers: between kopf's requests and the pinners, measured and logged."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import kopf
import structlog
from prometheus_client import CollectorRegistry, Histogram

from virtnet.addressing.wants import Refused
from virtnet.api.kubevirt import interfaces
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, PINNED
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from webhooks import paths
from webhooks.cache import Cache
from webhooks.pods import PodMarker
from webhooks.subnets import SubnetChecker
from webhooks.vms import Pinning, VmPinner

log = structlog.get_logger()

T = TypeVar("T")

SYNC_SECONDS = 4.0
"""How long a request waits for the caches after a start; the API server gives up after five seconds."""

registry = CollectorRegistry()
DURATION = Histogram(
    "virtnet_webhook_request_duration_seconds",
    "Admission requests.",
    ["webhook", "allowed"],
    registry=registry,
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0),
)


class Handlers:
    """One method for each path; kopf calls them with what it knows of the request."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cache = cache
        self._vms = VmPinner(cluster, cache)
        self._pods = PodMarker(cluster, cache)
        self._subnets = SubnetChecker(cache)

    async def pin_vm(self, *, body: kopf.Body, patch: kopf.Patch, dryrun: bool, old: Any = None, **_: Any) -> None:
        vm = dict(body)
        pinning = await decided(paths.PIN_VM, self._cache, lambda: self._vms.pin(vm, old and dict(old), dry_run=dryrun))
        if pinning is not None:
            write_pinning(patch, vm, pinning)

    async def mark_pod(self, *, body: kopf.Body, patch: kopf.Patch, dryrun: bool, old: Any = None, **_: Any) -> None:
        pod = dict(body)
        mark = await decided(
            paths.MARK_POD, self._cache, lambda: self._pods.mark(pod, old and dict(old), dry_run=dryrun)
        )
        if (pod["metadata"].get("annotations") or {}).get(ATTACHMENTS) != mark:
            patch.metadata.annotations[ATTACHMENTS] = mark
        label = "true" if mark else None
        if (pod["metadata"].get("labels") or {}).get(ATTACHED_LABEL) != label:
            patch.metadata.labels[ATTACHED_LABEL] = label

    async def check_subnet(self, *, body: kopf.Body, operation: str = "", **_: Any) -> None:
        async def verdict() -> None:
            if operation == "DELETE":
                self._subnets.check_deletion(dict(body))
            else:
                self._subnets.check(dict(body))

        await decided(paths.CHECK_SUBNET, self._cache, verdict)


async def decided(webhook: str, cache: Cache, decide: Callable[[], Awaitable[T]]) -> T:
    """The decision, measured and logged, its failures as admission errors."""
    began = time.perf_counter()
    allowed = "false"
    try:
        await asyncio.wait_for(cache.ready.wait(), SYNC_SECONDS)
        decision = await decide()
        allowed = "true"
    except Refused as error:
        log.info("refused", webhook=webhook, reason=str(error))
        raise kopf.AdmissionError(str(error), code=error.code) from error
    except TimeoutError as error:
        raise kopf.AdmissionError("virtnet is starting and does not know all leases yet; try again", 503) from error
    except ApiError as error:
        log.warning("API server", webhook=webhook, error=str(error))
        raise kopf.AdmissionError(f"virtnet cannot claim addresses now ({error}); try again", 503) from error
    finally:
        DURATION.labels(webhook, allowed).observe(time.perf_counter() - began)
    return decision


def write_pinning(patch: kopf.Patch, vm: dict[str, Any], pinning: Pinning) -> None:
    """Only what differs: a manifest that already says it all gets no patch."""
    if (vm["metadata"].get("annotations") or {}).get(PINNED) != pinning.annotation:
        patch.metadata.annotations[PINNED] = pinning.annotation
    present = interfaces(vm)
    wanted = [{**one, "macAddress": pinning.macs.get(n, one.get("macAddress"))} for n, one in enumerate(present)]
    wanted = [{key: value for key, value in one.items() if value is not None} for one in wanted]
    if wanted != present:
        patch.spec["template"] = {"spec": {"domain": {"devices": {"interfaces": wanted}}}}
