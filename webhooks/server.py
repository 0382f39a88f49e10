"""The HTTPS server in front of kopf's handlers, where kopf's own falls short of an admission that fails closed.

kopf's server has the limit of 1 MiB that aiohttp sets, which an update of a VM with large cloud-init data exceeds (both
the old and the new object are sent); it answers "allowed" to what no handler matches; it closes its port to renew a
certificate; and it has no readiness. kopf's ``settings.admission.server`` takes any server.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import kopf
import structlog
from aiohttp import web

from webhooks import paths

log = structlog.get_logger()

LARGEST_REVIEW = 8 * 2**20
"""Bytes. etcd refuses objects over 1.5 MiB, and an update brings two."""

DRAIN_SECONDS = 5.0
"""How long requests that are under way may take when the server ends: as long as the API server waits for them."""

RENEWAL_SECONDS = 10.0
"""How often to look whether the certificate was renewed. A mounted Secret sends no events."""

Answer = dict[str, Any]


class Server:
    """Serves admission reviews under the paths of ``paths.ALL``, and ``/readyz`` for the kubelet."""

    def __init__(
        self,
        *,
        port: int,
        certificate: Path,
        key: Path,
        ready: Callable[[], bool],
        renewal_seconds: float = RENEWAL_SECONDS,
    ) -> None:
        self._port = port
        self._files = (certificate, key)
        self._ready = ready
        self._renewal_seconds = renewal_seconds
        self._draining = False

    async def __call__(self, decide: kopf.WebhookFn) -> AsyncIterator[kopf.WebhookClientConfig]:
        """Serve until cancelled, as kopf calls it; then end what is under way. ``decide`` runs kopf's handlers."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self._files)
        app = web.Application(client_max_size=LARGEST_REVIEW)

        async def review(request: web.Request) -> web.Response:
            return await self._review(decide, request)

        app.add_routes([web.get("/readyz", self._readiness), web.post("/{path:.*}", review)])
        runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=DRAIN_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=self._port, ssl_context=context, reuse_address=True).start()
            log.info("serving", port=self._port)
            yield {"url": f"https://localhost:{self._port}"}
            await self._renew(context)
        finally:
            self._draining = True
            await runner.cleanup()

    async def _renew(self, context: ssl.SSLContext) -> None:
        """Load the certificate anew whenever it has changed: new connections get it, none is closed."""
        before = self._content()
        while True:
            await asyncio.sleep(self._renewal_seconds)
            try:
                now = self._content()
                if now == before:
                    continue
                # A pair that does not fit together must not get into the context that serves.
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*self._files)
                context.load_cert_chain(*self._files)
            except (OSError, ssl.SSLError) as error:  # half of it is written: the next look finds the rest
                log.warning("certificate not renewed", error=str(error))
                continue
            before = now
            log.info("certificate renewed", certificate=str(self._files[0]))

    def _content(self) -> int:
        """What the files hold, as a number: keys are not kept in memory for comparing."""
        return hash(tuple(path.read_bytes() for path in self._files))

    async def _readiness(self, request: web.Request) -> web.Response:
        if self._draining or not self._ready():
            return web.Response(status=503, text="does not know all leases yet, or is ending\n")
        return web.Response(text="ok\n")

    async def _review(self, decide: kopf.WebhookFn, request: web.Request) -> web.Response:
        try:
            review = json.loads(await request.read())
            asked, uid = review["request"], review["request"]["uid"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise web.HTTPBadRequest(text=f"this is no AdmissionReview: {error!r}\n") from error
        webhook = paths.ALL.get(request.match_info["path"])
        if webhook is None or not webhook.serves(asked):
            return web.json_response(_misdirected(request.path, asked, uid))
        try:
            return web.json_response(await decide(review, webhook=webhook.path))
        except Exception as error:  # an object of a shape that its kind's schema would not let in
            log.exception("not understood", path=request.path, uid=uid)
            message = f"virtnet does not understand this object: {error!r}; write it as its kind's schema says"
            return web.json_response(_refusal(uid, 422, message))


def _misdirected(path: str, asked: dict[str, Any], uid: str) -> Answer:
    what = f"{asked.get('operation')} of {(asked.get('resource') or {}).get('resource')}"
    message = f"virtnet has no webhook for {what} at {path}; bring its webhook configurations to the version that runs"
    log.warning("misdirected", path=path, operation=asked.get("operation"), resource=asked.get("resource"))
    return _refusal(uid, 404, message)


def _refusal(uid: str, code: int, message: str) -> Answer:
    response = {"uid": uid, "allowed": False, "status": {"code": code, "message": message}}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
