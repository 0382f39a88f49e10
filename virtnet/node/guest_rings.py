"""Has a switch whose threads sleep hear a guest with a vhost-user NIC as soon as it has come.

Which rings of guests are in use, a thread that polls them looks in one of 1,025 of its rounds, and it may sleep in each
(pmd-sleep-max): with 500 us a guest that a migration has brought is not heard for half a second. A thread also looks
when a port that it polls is treated otherwise. So the exact-match cache is switched off and on for this port alone.
"""

import asyncio
import time

import structlog

from virtnet.node.switch import id_of
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import VHOST_USER, VSwitch

log = structlog.get_logger()

LEARNT_SECONDS = 0.07
"""Open vSwitch learns of a guest's rings up to 64 ms after it has learnt of the guest."""

ANSWER_SECONDS = 1.0
"""How long the switch may take to do as it is told."""


class GuestRings:
    """Of this node's guests. Used from one event loop."""

    def __init__(self, vswitch: VSwitch) -> None:
        self._vswitch = vswitch
        self._changed = asyncio.Event()
        vswitch.on_change(self._changed.set)

    async def run(self) -> None:
        here: frozenset[str] = frozenset()
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                before, here = here, self._guests()
                if self._vswitch.threads_sleep:
                    for name in here - before:
                        group.create_task(self._show(name))
                await self._changed.wait()

    def _guests(self) -> frozenset[str]:
        """The interfaces of ours that have a guest."""
        return frozenset(
            interface.name
            for interface in self._vswitch.interfaces()
            if interface.type == VHOST_USER and interface.linked and id_of(interface) is not None
        )

    async def _show(self, name: str) -> None:
        """Ends with the cache on, also where a daemon that has died has left it off."""
        end = time.monotonic() + LEARNT_SECONDS
        try:
            while True:
                for on in (False, True):
                    await self._vswitch.cache(name, on=on, timeout=ANSWER_SECONDS)
                if time.monotonic() > end:
                    return
        except OvnError as error:
            log.warning("a guest that has come may not be heard at once", interface=name, error=str(error))
