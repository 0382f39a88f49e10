"""The HTTPS server in front of kopf's handlers, where kopf's own falls short of an admission that fails closed.

kopf's server has the limit of 1 MiB that aiohttp sets, which an update of a VM with large cloud-init data exceeds (both
the old and the new object are sent); it answers "allowed" to what no handler matches; it closes its port to renew a
certificate; and it has no readiness. kopf's ``settings.admission.server`` takes any server.

Whoever gets an answer here may make virtnet lease addresses. With a client CA only who has a certificate of it gets
any: the API server, once its AdmissionConfiguration says so (docs/security.md).
"""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import kopf
import structlog
from aiohttp import web

from virtnet.api.fields import WrongType
from virtnet.api.meta import check_metadata
from virtnet.connections import Connections
from webhooks import paths
from webhooks.current_request import AdmissionRequest, name_only, set_current
from webhooks.measured import DROPPED
from webhooks.turns import RESERVE_SECONDS, TooLate, Turns

log = structlog.get_logger()

LARGEST_REVIEW = 8 * 2**20
"""Bytes. etcd refuses objects over 1.5 MiB, and an update brings two."""

DRAIN_SECONDS = 10.0
"""How long requests that are under way may take when the server ends: as long as the API server waits for them."""

RENEWAL_SECONDS = 10.0
"""How often to look whether the certificate was renewed. A mounted Secret sends no events."""

TIMEOUT_SECONDS = 10.0
"""How long a caller waits that does not say it."""

LONGEST_SECONDS = 30.0
"""How long the API server lets a webhook take at most."""

_SECONDS = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")

TOO_BUSY = "virtnet has more to decide than it can in the time that it has; try again"

Answer = dict[str, Any]


class WebhookServer:
    """Serves admission reviews under the paths of ``paths.ALL``, and ``/readyz`` for the kubelet."""

    def __init__(
        self,
        *,
        port: int,
        certificate: Path,
        key: Path,
        client_ca: Path | None = None,
        ready: Callable[[], bool],
        renewal_seconds: float = RENEWAL_SECONDS,
    ) -> None:
        self._port = port
        self._pair = (certificate, key)
        self._client_ca = client_ca
        self._files = (certificate, key, *([client_ca] if client_ca else []))
        self._ready = ready
        self._renewal_seconds = renewal_seconds
        self._serving = False
        self._turns = Turns()

    async def __call__(self, decide: kopf.WebhookFn) -> AsyncIterator[kopf.WebhookClientConfig]:
        """Serve until cancelled, as kopf calls it; then end what is under way. ``decide`` runs kopf's handlers."""
        context = self._context()
        app = web.Application(client_max_size=LARGEST_REVIEW)

        async def review(request: web.Request) -> web.Response:
            since = connections.answering(request)
            try:
                return await self._review(decide, request, since + _patience(request))
            finally:
                connections.answered(request)

        app.add_routes([web.get("/readyz", self._readiness), web.post("/{path:.*}", review)])
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=DRAIN_SECONDS)
        await runner.setup()
        connections = Connections(runner)
        try:
            listening = await connections.listen("", self._port, context)
            self._serving = True
            log.info("serving", port=self._port)
            yield {"url": f"https://localhost:{self._port}"}
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._renew(context), name="certificate")
                    group.create_task(connections.sweep(), name="connections")
            finally:
                listening.close()
        finally:
            self._serving = False
            await runner.cleanup()

    def obstacles(self) -> Iterator[str]:
        """What keeps it from serving, for the kubelet."""
        if not (self._serving and self._ready()):
            yield "does not know all leases yet, or is ending"

    def _context(self) -> ssl.SSLContext:
        """Of the files as they are now. Raises OSError and its ssl.SSLError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self._client_ca)
        context.load_cert_chain(*self._pair)
        if self._client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _renew(self, context: ssl.SSLContext) -> None:
        """Load the files anew whenever they have changed: new connections get them, none is closed.

        A CA that was taken out of the file is trusted until the process ends.
        """
        before = self._content()
        while True:
            await asyncio.sleep(self._renewal_seconds)
            try:
                now = self._content()
                if now == before:
                    continue
                # A pair that does not fit together must not get into the context that serves.
                self._context()
                context.load_cert_chain(*self._pair)
                if self._client_ca:
                    context.load_verify_locations(self._client_ca)
            except (OSError, ssl.SSLError) as error:  # half of it is written: the next look finds the rest
                log.warning("certificate not renewed", error=str(error))
                continue
            before = now
            log.info("certificate renewed", certificate=str(self._pair[0]))

    def _content(self) -> int:
        """What the files hold, as a number: keys are not kept in memory for comparing."""
        return hash(tuple(path.read_bytes() for path in self._files))

    async def _readiness(self, request: web.Request) -> web.Response:
        found = list(self.obstacles())
        if found:
            return web.Response(status=503, text="".join(f"{line}\n" for line in found))
        return web.Response(text="ok\n")

    async def _review(self, decide: kopf.WebhookFn, request: web.Request, until: float) -> web.Response:
        """``until``: when its caller stops waiting."""
        try:
            review = json.loads(await request.read())
            admission, uid = review["request"], review["request"]["uid"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise web.HTTPBadRequest(text=f"this is no AdmissionReview: {error!r}\n") from error
        webhook = paths.ALL.get(request.match_info["path"])
        if webhook is None or not webhook.serves(admission):
            return web.json_response(_misdirected(request.path, admission, uid))
        try:
            async with self._turns.turn(_namespace(admission), until=until, is_gone=lambda: _is_gone(request)):
                for body in filter(None, (admission.get("object"), admission.get("oldObject"))):
                    check_metadata(body)
                found = set_current(admission, until - RESERVE_SECONDS)
                review["request"] = name_only(admission)
                answer = await decide(review, webhook=webhook.path)
                return web.json_response(_completed(answer, found))
        except TooLate:
            DROPPED.inc()
            return web.json_response(_refusal(uid, 429, TOO_BUSY))
        except WrongType as error:
            return web.json_response(_refusal(uid, 422, str(error)))
        except Exception as error:  # an object of a shape that its kind's schema would not let in
            log.exception("not understood", path=request.path, uid=uid)
            message = f"virtnet does not understand this object: {error!r}; write it as its kind's schema says"
            return web.json_response(_refusal(uid, 422, message))


def _misdirected(path: str, request: dict[str, Any], uid: str) -> Answer:
    what = f"{request.get('operation')} of {(request.get('resource') or {}).get('resource')}"
    message = f"virtnet has no webhook for {what} at {path}; bring its webhook configurations to the version that runs"
    log.warning("misdirected", path=path, operation=request.get("operation"), resource=request.get("resource"))
    return _refusal(uid, 404, message)


def _patience(request: web.Request) -> float:
    """For how many seconds the caller waits: the API server says so."""
    match = _SECONDS.fullmatch(request.query.get("timeout", ""))
    return min(float(match[1]), LONGEST_SECONDS) if match else TIMEOUT_SECONDS


def _namespace(request: dict[str, Any]) -> str:
    """Whose turn a request takes."""
    found = request.get("namespace")
    return found if isinstance(found, str) else ""


def _is_gone(request: web.Request) -> bool:
    """Whether nobody waits for an answer any more."""
    return request.transport is None or request.transport.is_closing()


def _completed(answer: Mapping[str, Any], request: AdmissionRequest) -> Answer:
    """What kopf answers, with the patch, or with a word for clients where trying again helps."""
    response = answer["response"]
    if response["allowed"]:
        return {**answer, "response": {**response, **request.patch.response}}
    status = response["status"]
    return {**answer, "response": {**response, "status": {**status, **_repetition(status["code"])}}}


def _repetition(code: int) -> dict[str, Any]:
    """Has clients try again; those in Go do it by themselves."""
    return {"details": {"retryAfterSeconds": 1}} if code in (429, 503) else {}


def _refusal(uid: str, code: int, message: str) -> Answer:
    status = {"code": code, "message": message, **_repetition(code)}
    response = {"uid": uid, "allowed": False, "status": status}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
