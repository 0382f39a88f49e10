"""JSON over HTTPS to one API server: the configuration and HTTP layer of ``kubernetes.aio``, and none of its models.

Importing the models would cost 100 MiB in every process, and they lose fields that they do not know.
"""

import json
import os
import socket
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import yaml
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

from virtnet.kube.errors import Unavailable, error

ANSWER_SECONDS = 30.0
"""How long a request may take. The API server gives up on writes after 34 s by itself."""

JSON = "application/json"


async def configuration(kubeconfig: str = "") -> Configuration:
    """Where the API server is and who we are: the given kubeconfig, $KUBECONFIG, the pod's own account, ~/.kube/config.

    Raises Unavailable when none of them can be used.
    """
    found = Configuration()
    home = Path.home() / ".kube" / "config"
    path = kubeconfig or os.environ.get("KUBECONFIG", "")
    if not path and "KUBERNETES_SERVICE_HOST" not in os.environ and home.exists():
        path = str(home)
    try:
        if path:
            if not _exists(path):
                raise Unavailable(f"kubeconfig {path} does not exist; set KUBECONFIG to one that does")
            await load_kube_config(config_file=path, client_configuration=found, persist_config=False)
        else:
            load_incluster_config(found)
    except (ConfigException, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as problem:
        raise Unavailable(f"no way to reach an API server: {path or 'in-cluster account'}: {problem}") from problem
    return found


def _exists(paths: str) -> bool:
    """Whether one of the files of a $KUBECONFIG exists. The loader itself fails obscurely when none does."""
    return any(Path(path).expanduser().exists() for path in paths.split(os.pathsep) if path)


class Transport:
    """Requests to one API server over one pool of connections. To be made inside the event loop that uses it."""

    def __init__(self, config: Configuration, *, agent: str) -> None:
        self._config = config
        self._agent = agent
        self.reachable = False
        """Whether the last request, or a watch that is open, got an answer, whatever it was."""
        # Asked once: aiohttp would ask the environment in a thread, twice for each request.
        config.proxy = config.proxy or _proxy(config.host)
        self._rest = RESTClientObject(config)
        # No limit: every watch holds a connection for good, and an admission burst must not queue behind them.
        self._connector = aiohttp.TCPConnector(limit=0, ssl=self._rest.ssl_context, socket_factory=_watched_socket)
        config.client_session_kwargs = {"connector": self._connector, "middlewares": (_send_once,), "trust_env": False}

    @property
    def server(self) -> str:
        return str(self._config.host)

    async def close(self) -> None:
        await self._rest.close()
        await self._connector.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        """The answer's JSON. Sent once: whether to repeat a write is the caller's decision. Raises ApiError."""
        limits = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        try:
            async with await self._open(
                method, path, query=query, body=body, content=content, accept=accept, limits=limits
            ) as response:
                return _checked(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            raise self._unreachable(method, path, problem) from problem

    async def lines(
        self, path: str, *, query: Mapping[str, str], seconds: float, silence: float
    ) -> AsyncGenerator[dict[str, Any]]:
        """The answer's lines as they come, each a JSON object, until the server ends it.

        Raises Unavailable when the connection breaks, after ``silence`` seconds without a byte, and when the server has
        not ended it after ``seconds``.
        """
        limits = aiohttp.ClientTimeout(total=seconds, sock_connect=ANSWER_SECONDS, sock_read=silence)
        try:
            async with await self._open("GET", path, query=query, limits=limits) as response:
                if response.status >= 400:
                    _checked(response.status, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError, json.JSONDecodeError) as problem:
            raise self._unreachable("GET", path, problem) from problem

    async def _open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        limits: aiohttp.ClientTimeout,
        body: object = None,
        content: str = JSON,
        accept: str = JSON,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content, "User-Agent": self._agent, **await self._credentials()}
        url = f"{self.server}{path}?{urlencode(query or {}, quote_via=quote)}".rstrip("?")
        answer = await self._rest.request(method, url, headers=headers, body=body, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        self.reachable = True
        return response

    async def _credentials(self) -> dict[str, str]:
        """The Authorization header. Asked for each time, because a pod's token is renewed on disk every hour."""
        try:
            settings = await self._config.auth_settings()
        except (ConfigException, OSError) as problem:
            raise Unavailable(f"the token cannot be read: {problem}") from problem
        token = settings.get("BearerToken", {}).get("value")
        return {"Authorization": token.strip()} if token else {}

    def _unreachable(self, method: str, path: str, problem: Exception) -> Unavailable:
        self.reachable = False
        what = "no answer in time" if isinstance(problem, TimeoutError) else str(problem) or type(problem).__name__
        return Unavailable(f"API server {self.server}: {method} {path}: {what}")


def _proxy(server: str) -> str | None:
    """The proxy that the environment names for a server (HTTPS_PROXY, NO_PROXY)."""
    url = urlsplit(server)
    if not url.hostname or proxy_bypass(url.hostname):
        return None
    return getproxies().get(url.scheme)


def _checked(code: int, text: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:  # a proxy in between, or plain text from the server itself
        answer = {"message": text.decode(errors="replace").strip()[:500]}
        code = code if code >= 400 else 502
    if code >= 400:
        raise error(answer, code)
    return dict(answer)


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from silently repeating PUT and DELETE on a broken connection.

    The first one may have been carried out: repeated, the DELETE of a lease would free the next holder's address.
    """
    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as problem:
        raise aiohttp.ClientConnectionError(str(problem)) from problem


def _watched_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket whose kernel notices within 25 s that the peer's machine or the way to it is gone."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000)
    return made
