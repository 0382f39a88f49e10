"""When to look at NICs and bridges: at once when the kernel or the switch reports a change, else from time to time."""

import asyncio

import structlog

from virtnet.node.monitor import AddressEvent, Event, LinkEvent, RouteEvent, events
from virtnet.node.providers.fallback import fall_back
from virtnet.node.providers.reconciler import RETRY_SECONDS, ProviderNetworkReconciler

log = structlog.get_logger()

SETTLE_SECONDS = 0.5
"""From a change of addresses or routes to the look: who configures a NIC puts the address first, and then routes."""


class Watch:
    """Used from one event loop."""

    def __init__(self, networks: ProviderNetworkReconciler) -> None:
        self._networks = networks
        self._plugging = networks.plugging
        self._settled: asyncio.TimerHandle | None = None
        self._switch: object = None
        self._plugging.bridges.database.on_change(self._note_switch)

    async def run(self) -> None:
        """Undo what an earlier process has left half done, then do what is wanted, until cancelled."""
        self._networks.look.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="links, addresses and routes")
            group.create_task(self._work(), name="NICs")

    async def _work(self) -> None:
        look = self._networks.look
        while True:
            try:
                async with asyncio.timeout(self._networks.pause):
                    await look.wait()
            except TimeoutError:
                log.debug("looking again, as from time to time")
            look.clear()
            if self._plugging.bridges.database.up:
                await self._networks.reconcile()
            elif await fall_back(self._plugging.records, self._plugging.ingress):
                await asyncio.sleep(RETRY_SECONDS)
                look.set()

    async def _listen(self) -> None:
        async for event in events(self._plugging.ingress.here):
            self._note(event)

    def _note(self, event: Event) -> None:
        records = list(self._plugging.records)
        indices = {index for record in records for index in (record.nic_index, record.bridge_index)}
        match event:
            case LinkEvent(index, name, upper):
                named = name in self._networks.nics | {record.bridge for record in records}
                if upper or named or index in indices:  # one of ours that has another name by now, too
                    self._networks.look.set()
            case AddressEvent(index) | RouteEvent(index):
                if index in {0, *indices}:
                    self._look_when_settled()
            case _:
                self._networks.look.set()

    def _look_when_settled(self) -> None:
        if self._settled is None:
            self._settled = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._look_now)

    def _look_now(self) -> None:
        self._settled = None
        self._networks.look.set()

    def _note_switch(self) -> None:
        """Most changes of the switch are of pods' ports."""
        now = self._plugging.bridges.summary(self._networks.nics)
        if now != self._switch:
            self._switch = now
            self._networks.look.set()
