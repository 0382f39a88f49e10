"""The socket that the CNI plugin connects to: one frame in, one frame out. It is root's."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Histogram

from virtnet.node.attach import Attacher
from virtnet.node.readiness import NodeReadiness
from virtnet.node.request import COMMANDS, NEWEST, CniError, Frame, frame_of, parse, version_of

log = structlog.get_logger()

LARGEST = 4 * 1024 * 1024
"""A frame: NetworkAttachmentDefinitions are far below, objects of the API server cannot be larger."""

FRAME_SECONDS = 10.0

registry = CollectorRegistry()
DURATION = Histogram(
    "virtnet_cni_operation_duration_seconds",
    "CNI requests.",
    ["op", "result"],
    registry=registry,
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0),
)


class CniServer:
    """Answers plugins. What the frames look like: virtnet/cni/plugin.py."""

    def __init__(self, attacher: Attacher, path: Path, readiness: NodeReadiness) -> None:
        self._attacher = attacher
        self._path = path
        self._readiness = readiness
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve until cancelled. A socket that an earlier process has left is replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._accept, path=fresh)
        fresh.chmod(0o600)
        fresh.rename(self._path)
        self._readiness.serving = True
        try:
            await server.serve_forever()
        finally:
            self._readiness.serving = False
            server.close()
            for task in self._tasks:
                task.cancel()  # the plugin says "try again", and the journal knows how far it was
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = _peer(writer)
        with contextlib.closing(writer):
            if uid != 0:
                log.warning("refused: the CNI socket is root's", uid=uid)
                return
            try:
                code, text = await self._answer(await _frame(reader))
                body = bytes([code]) + text.encode()
                writer.write(len(body).to_bytes(4) + body)
                await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                log.info("the plugin went away before it had its answer")

    async def _answer(self, body: bytes) -> tuple[int, str]:
        """The plugin's exit code and output."""
        version = NEWEST
        try:
            frame = frame_of(body)
            version = version_of(frame)
            result = await self._measured(frame)
        except CniError as error:
            return 1, json.dumps({"cniVersion": version, **error.answer()})
        except Exception as error:
            log.exception("request failed")
            unforeseen = CniError(CniError.IO, f"virtnet-node: {error!r}", "see the log of virtnet-node")
            return 1, json.dumps({"cniVersion": version, **unforeseen.answer()})
        return 0, json.dumps(result) if result is not None else ""

    async def _measured(self, frame: Frame) -> dict[str, Any] | None:
        command = frame.env.get("CNI_COMMAND", "")
        began, outcome = time.perf_counter(), "error"
        try:
            result = await self._attacher.handle(parse(frame))
            outcome = "ok"
        except CniError as error:
            interface, container = frame.env.get("CNI_IFNAME"), frame.env.get("CNI_CONTAINERID")
            log.warning(
                "request failed", command=command, interface=interface, container=container, code=error.code,
                error=str(error),
            )  # fmt: skip
            raise
        finally:
            DURATION.labels(command if command in COMMANDS else "other", outcome).observe(time.perf_counter() - began)
        return result


async def _frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(FRAME_SECONDS):
        size = int.from_bytes(await reader.readexactly(4))
        return await reader.readexactly(size) if size <= LARGEST else b""


def _peer(writer: asyncio.StreamWriter) -> int:
    """The uid of whoever has connected."""
    peer = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
