"""A process beside the daemon while a NIC is plugged in or out: where the daemon dies in it, this undoes what is half.

``python -m virtnet.node.providers.guard RECORDS OVSDB BRIDGE NETNS`` says that it is ready, and then waits for its
input to end: after ``done`` it ends as well, else it takes the daemon's lock, as soon as that one has ended, and does
what the next daemon would do. A daemon that is there first keeps the lock.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from virtnet.node.providers.ingress import IngressFilters
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.records import Records
from virtnet.node.record_store import StoreInUse, when_free
from virtnet.ovn.errors import OvnError
from virtnet.ovn.provider_bridges import ProviderBridges
from virtnet.ovn.switch_database import SwitchDatabase

log = structlog.get_logger()

READY_SECONDS = 15.0
ATTEMPTS = 30
PAUSE_SECONDS = 1.0


@asynccontextmanager
async def guarded(records: Path, ovsdb: str, bridge: str, here: str) -> AsyncIterator[None]:
    """Have a guard for what is done inside, unless the machine is too busy for one."""
    words = ("-m", "virtnet.node.providers.guard", str(records), ovsdb, bridge, here)
    guard = await asyncio.create_subprocess_exec(
        sys.executable, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert guard.stdin is not None  # noqa: S101 - both are pipes
    assert guard.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(READY_SECONDS):
            await guard.stdout.readline()
    except TimeoutError:
        log.warning("no guard was ready; going on without")
    done = True
    try:
        yield
    except asyncio.CancelledError:
        done = False  # the daemon ends here, in the middle
        raise
    finally:
        # Done also after a failure: what could not be undone is tried again by the daemon, which is alive.
        with contextlib.suppress(OSError):
            guard.stdin.write(b"done" if done else b"")
            guard.stdin.close()
    await guard.wait()


async def take_back(records: Records, plugging: Plugging) -> dict[str, Exception]:
    """Undo what is half. Returns what could not be undone, by ProviderNetwork: it may be tried again."""
    failures: dict[str, Exception] = {}
    for record in records:
        if record.finished:
            continue
        log.warning("taken back", provider_network=record.provider_network, nic=record.nic, was=record.state)
        try:
            await plugging.unplug(record)
        except (OvnError, OSError) as error:
            log.warning("to be retried", provider_network=record.provider_network, error=str(error))
            failures[record.provider_network] = error
    return failures


async def _work(directory: Path, ovsdb: str, bridge: str, here: str) -> None:
    try:
        records = await when_free(lambda: Records(directory))
    except StoreInUse:
        return  # the next daemon is there
    for _ in range(ATTEMPTS):
        try:
            database = await SwitchDatabase.connect(ovsdb)
            try:
                plugging = Plugging(ProviderBridges(database, bridge), records, IngressFilters(here), sockets=None)
                half = await take_back(records, plugging)
            finally:
                await database.close()
            if not half:
                return
        except (OvnError, OSError) as error:
            log.warning("to be retried", error=str(error))
        await asyncio.sleep(PAUSE_SECONDS)


def main(arguments: Sequence[str]) -> None:
    directory, ovsdb, bridge, here = arguments
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if sys.stdin.read() != "done":
        asyncio.run(_work(Path(directory), ovsdb, bridge, here))


if __name__ == "__main__":
    main(sys.argv[1:])
