"""Which NICs are to be changed or put back, and what is done about it. Level-triggered."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from virtnet.api import ConfiguredNic, NicPolicyOnNode, PlacedNicPolicy
from virtnet.node.allocations import Allocations, KubeletSilent
from virtnet.node.devices.found import Found, Nic
from virtnet.node.journal import Journal
from virtnet.node.nic_policies import obstacles
from virtnet.node.nic_policies.connectivity import Connectivity
from virtnet.node.nic_policies.kernel import NicKernel, StepRefused
from virtnet.node.nic_policies.obstacles import NicObstacle
from virtnet.node.nic_policies.plan import PfNow, PfSettings, PfStep, found_before, steps, target
from virtnet.node.nic_policies.records import NicRecord, NicRecords
from virtnet.node.nic_policies.selection import selecting
from virtnet.node.nic_policies.users import users
from virtnet.node.providers.records import boot_id

log = structlog.get_logger()

LOOK_SECONDS, RETRY_SECONDS = 60.0, 5.0
"""How often to look without an event: as a rule, and while something stands in the way."""
ROUNDS = 3
"""In which a NIC is as it should be: a driver may change one setting when it is told another."""
FIRST_RETRY, LAST_RETRY = 10.0, 600.0
"""Seconds after which a driver is asked again for what it has refused, or not done."""


@dataclass(frozen=True)
class Surroundings:
    """What the reconciler asks others."""

    kernel: NicKernel
    journal: Journal
    allocations: Allocations
    connectivity: Connectivity
    follow_switch: Callable[[Sequence[PlacedNicPolicy]], Awaitable[Mapping[str, NicObstacle]]]
    """Has Open vSwitch do what policies say; returns what is in the way, by policy."""


@dataclass(frozen=True)
class _Refusal:
    wanted: PfSettings
    obstacle: NicObstacle
    until: float
    pause: float


@dataclass
class NicPolicyReconciler:
    """Keeps the NICs of this node as policies say. Used from one event loop."""

    around: Surroundings
    records: NicRecords
    found: Callable[[], Found | None]
    """The devices of the node; None before they were read."""
    statuses: dict[str, NicPolicyOnNode] | None = None
    """How each policy is doing, by name; None before the first look."""
    look: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set when ``reconcile`` may find something to do."""
    _wanted: Sequence[PlacedNicPolicy] | None = None
    _refusals: dict[str, _Refusal] = field(default_factory=dict)
    _tell: Callable[[], None] = lambda: None

    def on_change(self, tell: Callable[[], None]) -> None:
        """Call whenever a status has changed."""
        self._tell = tell

    def want(self, policies: Sequence[PlacedNicPolicy] | None) -> None:
        """Set the policies, the eldest first; None while they are unknown: everything stays as it is."""
        if policies != self._wanted:
            self._wanted = policies
            self.look.set()

    async def run(self) -> None:
        """Do what is wanted, until cancelled."""
        while True:
            pause = RETRY_SECONDS if self._waiting else LOOK_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self.look.wait()
            except TimeoutError:
                log.debug("looking again, as from time to time")
            self.look.clear()
            try:
                await self.reconcile()
            except OSError as error:  # of the journal
                log.warning("to be retried", error=str(error))

    @property
    def _waiting(self) -> bool:
        statuses = (self.statuses or {}).values()
        return any(status.reason or not all(nic.ready for nic in status.nics) for status in statuses)

    async def reconcile(self) -> None:
        """Change what is due, once. What is in the way of one NIC delays no other."""
        wanted, devices = self._wanted, self.found()
        if wanted is None or devices is None:
            return
        await self._forget(devices)
        nics: dict[str, list[ConfiguredNic]] = defaultdict(list, {policy.name: [] for policy in wanted})
        for nic in devices.nics:
            has = selecting(wanted, nic)
            record = self.records.get(nic.physical.address)
            if not has and record is None:
                continue
            owner = has[0] if has else None
            now, obstacle = await self._settle(nic, owner, record)
            if owner is not None:
                nics[owner.name].append(_told(now, obstacle))
            elif record is not None and obstacle is not None:
                nics[record.policy].append(_told(now, obstacle))
            for other in has[1:]:
                nics[other.name].append(_told(now, obstacles.overlap(now, has[0].name)))
        switch = await self.around.follow_switch([one for one in wanted if one.nics is None or nics[one.name]])
        generations = {policy.name: policy.generation for policy in wanted}
        statuses = {
            name: NicPolicyOnNode(
                generation=generations.get(name, 0),
                nics=tuple(told),
                reason=switch[name].reason if name in switch else "",
                message=switch[name].message if name in switch else "",
            )
            for name, told in nics.items()
        }
        if statuses != self.statuses:
            self.statuses = statuses
            self._tell()

    async def _forget(self, devices: Found) -> None:
        """Of what was before a boot, or of a NIC that is gone, nothing is left to be put back."""
        there = {nic.physical.address for nic in devices.nics}
        for record in self.records:
            if record.boot != boot_id() or record.address not in there:
                await self.records.remove(record.address)
        self._refusals = {address: refusal for address, refusal in self._refusals.items() if address in there}

    async def _settle(
        self, nic: Nic, policy: PlacedNicPolicy | None, record: NicRecord | None
    ) -> tuple[PfNow, NicObstacle | None]:
        """The NIC as it is afterwards, and what keeps it from being as it should."""
        now = PfNow(nic.physical.address, nic.uplink.name if nic.uplink else "", nic.physical.driver, PfSettings())
        try:
            now = await self.around.kernel.look(nic)
            if policy is not None and policy.externally_managed:
                if record is not None:
                    await self.records.remove(record.address)
                return now, obstacles.differs(policy, now)
            if obstacle := obstacles.impossible(policy, now):
                return now, obstacle
            return await self._change(nic, now, policy, record)
        except OSError as error:
            log.warning("to be retried", nic=now.name, error=str(error))
            return now, obstacles.failed(now, error)

    async def _change(
        self, nic: Nic, now: PfNow, policy: PlacedNicPolicy | None, record: NicRecord | None
    ) -> tuple[PfNow, NicObstacle | None]:
        """The same; raises OSError."""
        found = record.found if record else PfSettings()
        for _ in range(ROUNDS):
            wanted = target(policy, found)
            planned = steps(now.settings, wanted, now.driver)
            if not planned:
                await self._done(now, policy, record)
                return now, None
            if obstacle := self._still_refused(now, wanted) or await self._obstacle(now, planned):
                return now, obstacle
            found = found_before(found, now.settings, planned)
            name = policy.name if policy else record.policy if record else ""
            record = await self.records.write(NicRecord(address=now.address, policy=name, boot=boot_id(), found=found))
            if obstacle := self._attached(now, planned):  # while the disk was written
                return now, obstacle
            try:
                await self.around.kernel.carry_out(now, planned)
            except StepRefused as error:
                log.warning("refused", nic=now.name, what=str(error.step), error=str(error))
                refused = obstacles.refused(now, str(error.step), error)
                return await self.around.kernel.look(nic), self._postponed(now, wanted, refused)
            now = await self.around.kernel.look(nic)
        return now, self._postponed(now, wanted, obstacles.unsettled(now))

    async def _done(self, now: PfNow, policy: PlacedNicPolicy | None, record: NicRecord | None) -> None:
        """The NIC is as it should be. Raises OSError."""
        self._refusals.pop(now.address, None)
        if policy is None:
            await self.records.remove(now.address)
        elif record is not None and record.policy != policy.name:
            await self.records.write(record.model_copy(update={"policy": policy.name}))

    async def _obstacle(self, now: PfNow, planned: Sequence[PfStep]) -> NicObstacle | None:
        """What forbids a change just now."""
        if not any(step.resets for step in planned):
            return None
        for name in (now.interface, *now.virtual_interfaces):
            if carried := await self.around.connectivity.on(name):
                return obstacles.carries(name, carried)
        if not now.virtual:
            return None
        if obstacle := self._attached(now, planned):
            return obstacle
        try:
            allotted = await self.around.allocations.pods()
        except KubeletSilent as silent:
            return obstacles.unseen(now, str(silent))
        using = users(now, self.around.journal, allotted)
        return obstacles.in_use(now, using) if using else None

    def _attached(self, now: PfNow, planned: Sequence[PfStep]) -> NicObstacle | None:
        using = users(now, self.around.journal, {}) if any(step.resets for step in planned) else []
        return obstacles.in_use(now, using) if using else None

    def _still_refused(self, now: PfNow, wanted: PfSettings) -> NicObstacle | None:
        refusal = self._refusals.get(now.address)
        if refusal is None or refusal.wanted != wanted or asyncio.get_running_loop().time() >= refusal.until:
            return None
        return refusal.obstacle

    def _postponed(self, now: PfNow, wanted: PfSettings, obstacle: NicObstacle) -> NicObstacle:
        """What is in the way for some time, because each attempt takes the NIC's virtual functions."""
        before = self._refusals.get(now.address)
        pause = min(2 * before.pause, LAST_RETRY) if before and before.wanted == wanted else FIRST_RETRY
        until = asyncio.get_running_loop().time() + pause
        self._refusals[now.address] = _Refusal(wanted, obstacle, until, pause)
        return obstacle


def _told(now: PfNow, obstacle: NicObstacle | None) -> ConfiguredNic:
    return ConfiguredNic(
        address=now.address,
        interface=now.interface,
        vfs=now.settings.vfs or 0,
        mtu=now.settings.mtu or 0,
        vf_driver=now.settings.vf_driver or "",
        eswitch_mode=now.settings.eswitch_mode or "",
        ready=obstacle is None,
        reason=obstacle.reason if obstacle else "Configured",
        message=obstacle.message if obstacle else "",
    )
