"""The API server as virtnet uses it: plain JSON objects in and out, one method per verb."""

import os
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Self

import structlog

from virtnet.kube.errors import AlreadyExists, ApiError, Conflict, Expired, NotFound, Rejected, Unavailable
from virtnet.kube.kinds import EVENTS, Kind
from virtnet.kube.transport import JSON, Transport, configuration
from virtnet.kube.watching import ListRequest, follow

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Cluster",
    "Conflict",
    "Expired",
    "Kind",
    "NotFound",
    "Rejected",
    "Unavailable",
]

log = structlog.get_logger()

PAGE = 500

METADATA_ONLY = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

Object = dict[str, Any]
Listing = tuple[list[Object], str]
"""Objects, and the resourceVersion of the moment at which they were so."""


class Cluster:
    """One API server. Every method raises ApiError's subclasses, and repeats nothing by itself.

    Belongs to the event loop in which it was made; any number of tasks may use it at once.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    async def connect(cls, kubeconfig: str = "", *, agent: str = "virtnet") -> Self:
        """The cluster of a kubeconfig: the given one, $KUBECONFIG, the pod's own account, or ~/.kube/config.

        Raises Unavailable when there is no usable configuration. The server itself is not asked yet: it may come later.
        ``agent`` names this process in audit logs and as the owner of fields.
        """
        return cls(Transport(await configuration(kubeconfig), agent=agent))

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._transport.server

    @property
    def reachable(self) -> bool:
        """Whether the last request, or a watch that is open, got an answer, whatever it was."""
        return self._transport.reachable

    async def get(self, kind: Kind, name: str, namespace: str = "", *, metadata_only: bool = False) -> Object:
        """One object, or only its metadata: definitions of kinds weigh up to a MiB. Raises NotFound."""
        accept = METADATA_ONLY if metadata_only else JSON
        return await self._transport.request("GET", kind.path(namespace, name), accept=accept)

    async def exists(self, kind: Kind, name: str, namespace: str = "") -> bool:
        try:
            await self.get(kind, name, namespace, metadata_only=True)
        except NotFound:
            return False
        return True

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> Listing:
        """All objects of one moment, and the resourceVersion of that moment. No namespace means all of them."""
        found: list[Object] = []
        version = ""
        async for items, moment in self.pages(ListRequest(kind, namespace, labels, fields)):
            found = [*(found if moment == version else ()), *items]
            version = moment
        return found, version

    async def pages(self, what: ListRequest) -> AsyncGenerator[Listing]:
        """The objects of a selection, part by part. All are of one moment; a part of another one begins the list anew.

        So no more than a part is in memory.
        """
        try:
            async for page in self._pages(what, PAGE):
                yield page
        except Expired:  # the pages took longer than etcd keeps their moment: fetch all at once
            async for page in self._pages(what, 0):
                yield page

    async def _pages(self, what: ListRequest, size: int) -> AsyncGenerator[Listing]:
        query = {**what.query, **({"limit": str(size)} if size else {})}
        while True:
            page = await self._transport.request("GET", what.kind.path(what.namespace), query=query)
            # Core objects in lists lack the kind that they have everywhere else.
            common = {"apiVersion": page["apiVersion"], "kind": page["kind"].removesuffix("List")}
            yield [{**common, **item} for item in page.get("items") or ()], page["metadata"]["resourceVersion"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    def watch(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        interrupted: Callable[[ApiError], None] | None = None,
    ) -> AsyncGenerator[tuple[str, Object]]:
        """The collection for ever: as a list, then ``("ADDED"|"MODIFIED"|"DELETED", object)``s.

        The list is ``("LISTED", {"items": [...]})`` for each part of it, one at least, and at its end
        ``("SYNC", {"keys": [...]})``. After a lost connection or an expired resourceVersion there is another list,
        which says all that was missed: what was there before and is not in its keys is gone. Raises only when the
        first list does (NotFound, Rejected), and not even then when ``interrupted`` is there to be told why.
        """
        return follow(self, ListRequest(kind, namespace, labels, fields), interrupted)

    def lines(self, path: str, *, query: Mapping[str, str], seconds: float, silence: float) -> AsyncGenerator[Object]:
        """One raw watch, see Transport.lines."""
        return self._transport.lines(path, query=query, seconds=seconds, silence=silence)

    async def create(self, kind: Kind, body: Object, namespace: str = "", *, dry_run: bool = False) -> Object:
        """The object as the server made it. Raises AlreadyExists."""
        query = {"dryRun": "All"} if dry_run else {}
        return await self._transport.request("POST", kind.path(namespace), query=query, body=body)

    async def patch(
        self, kind: Kind, name: str, patch: Object, namespace: str = "", *, subresource: str = ""
    ) -> Object:
        """The object after a JSON merge patch: None removes a field, lists are replaced whole.

        A ``metadata.resourceVersion`` (or ``uid``) in the patch makes it conditional: Conflict when it differs.
        """
        path = kind.path(namespace, name, subresource)
        return await self._transport.request("PATCH", path, body=patch, content="application/merge-patch+json")

    async def replace(
        self, kind: Kind, name: str, body: Object, namespace: str = "", *, subresource: str = ""
    ) -> Object:
        """The object after it was replaced. Raises Conflict when the body's resourceVersion is not the latest."""
        return await self._transport.request("PUT", kind.path(namespace, name, subresource), body=body)

    async def apply(
        self, kind: Kind, name: str, body: Object, namespace: str = "", *, manager: str, force: bool = False
    ) -> Object:
        """The object after a server-side apply: created, or its fields taken over by ``manager``.

        Raises Conflict when another manager has set one of the fields otherwise, unless forced.
        """
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        path = kind.path(namespace, name)
        return await self._transport.request(
            "PATCH", path, query=query, body=body, content="application/apply-patch+yaml"
        )

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        """Delete one object, if it still is the one meant: Conflict when the uid or resourceVersion differs.

        Raises NotFound. An object with finalizers stays until they are gone.
        """
        conditions = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in conditions.items() if value}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        await self._transport.request("DELETE", kind.path(namespace, name), body=body)

    async def kind_of(self, api_version: str, kind: str) -> Kind:
        """The collection of a manifest's apiVersion and kind, as the server knows it. Raises NotFound."""
        group, _, version = api_version.rpartition("/")
        root = f"/apis/{api_version}" if group else f"/api/{version}"
        for resource in (await self._transport.request("GET", root))["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                return Kind(group, version, resource["name"], namespaced=resource["namespaced"])
        raise NotFound(f"the API server has no kind {kind} in {api_version}", code=404)

    async def event(
        self, regarding: Object, *, reason: str, message: str, warning: bool = False, component: str
    ) -> None:
        """Tell people about an object, where ``kubectl describe`` shows it.

        Never raises: an event is for information, and a failure to send one must not stop the work it tells of.
        """
        try:
            body = _event(regarding, reason=reason, message=message, warning=warning, component=component)
            await self.create(EVENTS, body, body["metadata"]["namespace"])
        except (ApiError, KeyError) as problem:
            log.warning("event not recorded", reason=reason, message=message, problem=repr(problem))


def _event(regarding: Object, *, reason: str, message: str, warning: bool, component: str) -> Object:
    metadata = regarding["metadata"]
    namespace = metadata.get("namespace") or "default"  # where the events of cluster-scoped objects are kept
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name'][:200].rstrip('.-')}-", "namespace": namespace},
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "action": reason,
        "note": message if len(message) <= 1024 else f"{message[:1020]} ...",
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "name": metadata["name"],
            **{key: metadata[key] for key in ("namespace", "uid", "resourceVersion") if metadata.get(key)},
        },
        "reportingController": f"virtnet.dev/{component}",
        "reportingInstance": f"{socket.gethostname()}-{os.getpid()}"[:128],
    }
