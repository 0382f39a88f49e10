"""Leader election on a coordination Lease: at most one replica works, and another takes over when it falls silent.

Clocks of two machines are never compared. A contender takes the Lease when it has itself seen it unchanged for as long
as the holder's promise lasts; the holder stops earlier, counted from when it *sent* its last good renewal.
What a leader writes must be fenced by its target all the same (the OVSDB lock): a process can freeze between its last
look at ``leading`` and the write.
"""

import asyncio
import math
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog

from virtnet.kube.client import ApiError, Cluster, NotFound, Rejected
from virtnet.kube.kinds import LEASES

log = structlog.get_logger()

NEVER = float("-inf")


def _now() -> float:
    """Seconds that also pass while the machine is suspended: when it wakes, another may lead."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _unique() -> str:
    return f"{socket.gethostname()}_{os.getpid()}_{uuid4().hex[:8]}"


@dataclass(frozen=True)
class Terms:
    """How long leadership lasts without renewal, in seconds."""

    duration: float = 15
    """So long a contender waits after the last renewal that it saw."""
    deadline: float = 10
    """So long after its last good renewal the holder stops. The rest of ``duration`` is for ``lead`` to end in."""
    retry: float = 2
    """The pause between renewals, and between the looks of a contender."""

    def __post_init__(self) -> None:
        if not 0 < self.retry < self.deadline < self.duration:
            raise ValueError(f"{self}: needs 0 < retry < deadline < duration")


class LeaderElection:
    """One replica's part in the election for one Lease. ``identity`` must not be another replica's."""

    def __init__(
        self, cluster: Cluster, name: str, namespace: str, *, identity: str = "", terms: Terms | None = None
    ) -> None:
        self.identity = identity or _unique()
        self._cluster = cluster
        self._name = name
        self._namespace = namespace
        self._terms = terms or Terms()
        self._lease: dict[str, Any] | None = None
        self._changed_at = NEVER
        """When the Lease was first seen as it is now."""
        self._until = NEVER

    @property
    def leading(self) -> bool:
        """Whether this replica may act. False from the deadline on, also while ``lead`` has not noticed yet."""
        return _now() < self._until

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Hold the Lease and run ``lead``, until ``lead`` returns or raises, or ``run`` itself is cancelled.

        When the Lease is lost, ``lead`` is cancelled; it is called again when the Lease is won again. On the way out
        the Lease is given up, after ``lead`` has ended, so that the next leader takes over at once and meets nobody.

        Raises what ``lead`` raises, and NotFound or Rejected when not even the first attempt was let through.
        """
        try:
            ended = False
            while not ended:
                await self._acquire()
                ended = await self._reign(lead)
        finally:
            await self._give_up()

    async def _acquire(self) -> None:
        while True:
            await self._attempt(self._terms.deadline)
            if self.leading:
                return
            await asyncio.sleep(self._terms.retry * random.uniform(1, 1.2))  # noqa: S311 - keeps contenders apart

    async def _reign(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """One term of office. Whether ``lead`` ended by itself, rather than by losing the Lease."""
        log.info("leading", lease=self._name, identity=self.identity)
        work = asyncio.ensure_future(lead())
        try:
            while self.leading:
                await asyncio.wait({work}, timeout=min(self._terms.retry, self._until - _now()))
                if work.done():
                    await work
                    return True
                await self._attempt(self._until - _now())
            log.error("leadership lost", lease=self._name, identity=self.identity)
            return False
        finally:
            await _ended(work)

    async def _attempt(self, seconds: float) -> None:
        """Take or renew the Lease, if it is ours to take; ``leading`` tells the outcome."""
        try:
            async with asyncio.timeout(seconds):
                await self._claim()
        except (ApiError, TimeoutError) as problem:
            if self._changed_at == NEVER and isinstance(problem, NotFound | Rejected):
                raise
            log.warning("lease not renewed", lease=self._name, identity=self.identity, problem=str(problem))

    async def _claim(self) -> None:
        try:
            self._observe(await self._cluster.get(LEASES, self._name, self._namespace))
        except NotFound:
            self._lease = None
        if self._lease is not None and not self._free(self._lease["spec"]):
            self._until = NEVER
            return
        sent = _now()
        body = self._body(self._lease, self.identity)
        if self._lease is None:
            self._observe(await self._cluster.create(LEASES, body, self._namespace))
        else:
            self._observe(await self._cluster.replace(LEASES, self._name, body, self._namespace))
        self._until = sent + self._terms.deadline

    def _observe(self, lease: dict[str, Any]) -> None:
        version = lease["metadata"]["resourceVersion"]
        if self._lease is None or self._lease["metadata"]["resourceVersion"] != version:
            self._changed_at = _now()
        self._lease = lease

    def _free(self, spec: dict[str, Any]) -> bool:
        """Whether the Lease is ours, nobody's, or that of a holder who has been silent for its own duration."""
        if (spec.get("holderIdentity") or self.identity) == self.identity:
            return True
        promised = float(spec.get("leaseDurationSeconds") or self._terms.duration)
        return _now() >= self._changed_at + promised

    def _body(self, lease: dict[str, Any] | None, holder: str) -> dict[str, Any]:
        """The Lease as ``holder`` (or nobody) writes it. The old resourceVersion in it makes the write conditional."""
        old: dict[str, Any] = lease["spec"] if lease else {}
        now = _timestamp()
        changes = (old.get("holderIdentity") or "") != holder
        spec = {
            **old,
            "holderIdentity": holder,
            "leaseDurationSeconds": math.ceil(self._terms.duration),
            "renewTime": now,
            "acquireTime": now if changes else old.get("acquireTime", now),
            "leaseTransitions": (old.get("leaseTransitions") or 0) + (1 if changes and holder and lease else 0),
        }
        metadata = lease["metadata"] if lease else {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _give_up(self) -> None:
        """Leave the Lease to the next contender. If that fails, it has to wait out the duration."""
        self._until = NEVER
        if self._lease is None or self._lease["spec"].get("holderIdentity") != self.identity:
            return
        try:
            async with asyncio.timeout(self._terms.retry):
                body = self._body(self._lease, "")
                self._observe(await self._cluster.replace(LEASES, self._name, body, self._namespace))
        except (ApiError, TimeoutError) as problem:
            log.warning("lease not given up", lease=self._name, identity=self.identity, problem=str(problem))


async def _ended(work: "asyncio.Future[None]") -> None:
    """Cancel it and wait until it has ended. Raises what it raised on the way."""
    work.cancel()
    await asyncio.wait({work})
    if not work.cancelled():
        work.result()
