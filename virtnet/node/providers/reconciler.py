"""Which NICs must be plugged in, which are, and what is done about the difference. Level-triggered."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

import structlog

from virtnet.api import NodeProviderNetwork
from virtnet.api.names import provider_bridge
from virtnet.node.providers.fallback import fall_back
from virtnet.node.providers.guard import take_back
from virtnet.node.providers.maintenance import hold
from virtnet.node.providers.nic import PhysicalNic, Refusal, check, token_of
from virtnet.node.providers.objects import default_gateways, merged, texts
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.records import PluggingRecord, boot_id
from virtnet.node.providers.statuses import failed, plugged, troubled
from virtnet.ovn.errors import OvnError

log = structlog.get_logger()

LOOK_SECONDS, RETRY_SECONDS = 60.0, 2.0
"""How often to look without an event: as a rule, and at most, as while a plugged-in NIC is in trouble."""

FIRST_RETRY, LAST_RETRY = 10.0, 300.0
"""Seconds after a NIC was plugged in and had to be taken out again: each attempt is an interruption."""


@dataclass
class _Failure:
    nic: str
    status: NodeProviderNetwork
    until: float
    pause: float


@dataclass
class ProviderNetworkReconciler:
    """Keeps the NICs of this node plugged in as ProviderNetworks want it. Used from one event loop."""

    plugging: Plugging
    guarded: Callable[[], AbstractAsyncContextManager[None]]
    statuses: dict[str, NodeProviderNetwork] = field(default_factory=dict)
    """How each is doing, by name."""
    look: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set when ``reconcile`` may find something to do."""
    _wanted: Mapping[str, str] | None = None
    _failures: dict[str, _Failure] = field(default_factory=dict)
    _troubles: dict[str, Exception] = field(default_factory=dict)
    """What could not be done at the last look, by name; each look tries again."""
    _callbacks: list[Callable[[], None]] = field(default_factory=list)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Have a function called whenever a status has changed."""
        self._callbacks.append(callback)

    def want(self, wanted: Mapping[str, str] | None) -> None:
        """Set the NIC for each ProviderNetwork; None while that is unknown: everything stays as it is."""
        if wanted != self._wanted:
            self._wanted = wanted
            self.look.set()

    @property
    def nics(self) -> set[str]:
        """Those that are wanted or plugged in."""
        return {*(self._wanted or {}).values(), *(record.nic for record in self.plugging.records)}

    @property
    def pause(self) -> float:
        """Seconds until the next look, if there is no event before."""
        records = self.plugging.records
        again = self._troubles or any(not found.ready and records.get(name) for name, found in self.statuses.items())
        retries = [failure.until - time.monotonic() for failure in self._failures.values()]
        return max(RETRY_SECONDS, min([RETRY_SECONDS if again else LOOK_SECONDS, *retries]))

    async def reconcile(self) -> None:
        """Plug and unplug what is due, once. The status of each says what failed, which delays no other."""
        records = self.plugging.records
        self._troubles = await fall_back(records, self.plugging.ingress)
        self._troubles |= await take_back(records, self.plugging)
        if self._wanted is not None:
            self._troubles |= await self._adopt()
        wanted = self._wanted
        found = await self._apply(wanted)
        for name, error in self._troubles.items():
            left = records.get(name)
            stays = wanted is None or (left is not None and wanted.get(name) == left.nic)
            found[name] = failed(left, error, stays=stays)
        self._failures = {name: failure for name, failure in self._failures.items() if name in (wanted or {})}
        if found != self.statuses:
            self.statuses = found
            for callback in self._callbacks:
                callback()

    async def _apply(self, wanted: Mapping[str, str] | None) -> dict[str, NodeProviderNetwork]:
        found: dict[str, NodeProviderNetwork] = {}

        async def settle(name: str, work: Callable[[], Awaitable[NodeProviderNetwork | None]]) -> None:
            try:
                if name not in self._troubles and (status := await work()) is not None:
                    found[name] = status
            except (OvnError, OSError) as error:
                log.warning("to be retried", provider_network=name, error=str(error))
                self._troubles[name] = error

        for record in self.plugging.records:
            if wanted is None:
                await settle(record.provider_network, partial(self._held, record))
            elif _over(record, wanted):
                await settle(record.provider_network, partial(self._unplug, record))
        for name, nic in sorted((wanted or {}).items()):
            await settle(name, partial(self._ensure, name, nic))
        return found

    async def _adopt(self) -> dict[str, Exception]:
        """Take over bridges of ours that are in no record, as after the state directory was lost.

        Returns what could not be, by ProviderNetwork.
        """
        failures: dict[str, Exception] = {}
        for name, bridge in self.plugging.bridges.owned().items():
            nic = self.plugging.bridges.nic_of(bridge)
            if self.plugging.records.get(name) is not None or not nic:
                continue
            try:
                if found := await self.plugging.find(nic):
                    log.warning("bridge taken over", provider_network=name, bridge=bridge, nic=nic)
                    record = await self._record(name, found, bridge)
                    await self.plugging.records.write(record.model_copy(update={"state": "Plugged"}))
            except OSError as error:
                failures[name] = error
        return failures

    async def _ensure(self, name: str, nic: str) -> NodeProviderNetwork:
        record = self.plugging.records.get(name)
        if record is not None and record.nic != nic:
            try:
                await self._available(name, nic)
            except Refusal as refusal:
                status = await self._held(record)
                message = f"{refusal}; until then {record.nic} stays plugged in"
                return status.model_copy(update={"ready": False, "reason": refusal.reason, "message": message})
            await self._unplug(record)
            record = None
        if record is not None:
            return await self._held(record)
        return await self._plug(name, nic)

    async def _plug(self, name: str, nic: str) -> NodeProviderNetwork:
        failure = self._failures.get(name)
        if failure is not None and failure.nic == nic and time.monotonic() < failure.until:
            return failure.status
        try:
            found = await self._available(name, nic)
        except Refusal as refusal:
            self._failures.pop(name, None)
            return NodeProviderNetwork(reason=refusal.reason, message=str(refusal))
        try:
            record = await self._record(name, found, provider_bridge(name))
            await self._verify_before(record)
            async with self.guarded():
                record = await self.plugging.plug(record)
        except (Refusal, OvnError, OSError) as error:
            log.warning("not plugged in", provider_network=name, nic=nic, error=str(error))
            reason = error.reason if isinstance(error, Refusal) else "PlugFailed"
            pause = min(2 * failure.pause, LAST_RETRY) if failure and failure.nic == nic else FIRST_RETRY
            status = NodeProviderNetwork(reason=reason, message=str(error))
            self._failures[name] = _Failure(nic, status, time.monotonic() + pause, pause)
            return status
        self._failures.pop(name, None)
        log.info("plugged in", provider_network=name, nic=nic, bridge=record.bridge)
        return plugged(record)

    async def _unplug(self, record: PluggingRecord) -> None:
        async with self.guarded():
            await self.plugging.unplug(record)
        log.info("unplugged", provider_network=record.provider_network, nic=record.nic)

    async def _available(self, name: str, nic: str) -> PhysicalNic:
        """Return the NIC, if this ProviderNetwork may have it. Raises Refusal."""
        bridges, bridge = self.plugging.bridges, provider_bridge(name)
        for record in self.plugging.records:
            if record.nic == nic and record.provider_network != name:
                raise Refusal(
                    "NicInUse",
                    f"{nic} is plugged into ProviderNetwork {record.provider_network} already; use one network with "
                    "several VLANs, or another NIC",
                )
        if bridges.owner(bridge) not in {None, name}:
            raise Refusal(
                "BridgeTaken",
                f"there is an OVS bridge {bridge} that virtnet has not made; remove it, or name the ProviderNetwork "
                "differently",
            )
        if bridges.mapped(name) not in {"", bridge}:
            raise Refusal(
                "MappingTaken",
                f"ovn-bridge-mappings on this node has {name}:{bridges.mapped(name)}, which virtnet has not written; "
                "remove that entry, or name the ProviderNetwork differently",
            )
        return check(await self.plugging.find(nic), nic, bridge=bridge, port_of=bridges.port_of(nic))

    async def _record(self, name: str, nic: PhysicalNic, bridge: str) -> PluggingRecord:
        objects = merged(await self.plugging.read(nic.name), await self.plugging.read(bridge))
        return PluggingRecord(
            provider_network=name,
            nic=nic.name,
            nic_index=nic.index,
            bridge=bridge,
            mac=nic.mac,
            mtu=nic.mtu,
            boot=boot_id(),
            settings=await self.plugging.settings(nic),
            configuration=texts(objects),
            token=token_of(nic, objects),
        )

    async def _verify_before(self, record: PluggingRecord) -> None:
        """Ask all default gateways, which are to tell later whether the node is still connected. Raises Refusal."""
        gateways = default_gateways(record.objects)
        if gateways and (silent := await self.plugging.answers(gateways, record.nic)):
            raise Refusal(
                "GatewaySilent",
                f"{record.nic} has a default route over {silent}, which does not answer ARP or ND now: whether the "
                "node stays connected could not be seen; repair or remove that route first",
            )

    async def _held(self, record: PluggingRecord) -> NodeProviderNetwork:
        if renamed := await self.plugging.new_name(record):
            await self._unplug(record)
            return NodeProviderNetwork(
                reason="NicMissing",
                message=f"NIC {record.nic} is named {renamed} now, so it has been taken out of {record.bridge}; name "
                f"{renamed} in customNics, or give it its name back",
            )
        try:
            return plugged(await hold(self.plugging, record))
        except (Refusal, OvnError, OSError) as error:
            reason = error.reason if isinstance(error, Refusal) else "BridgeFailed"
            return troubled(record, reason, str(error))


def _over(record: PluggingRecord, wanted: Mapping[str, str]) -> bool:
    """Whether a NIC is unplugged without a look at what comes in its place: that of a network that is no longer here,
    and one that another network is to have. Two networks that exchange theirs would wait for each other for ever.
    """
    nic = wanted.get(record.provider_network)
    return nic is None or (nic != record.nic and record.nic in wanted.values())
