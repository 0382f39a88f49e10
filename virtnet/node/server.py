"""The socket that the CNI plugin connects to: one frame in, one frame out. It is root's."""

import asyncio
import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Histogram

from virtnet.node.attach import Attacher
from virtnet.node.request import CniError, parse

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


class Server:
    """Serves requests until closed."""

    def __init__(self, attacher: Attacher, path: Path) -> None:
        self._attacher = attacher
        self._path = path

    async def run(self) -> None:
        """Serve until cancelled. A socket that an earlier process has left is replaced."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, path=self._path)
        self._path.chmod(0o600)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not _is_root(writer):
                return
            answer = await self._answer(await _frame(reader))
            body = json.dumps(answer).encode()
            writer.write(len(body).to_bytes(4) + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            log.info("the plugin went away before it had its answer")
        finally:
            writer.close()

    async def _answer(self, frame: bytes) -> dict[str, Any]:
        began, command, outcome = time.perf_counter(), "none", "error"
        try:
            request = parse(frame)
            command = request.command
            result = await self._attacher.handle(request)
            outcome = "ok"
        except CniError as error:
            log.warning("request failed", command=command, code=error.code, error=str(error))
            return {"error": error.answer()}
        except Exception as error:
            log.exception("request failed", command=command)
            return {"error": CniError(CniError.IO, f"virtnet-node: {error!r}", "see its log").answer()}
        finally:
            DURATION.labels(command, outcome).observe(time.perf_counter() - began)
        return {"result": result}


async def _frame(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(FRAME_SECONDS):
        size = int.from_bytes(await reader.readexactly(4))
        return await reader.readexactly(size) if size <= LARGEST else b""


def _is_root(writer: asyncio.StreamWriter) -> bool:
    peer = writer.get_extra_info("socket")
    _, uid, _ = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(uid == 0)
