"""Run the system's tools without stopping the event loop."""

import asyncio

from virtnet.lab.standin.worker import Hitch


class CommandError(Hitch):
    """A tool failed. The message is the command and what the tool said."""


async def run(*command: str, check: bool = True) -> str:
    """What the command prints. Raises CommandError unless it succeeds (or ``check`` is off)."""
    code, out, err = await execute(*command)
    if check and code:
        raise CommandError(f"{' '.join(command)}: {(err or out).strip() or f'exit code {code}'}")
    return out


async def execute(*command: str, stdin: str = "", environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    """The exit code and both outputs."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    out, err = await process.communicate(stdin.encode() if stdin else None)
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")
