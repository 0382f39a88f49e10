"""A wire between a client and the real API server that can be frozen and cut, as networks are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import pytest
import yaml

from virtnet.kube.client import Cluster
from virtnet.lab.control_plane import ControlPlane


class Wire:
    """A port of 127.0.0.1 that leads to another one."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self.port = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        wire = cls(port)
        server = await asyncio.start_server(wire._accept, "127.0.0.1", 0)
        wire.port = server.sockets[0].getsockname()[1]
        yield wire
        server.close()
        wire.cut()

    def freeze(self) -> None:
        """Deliver nothing more, and do not tell."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        """Reset all connections. New ones work."""
        for end in self._ends:
            end.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends |= {writer, far_writer}
        with suppress(ConnectionError):
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def connected(server: ControlPlane, wire: Wire, directory: Path) -> AsyncIterator[Cluster]:
    """A client whose only way to the server is the wire."""
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    path = directory / f"{wire.port}.yaml"
    path.write_text(yaml.safe_dump(config))
    async with await Cluster.connect(str(path)) as cluster:
        yield cluster


@pytest.fixture
async def wire(api_server: ControlPlane) -> AsyncIterator[Wire]:
    async with Wire.to(api_server.port) as made:
        yield made


@pytest.fixture
async def wired(api_server: ControlPlane, wire: Wire, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The administrator's client at the end of ``wire``."""
    async with connected(api_server, wire, tmp_path) as cluster:
        yield cluster
