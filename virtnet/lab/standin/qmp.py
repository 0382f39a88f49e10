"""QEMU's machine protocol: one client at a time, commands with answers, and events with times."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from virtnet.lab.standin.worker import Hitch

QmpEvent = dict[str, Any]

ANSWER_SECONDS = 30.0
LINE = 16 * 2**20


class QmpError(Hitch):
    """QEMU refused a command, or is gone."""


class Qmp:
    """One connection. Its events are kept, so that nobody can be too late for one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._news = asyncio.Event()
        self.events: list[QmpEvent] = []
        self.closed = asyncio.Event()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Raises QmpError when nobody listens there."""
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE)
            await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)  # the greeting
        except (OSError, TimeoutError) as problem:
            raise QmpError(f"{path}: {problem}") from problem
        made = cls(reader, writer)
        await made.execute("qmp_capabilities")
        return made

    async def execute(self, command: str, **arguments: object) -> Any:
        """What the command returns; underscores in arguments' names stand for hyphens. Raises QmpError.

        Those of a device are its properties, which have underscores.
        """
        self._number += 1
        number = self._number
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        named = {
            name if command == "device_add" else name.replace("_", "-"): value for name, value in arguments.items()
        }
        try:
            if self.closed.is_set():
                raise QmpError(f"{command}: QEMU is gone")
            self._writer.write(json.dumps({"execute": command, "arguments": named, "id": number}).encode() + b"\n")
            await self._writer.drain()
            return await asyncio.wait_for(answer, ANSWER_SECONDS)
        except (OSError, TimeoutError) as problem:
            raise QmpError(f"{command}: {problem or 'no answer'}") from problem
        finally:
            self._answers.pop(number, None)

    def find(self, wanted: Callable[[QmpEvent], bool], *, since: int = 0) -> QmpEvent | None:
        """The first event that is wanted, of this connection's from the given one on."""
        return next((event for event in self.events[since:] if wanted(event)), None)

    async def wait(self, wanted: Callable[[QmpEvent], bool], *, since: int = 0) -> QmpEvent:
        """As ``find``, but it may be yet to come. Raises QmpError when QEMU ends before."""
        while True:
            self._news.clear()
            if found := self.find(wanted, since=since):
                return found
            if self.closed.is_set():
                raise QmpError("QEMU is gone")
            await self._news.wait()

    async def close(self) -> None:
        """Let another client in."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _read(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except OSError:
            pass  # gone, as at the end of the stream
        finally:
            self.closed.set()
            self._news.set()
            self._writer.close()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(QmpError("QEMU is gone"))

    def _take(self, message: QmpEvent) -> None:
        if "event" in message:
            self.events.append(message)
            self._news.set()
            return
        answer = self._answers.get(message.get("id", 0))
        if answer is None or answer.done():
            return
        if "error" in message:
            answer.set_exception(QmpError(message["error"]["desc"]))
        else:
            answer.set_result(message["return"])


def moment(event: QmpEvent) -> float:
    """When an event happened, in seconds since the epoch, to the microsecond."""
    stamp = event["timestamp"]
    return float(stamp["seconds"] + stamp["microseconds"] / 1e6)
