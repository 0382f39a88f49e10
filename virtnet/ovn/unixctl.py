"""What daemons of Open vSwitch and OVN say over their control sockets, as to ovs-appctl(8)."""

import asyncio
import json
from pathlib import Path

PATIENCE_SECONDS = 10.0
"""They answer between two rounds of their work, of which one may take long."""


async def ask(run_dir: Path, daemon: str, command: str, *words: str) -> str | None:
    """The first answer of those daemons in a directory; None where none answers, or it refuses.

    The sockets of dead ones may lie there too.
    """
    for socket in await asyncio.to_thread(lambda: list(run_dir.glob(f"{daemon}.*.ctl"))):
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await _answer(socket, command, words)
        except (OSError, EOFError, TimeoutError):
            continue
        if answer is not None:
            return answer
    return None


async def _answer(socket: Path, command: str, words: tuple[str, ...]) -> str | None:
    """None where it refuses. Raises OSError, and EOFError where it says no whole JSON-RPC."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(json.dumps({"id": 0, "method": command, "params": words}).encode())
        said = b""
        while chunk := await reader.read(1 << 16):
            said += chunk
            if said.endswith(b"}") and (answer := _whole(said)) is not None:
                return answer["result"] if answer["error"] is None else None
        raise EOFError
    finally:
        writer.close()


def _whole(said: bytes) -> dict[str, str | None] | None:
    """The answer; None where more of it is to come."""
    try:
        answer: dict[str, str | None] = json.loads(said)
    except ValueError:
        return None
    return answer
