"""The connections of an HTTP server of ours: how many there are, and for how long one may do nothing.

aiohttp ends a connection that asks nothing, but not one that begins a request and never ends it.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import cast

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

log = structlog.get_logger()

MOST = 2048
"""Connections at once. The API server opens one for each request that is under way."""

MOST_HANDSHAKES = 256
"""TLS connections at once that are not agreed on yet. Where there is one more the oldest ends: who means it takes a
few milliseconds, and who holds them holds up nobody.
"""

MOST_ACCEPTED = 32
"""Connections that are accepted in one turn of the event loop. A few turns pass until one that is ended is closed."""

HANDSHAKE_SECONDS = 5.0
"""For TLS: as long as the API server waits for an answer."""

FIRST_REQUEST_SECONDS = 10.0
IDLE_SECONDS = 120.0
"""The API server ends a connection itself that it has not used for 90 s: who ended it before would lose a request."""

SWEEP_SECONDS = 5.0


class Connections:
    """Accepts for a runner's server, and ends what does nothing."""

    def __init__(self, runner: web.AppRunner, most: int = MOST) -> None:
        if runner.server is None:
            raise RuntimeError("the runner is not set up")
        self._server = runner.server
        self._most = most
        self._deadlines: dict[RequestHandler, float] = {}
        """When a connection is ended, unless it asks something before. One that has ended stays until then."""
        self._accepted: dict[RequestHandler, float] = {}
        """When those came that have asked nothing yet."""
        self._handshakes: dict[_Secured, asyncio.Task[None]] = {}

    async def listen(self, address: str, port: int, context: ssl.SSLContext | None = None) -> asyncio.Server:
        """On all addresses if it is empty; with TLS if there is a context. Raises OSError."""
        server = await asyncio.get_running_loop().create_server(
            self._accept if context is None else lambda: _Secured(partial(self._secure, context)),
            host=address or None,
            port=port,
            reuse_address=True,
            backlog=MOST_ACCEPTED,
        )
        for listening in server.sockets:  # for asyncio, as many as may wait are accepted in one turn
            with socket.fromfd(listening.fileno(), listening.family, listening.type) as same:
                same.listen(MOST)  # whoever finds it full comes again a second later
        return server

    def answering(self, request: web.Request) -> float:
        """A request has been read up to its body. Since when its caller waits, by the event loop's clock."""
        self._deadlines[request.protocol] = _now() + FIRST_REQUEST_SECONDS
        return self._accepted.pop(request.protocol, _now())

    def answered(self, request: web.Request) -> None:
        """The next one may take its time."""
        self._deadlines[request.protocol] = _now() + IDLE_SECONDS

    async def sweep(self) -> None:
        """End what is over its time, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for handler in [one for one, deadline in self._deadlines.items() if deadline < _now()]:
                self._end(handler)

    def _end(self, handler: RequestHandler) -> None:
        del self._deadlines[handler]
        self._accepted.pop(handler, None)
        if handler.transport is not None:
            handler.transport.abort()

    def _accept(self, since: float = 0) -> asyncio.Protocol:
        """``since``: when the connection came, if not now."""
        if len(self._server.connections) >= self._most and not self._end_idle():
            log.warning("too many connections; refused one", most=self._most)
            return _Refusal()
        handler = self._server()
        self._deadlines[handler] = _now() + FIRST_REQUEST_SECONDS
        self._accepted[handler] = since or _now()
        return handler

    def _end_idle(self) -> bool:
        """End the oldest connection that has asked nothing yet; False where there is none."""
        while self._accepted:
            oldest = next(iter(self._accepted))
            was_there = oldest.transport is not None
            self._end(oldest)
            if was_there:
                return True
        return False

    def _secure(self, context: ssl.SSLContext, connection: "_Secured") -> None:
        while len(self._handshakes) >= MOST_HANDSHAKES:
            oldest = next(iter(self._handshakes))
            self._handshakes.pop(oldest).cancel()
            oldest.transport.abort()
        self._handshakes[connection] = asyncio.get_running_loop().create_task(self._handshake(context, connection))

    async def _handshake(self, context: ssl.SSLContext, connection: "_Secured") -> None:
        since = _now()
        try:
            await connection.agree(context)
        except OSError as error:  # of ssl, too
            log.debug("no TLS", error=repr(error))
            connection.transport.abort()
        else:
            connection.hand_over(self._accept(since))
        finally:
            self._handshakes.pop(connection, None)


class _Secured(asyncio.Protocol):
    """A connection until TLS is agreed on. asyncio's own gives no way to end one before."""

    transport: asyncio.Transport

    def __init__(self, begin: Callable[["_Secured"], None]) -> None:
        self._begin = begin
        self._early = b""
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        self._begin(self)

    async def agree(self, context: ssl.SSLContext) -> None:
        """Raises OSError."""
        secured = await asyncio.get_running_loop().start_tls(
            self.transport, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
        )
        if secured is None or self._lost:
            raise ConnectionAbortedError
        self.transport = secured

    def hand_over(self, handler: asyncio.Protocol) -> None:
        """To whom it is from now on, with what came together with the handshake's end."""
        self.transport.set_protocol(handler)
        handler.connection_made(self.transport)
        if self._early:
            handler.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _now() -> float:
    return asyncio.get_running_loop().time()
