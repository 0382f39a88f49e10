"""The admission handlers: between kopf's requests and what decides, measured and logged."""

import asyncio
import secrets
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
from webhooks.networks import Networks
from webhooks.pods import PodMarker
from webhooks.provider_networks import ProviderNetworkChecker
from webhooks.routes import check_nad
from webhooks.subnets import SubnetChecker
from webhooks.vms import Pinning, VmPinner

log = structlog.get_logger()

T = TypeVar("T")
Body = dict[str, Any]

DECISION_SECONDS = 4.5
"""How long a decision may take. The API server waits for five seconds; a refusal of ours says more than its own."""

LONGEST_MESSAGE = 1024

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

    def __init__(self, cluster: Cluster, cache: Cache, pod_network: str = "") -> None:
        self._networks = Networks(cluster, cache, pod_network)
        self._vms = VmPinner(cluster, cache, self._networks)
        self._pods = PodMarker(cluster, cache, self._networks)
        self._subnets = SubnetChecker(cache)
        self._providers = ProviderNetworkChecker(cluster)

    async def pin_vm(self, *, body: kopf.Body, patch: kopf.Patch, dryrun: bool, old: Any = None, **_: Any) -> None:
        vm = named(dict(body), patch)
        pinning = await decided(
            paths.PIN_VM, vm, lambda: self._vms.pin(vm, old and dict(old), dry_run=dryrun), dry_run=dryrun
        )
        if pinning is not None:
            write_pinning(patch, vm, pinning)

    async def mark_pod(self, *, body: kopf.Body, patch: kopf.Patch, dryrun: bool, old: Any = None, **_: Any) -> None:
        pod = named(dict(body), patch)
        mark = await decided(
            paths.MARK_POD, pod, lambda: self._pods.mark(pod, old and dict(old), dry_run=dryrun), dry_run=dryrun
        )
        write_mark(patch, pod, mark)

    async def check_subnet(
        self, *, body: kopf.Body, warnings: list[str], operation: str = "", old: Any = None, **_: Any
    ) -> None:
        subnet = dict(body)

        async def verdict() -> None:
            if operation == "DELETE":
                self._subnets.check_deletion(subnet)
            else:
                warnings.extend(self._subnets.check(subnet, old and dict(old)))

        await decided(paths.CHECK_SUBNET, subnet, verdict)

    async def check_provider_network(self, *, body: kopf.Body, operation: str = "", old: Any = None, **_: Any) -> None:
        network = dict(body)

        async def verdict() -> None:
            if operation == "DELETE":
                await self._providers.check_deletion(network)
            else:
                await self._providers.check(network, old and dict(old))

        await decided(paths.CHECK_PROVIDER_NETWORK, network, verdict)

    async def check_nad(self, *, body: kopf.Body, **_: Any) -> None:
        nad = dict(body)

        await decided(paths.CHECK_NAD, nad, lambda: check_nad(nad, self._networks))


async def decided(
    webhook: paths.Webhook, body: Body, decide: Callable[[], Awaitable[T]], *, dry_run: bool = False
) -> T:
    """The decision, measured and logged, its failures as admission errors."""
    metadata = body["metadata"]
    known = log.bind(webhook=webhook.path, namespace=metadata.get("namespace", ""), name=metadata["name"])
    began = time.perf_counter()
    refusal = None
    try:
        async with asyncio.timeout(DECISION_SECONDS):
            return await decide()
    except Refused as error:
        refusal = kopf.AdmissionError(cut(str(error)), code=error.code)
        raise refusal from error
    except TimeoutError as error:
        refusal = kopf.AdmissionError("virtnet had no answer from the API server in time; try again", code=503)
        raise refusal from error
    except ApiError as error:
        refusal = kopf.AdmissionError(f"virtnet cannot claim addresses now ({error}); try again", code=503)
        raise refusal from error
    except Exception as error:
        known.exception("failed")
        refusal = kopf.AdmissionError("virtnet failed to decide; the log of virtnet-webhook says why", code=500)
        raise refusal from error
    finally:
        seconds = time.perf_counter() - began
        DURATION.labels(webhook.path, "false" if refusal else "true").observe(seconds)
        because = {"code": refusal.code, "reason": str(refusal)} if refusal else {}
        known.info("refused" if refusal else "allowed", ms=round(seconds * 1000, 1), dry_run=dry_run, **because)


def cut(message: str) -> str:
    """Without the middle where it is long: what was written may be of any size, and what to do comes last."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:500]} ... {message[-500:]}"


def named(body: Body, patch: kopf.Patch) -> Body:
    """The object with its name. Where it has a generateName only, it is named here, as the API server would later.

    Addresses are held under the name, so that it has to be known now.
    """
    metadata = body["metadata"]
    if metadata.get("name"):
        return body
    # The API server's own form: a base of at most 58 characters, and 5 that make no words and no mistakes.
    suffix = "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    name = f"{metadata['generateName'][:58]}{suffix}"
    patch.metadata["name"] = name
    return {**body, "metadata": {**metadata, "name": name}}


def write_pinning(patch: kopf.Patch, vm: Body, pinning: Pinning) -> None:
    """Only what differs: a manifest that already says it all gets no patch."""
    if (vm["metadata"].get("annotations") or {}).get(PINNED) != pinning.annotation:
        patch.metadata.annotations[PINNED] = pinning.annotation
    present = interfaces(vm)
    wanted = [
        {**one, **({"macAddress": pinning.macs[n]} if n in pinning.macs else {})} for n, one in enumerate(present)
    ]
    if wanted != present:
        patch.spec["template"] = {"spec": {"domain": {"devices": {"interfaces": wanted}}}}


def write_mark(patch: kopf.Patch, pod: Body, mark: str | None) -> None:
    """The annotation, and the label by which the controller finds the pod; neither where it is not virtnet's."""
    metadata = pod["metadata"]
    label = "true" if mark else None
    if (metadata.get("annotations") or {}).get(ATTACHMENTS) != mark:
        patch.metadata.annotations[ATTACHMENTS] = mark
    if (metadata.get("labels") or {}).get(ATTACHED_LABEL) != label:
        patch.metadata.labels[ATTACHED_LABEL] = label
