"""Which version of ovn-controller runs on this node: it is asked itself, over its control socket.

Nothing in OVN's databases says so reliably: ``northd_internal_version`` is northd's, and upgrade guides have people
write anything there.
"""

import asyncio
import json
from pathlib import Path

PATIENCE_SECONDS = 10.0
"""It answers between two rounds of its work, of which one may take long."""

_QUESTION = json.dumps({"id": 0, "method": "version", "params": []}).encode()
_NAME = "ovn-controller"


async def controller_version(run_dir: Path) -> str:
    """Such as ``23.03.1``; empty where none answers. ``run_dir`` is OVN's, where the sockets of dead ones may lie."""
    for socket in await asyncio.to_thread(lambda: list(run_dir.glob(f"{_NAME}.*.ctl"))):
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await _asked(socket)
        except (OSError, EOFError, ValueError, TimeoutError):
            continue
        version = version_in(answer)
        if version:
            return version
    return ""


def version_in(answer: str) -> str:
    """The version in what it says.

    >>> version_in("ovn-controller 23.03.1")
    '23.03.1'
    """
    words = answer.split()
    return words[1] if words[:1] == [_NAME] and len(words) > 1 else ""


async def _asked(socket: Path) -> str:
    """Raises OSError, EOFError, and ValueError where it is no JSON-RPC."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(_QUESTION)
        said = await reader.readuntil(b"}")
        return str(json.loads(said).get("result") or "")
    finally:
        writer.close()
