"""An API server in memory, for measurements with more objects than etcd takes in a few minutes on one machine.

It speaks the wire format of lists in parts, watches, merge patches and conditional writes for any kind, and gives every
object what a real one has of it, its ``managedFields`` too, so that whoever reads it has as much to read. It validates
nothing, keeps nothing on disk and forgets no event.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml
from aiohttp import web

from virtnet.kube.kinds import CRDS, EVENTS, Kind

Body = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<subresource>status))?"
)
BOOKMARK_SECONDS = 30.0


class Refused(Exception):  # noqa: N818 - what a server answers
    """A request that is not carried out: the HTTP status, and the reason as the API server names it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass
class Objects:
    """The objects of one kind, serialized, and every change of them."""

    bodies: dict[Key, bytes] = field(default_factory=dict)
    events: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    """resourceVersion, type and object."""
    news: asyncio.Event = field(default_factory=asyncio.Event)


class ApiServer:
    """Objects by the name of their kind (``ports.virtnet.dev``), and the HTTP that serves them. For one event loop."""

    def __init__(self) -> None:
        self._objects: dict[str, Objects] = defaultdict(Objects)
        self._version = 1
        self._lists: dict[str, list[bytes]] = {}
        """The rest of lists that are fetched in parts, by their tokens."""

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[str]:
        """Serve on a local port; the kubeconfig's text."""
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield _kubeconfig(f"http://127.0.0.1:{port}")
        finally:
            await runner.cleanup()

    def put(self, kind: Kind, body: Mapping[str, Any]) -> Body:
        """Store a new object, with the status that it brings; the object as it is then. Raises Refused."""
        found: Body = json.loads(self._create(str(kind), body))
        return found

    def change(self, kind: Kind, namespace: str, name: str, patch: Mapping[str, Any]) -> None:
        """Merge a patch into the spec and the status of an object. Raises Refused."""
        self._patch(str(kind), (namespace, name), patch)

    def body(self, kind: Kind, namespace: str, name: str) -> Body:
        """An object as it is. Raises Refused."""
        found: Body = json.loads(self._get(str(kind), (namespace, name)))
        return found

    def _create(self, kind: str, body: Mapping[str, Any]) -> bytes:
        metadata = dict(body["metadata"])
        key = (metadata.get("namespace", ""), metadata["name"])
        if key in self._objects[kind].bodies:
            raise Refused(409, "AlreadyExists", f"{kind} {key} already exists")
        metadata |= {
            "uid": f"00000000-0000-4000-8000-{self._version:012x}",
            "generation": 1,
            "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return self._store(kind, key, {**body, "metadata": metadata}, b"ADDED")

    def _patch(self, kind: str, key: Key, patch: Mapping[str, Any]) -> bytes:
        """Merge a patch (RFC 7396) into an object."""
        text = self._get(kind, key)
        before = json.loads(text)
        for name in ("uid", "resourceVersion"):
            wanted = patch.get("metadata", {}).get(name)
            if wanted is not None and wanted != before["metadata"][name]:
                raise Refused(409, "Conflict", f"{kind} {key}: {name} is {before['metadata'][name]}")
        after = _merged(before, patch)
        if after == before:
            return text
        if after.get("spec") != before.get("spec"):
            after["metadata"]["generation"] += 1
        return self._store(kind, key, after, b"MODIFIED")

    def _replace(self, kind: str, key: Key, body: Body) -> bytes:
        before = json.loads(self._get(kind, key))
        if body["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", f"{kind} {key} has changed")
        return self._store(kind, key, body, b"MODIFIED")

    def _delete(self, kind: str, key: Key) -> bytes:
        text = self._get(kind, key)
        del self._objects[kind].bodies[key]
        self._version += 1
        body = json.loads(text)
        body["metadata"]["resourceVersion"] = str(self._version)
        self._tell(kind, b"DELETED", _text(body))
        return text

    def _get(self, kind: str, key: Key) -> bytes:
        if kind == str(CRDS):  # every kind is defined
            return _text({"metadata": {"name": key[1], "uid": key[1], "resourceVersion": "1"}})
        found = self._objects[kind].bodies.get(key)
        if found is None:
            raise Refused(404, "NotFound", f"{kind} {key} not found")
        return found

    def _store(self, kind: str, key: Key, body: Body, change: bytes) -> bytes:
        self._version += 1
        metadata = body["metadata"]
        metadata["resourceVersion"] = str(self._version)
        metadata.pop("managedFields", None)
        content = {name: value for name, value in body.items() if name not in ("apiVersion", "kind")}
        metadata["managedFields"] = [
            {
                "apiVersion": body.get("apiVersion", ""),
                "fieldsType": "FieldsV1",
                "fieldsV1": _fields(content),
                "manager": "virtnet",
                "operation": "Update",
                "time": metadata.get("creationTimestamp", ""),
            }
        ]
        text = self._objects[kind].bodies[key] = _text(body)
        self._tell(kind, change, text)
        return text

    def _tell(self, kind: str, change: bytes, text: bytes) -> None:
        objects = self._objects[kind]
        objects.events.append((self._version, change, text))
        objects.news.set()
        objects.news = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        found = PATH.fullmatch(request.path)
        if found is None:
            return web.json_response({"message": f"no such path: {request.path}"}, status=404)
        kind = f"{found['plural']}.{found['group']}" if found["group"] else found["plural"]
        if request.method == "GET" and not found["name"]:
            return await self._watch(request, kind) if "watch" in request.query else self._list(request, kind)
        try:
            body = await request.json() if request.can_read_body else {}
            key = (found["namespace"] or "", found["name"] or body["metadata"].get("name", ""))
            if found["subresource"]:
                body = {name: value for name, value in body.items() if name in ("metadata", "status")}
            text = self._carry_out(request.method, kind, key, body)
        except Refused as refused:
            status = {"reason": refused.reason, "message": str(refused)}
            return web.json_response(status, status=refused.code)
        return web.Response(body=text, content_type="application/json")

    def _carry_out(self, method: str, kind: str, key: Key, body: Body) -> bytes:
        match method:
            case "POST" if kind == str(EVENTS):
                return _text(body)
            case "POST":
                return self._create(kind, body)
            case "PATCH":
                return self._patch(kind, key, body)
            case "PUT":
                return self._replace(kind, key, body)
            case "DELETE":
                return self._delete(kind, key)
            case _:
                return self._get(kind, key)

    def _list(self, request: web.Request, kind: str) -> web.Response:
        token = request.query.get("continue", "")
        moment = token.partition(":")[0] or str(self._version)
        rest = self._lists.pop(token) if token else list(self._objects[kind].bodies.values())
        limit = int(request.query.get("limit", "0")) or len(rest)
        page, rest = rest[:limit], rest[limit:]
        following = f"{moment}:{len(self._lists)}:{kind}:{len(rest)}" if rest else ""
        if rest:
            self._lists[following] = rest
        head = {"apiVersion": "", "kind": "List", "metadata": {"resourceVersion": moment, "continue": following}}
        text = _text(head)[:-1] + b',"items":[' + b",".join(page) + b"]}"
        return web.Response(body=text, content_type="application/json")

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        with suppress(ConnectionError, TimeoutError):  # the client has gone, or asked for no more than so long
            async with asyncio.timeout(float(request.query["timeoutSeconds"])):
                await self._tell_changes(answer, self._objects[kind], int(request.query["resourceVersion"]))
        return answer

    async def _tell_changes(self, answer: web.StreamResponse, objects: Objects, version: int) -> None:
        position = next((at for at, event in enumerate(objects.events) if event[0] > version), len(objects.events))
        while True:
            news, events = objects.news, objects.events[position:]
            position += len(events)
            if events:
                await answer.write(b"".join(b'{"type":"%b","object":%b}\n' % event[1:] for event in events))
            try:
                async with asyncio.timeout(BOOKMARK_SECONDS):
                    await news.wait()
            except TimeoutError:
                bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self._version)}}}
                await answer.write(_text(bookmark) + b"\n")


def _merged(before: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return patch
    after = dict(before) if isinstance(before, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = _merged(after.get(name), value)
    return after


def _fields(value: Mapping[str, Any]) -> Body:
    """The FieldsV1 of a body."""
    return {f"f:{name}": _fields(one) if isinstance(one, Mapping) else {} for name, one in value.items()}


def _text(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _kubeconfig(server: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bench",
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "clusters": [{"name": "bench", "cluster": {"server": server}}],
            "users": [{"name": "bench", "user": {}}],
        }
    )
