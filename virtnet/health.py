"""The HTTP endpoints of a process for the kubelet and Prometheus: ``/livez``, ``/readyz`` and ``/metrics``.

They are served by the event loop that does the work: that ``/livez`` answers means that the loop turns. It asks for
nothing outside, since a restart mends nothing outside. ``/readyz`` says in a line each what keeps the process from
serving.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from virtnet.connections import Connections

log = structlog.get_logger()

MOST_CONNECTIONS = 64
"""At once: kubelet and Prometheus have one each."""

LARGEST_REQUEST = 1024
"""Bytes of a body: none is expected."""

Obstacles = Callable[[], Iterable[str]]
"""What keeps a process from serving; nothing where it serves."""


@asynccontextmanager
async def serving(address: str, port: int, registry: CollectorRegistry, obstacles: Obstacles) -> AsyncIterator[None]:
    """Serve on one address, on all if it is empty; port 0 serves nothing.

    A port that is taken is told in the log, and the process goes on: on a node's network it may be anybody's.
    """
    app = web.Application(client_max_size=LARGEST_REQUEST)

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        found = list(obstacles())
        return web.Response(text="".join(f"{line}\n" for line in found) or "ok\n", status=503 if found else 200)

    async def metrics(_: web.Request) -> web.Response:
        body = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    @web.middleware
    async def timed(request: web.Request, handler: Handler) -> web.StreamResponse:
        connections.answering(request)
        try:
            return await handler(request)
        finally:
            connections.answered(request)

    app.middlewares.append(timed)
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=0)
    await runner.setup()
    connections = Connections(runner, MOST_CONNECTIONS)
    sweep = asyncio.create_task(connections.sweep(), name="connections")
    listening = await _listen(connections, address, port) if port else None
    try:
        yield
    finally:
        if listening is not None:
            listening.close()
        sweep.cancel()
        await runner.cleanup()


async def _listen(connections: Connections, address: str, port: int) -> asyncio.Server | None:
    try:
        return await connections.listen(address, port)
    except OSError as error:
        log.warning("no metrics and no probes; choose another --metrics-port", port=port, error=str(error))
        return None
