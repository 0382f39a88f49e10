"""Whether a controller serves: it leads and does its work, or it stands by and could."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

from virtnet.kube.client import Cluster
from virtnet.ovn import schema
from virtnet.ovn.errors import OvnUnavailable

LOOK_SECONDS = 10.0
"""How often who does not lead looks whether OVN would answer."""

ANSWER_SECONDS = 5.0

_NOT_YET = "OVN has not been asked yet"


class ControllerReadiness:
    """What keeps this process from serving, for the kubelet's readiness probe."""

    def __init__(self, cluster: Cluster, northbound: str, southbound: str) -> None:
        self._cluster = cluster
        self._databases = {"OVN_Northbound": northbound, "OVN_Southbound": southbound}
        self._unreachable = dict.fromkeys(self._databases, _NOT_YET)
        self._leader: Callable[[], Iterable[str]] | None = None

    def obstacles(self) -> list[str]:
        """One line each; none where it serves."""
        api = [] if self._cluster.reachable else [f"API server {self._cluster.server} does not answer"]
        return [*api, *(self._leader() if self._leader else filter(None, self._unreachable.values()))]

    @contextmanager
    def term(self, obstacles: Callable[[], Iterable[str]]) -> Iterator[None]:
        """While this process leads, it knows by its work what keeps it from it."""
        self._leader = obstacles
        try:
            yield
        finally:
            self._leader = None

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look at OVN for as long as another leads."""
        looks = asyncio.create_task(self._looks(), name="readiness")
        try:
            yield
        finally:
            looks.cancel()

    async def _looks(self) -> None:
        while True:
            if self._leader is None:
                for database, remote in self._databases.items():
                    self._unreachable[database] = await _obstacle(remote, database)
            await asyncio.sleep(LOOK_SECONDS)


async def _obstacle(remote: str, database: str) -> str:
    try:
        await asyncio.to_thread(schema.fetch, remote, database, ANSWER_SECONDS)
    except OvnUnavailable as error:
        return str(error)
    return ""
