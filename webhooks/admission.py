"""The admission handlers: between kopf's requests and what decides, measured and logged."""

import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import kopf
import structlog
from pydantic import ValidationError

from virtnet.addressing.requests import Refused
from virtnet.api.fields import WrongType
from virtnet.api.kubevirt import INTERFACES, interfaces_of
from virtnet.api.meta import annotations_of, labels_of
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, PINNED
from virtnet.api.nic_kinds import VHOSTUSER_BINDING
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from webhooks import paths
from webhooks.cache import Cache
from webhooks.checks import Checker, refuse_deletion
from webhooks.current_request import current_request, deadline
from webhooks.measured import DURATION
from webhooks.nads import NadChecker
from webhooks.networks import Networks
from webhooks.patch import Patch
from webhooks.pods import PodMarker
from webhooks.refused_launchers import RefusedLaunchers
from webhooks.vms import Pinning, VmPinner

log = structlog.get_logger()

T = TypeVar("T")
Body = dict[str, Any]

LONGEST_MESSAGE = 1024


class Handlers:
    """One method for each path; kopf calls them with what it knows of the request."""

    def __init__(self, cluster: Cluster, cache: Cache, pod_network: str = "") -> None:
        self._networks = Networks(cluster, cache, pod_network)
        self._vms = VmPinner(cluster, cache, self._networks)
        self._pods = PodMarker(cluster, cache, self._networks)
        self._checker = Checker(cluster, cache)
        self._nads = NadChecker(cluster, cache, self._networks)
        self._refused = RefusedLaunchers(cluster)

    async def pin_vm(self, *, dryrun: bool, warnings: list[str], **_: Any) -> None:
        request = current_request()
        vm, before = named(request.body, request.patch), request.stored

        async def pin() -> Pinning | None:
            warnings.extend(await self._checker.check_vm(vm, before))  # first: it claims nothing
            return await self._vms.pin(vm, before, dry_run=dryrun, warnings=warnings)

        pinning = await decided(paths.PIN_VM, vm, pin, dry_run=dryrun)
        if pinning is not None:
            write_pinning(request.patch, vm, pinning)

    async def mark_pod(self, *, dryrun: bool, warnings: list[str], **_: Any) -> None:
        request = current_request()
        pod = named(request.body, request.patch)
        try:
            mark = await decided(
                paths.MARK_POD,
                pod,
                lambda: self._pods.mark(pod, request.stored, dry_run=dryrun, warnings=warnings),
                dry_run=dryrun,
            )
        except kopf.AdmissionError as refusal:
            if not dryrun:
                self._refused.tell(pod, str(refusal))
            raise
        write_mark(request.patch, pod, mark)

    async def check(self, *, resource: kopf.Resource, warnings: list[str], **_: Any) -> None:
        request = current_request()
        found = await decided(
            paths.CHECK,
            request.body,
            lambda: self._checker.check(resource.plural, request.body, request.stored),
        )
        warnings.extend(found)

    async def keep_default(self, **_: Any) -> None:
        """The configuration asks about the deletion of no other object than those that exist always."""
        found = current_request().body

        async def verdict() -> None:
            refuse_deletion(found)

        await decided(paths.KEEP_DEFAULT, found, verdict)

    async def check_nad(self, **_: Any) -> None:
        request = current_request()
        await decided(paths.CHECK_NAD, request.body, lambda: self._nads.check(request.body, request.stored))

    async def tell_nad_users(self, *, warnings: list[str], **_: Any) -> None:
        nad = current_request().body
        warnings.extend(await decided(paths.TELL_NAD_USERS, nad, lambda: self._nads.deleted(nad)))


async def decided(
    webhook: paths.Webhook, body: Body, decide: Callable[[], Awaitable[T]], *, dry_run: bool = False
) -> T:
    """The decision, measured and logged, its failures as admission errors."""
    metadata = body["metadata"]
    known = log.bind(webhook=webhook.path, namespace=metadata.get("namespace", ""), name=metadata["name"])
    began = time.perf_counter()
    refusal = None
    try:
        async with deadline():  # a refusal of ours says more than the API server's own
            return await decide()
    except Refused as error:
        refusal = kopf.AdmissionError(cut(str(error)), code=error.code)
        raise refusal from error
    except WrongType as error:
        refusal = kopf.AdmissionError(cut(str(error)), code=422)
        raise refusal from error
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        refusal = kopf.AdmissionError(cut(f"{problem}; write it as its kind's schema says"), code=422)
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


def named(body: Body, patch: Patch) -> Body:
    """The object with its name. Where it has a generateName only, it is named here, as the API server would later.

    Addresses are held under the name, so that it has to be known now.
    """
    metadata = body["metadata"]
    if metadata.get("name"):
        return body
    # The API server's own form: a base of at most 58 characters, and 5 that make no words and no mistakes.
    suffix = "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    name = f"{metadata['generateName'][:58]}{suffix}"
    patch.set(name, "metadata", "name")
    return {**body, "metadata": {**metadata, "name": name}}


def write_pinning(patch: Patch, vm: Body, pinning: Pinning) -> None:
    """Only what differs: a manifest that already says it all gets no patch."""
    if annotations_of(vm).get(PINNED) != pinning.annotation:
        patch.set(pinning.annotation, "metadata", "annotations", PINNED)
    for name, text in pinning.requests.own.items():
        patch.set(text or None, "metadata", "annotations", name)
    for name, text in pinning.requests.template.items():
        patch.set(text or None, "spec", "template", "metadata", "annotations", name)
    for index, mac in pinning.macs.items():
        if interfaces_of(vm)[index].get("macAddress") != mac:
            patch.set(mac, *INTERFACES, index, "macAddress")
    for index in pinning.vhost_user:
        patch.set({"name": VHOSTUSER_BINDING}, *INTERFACES, index, "binding")


def write_mark(patch: Patch, pod: Body, mark: str | None) -> None:
    """The annotation, and the label by which the controller finds the pod; neither where it is not virtnet's."""
    label = "true" if mark else None
    if annotations_of(pod).get(ATTACHMENTS) != mark:
        patch.set(mark, "metadata", "annotations", ATTACHMENTS)
    if labels_of(pod).get(ATTACHED_LABEL) != label:
        patch.set(label, "metadata", "labels", ATTACHED_LABEL)
