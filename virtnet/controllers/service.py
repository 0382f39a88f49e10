"""The controller process: leadership, and the connections to OVN of who leads."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog

from virtnet.controllers.controller import Controller
from virtnet.controllers.metrics import Metrics
from virtnet.controllers.readiness import ControllerReadiness
from virtnet.controllers.state import COMPILERS
from virtnet.health import serving
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound, Rejected
from virtnet.kube.leader import LeaderElection
from virtnet.ovn.errors import OvnUnavailable
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound

log = structlog.get_logger()

D = TypeVar("D", OvsdbNorthbound, Southbound)

ELECTION_PAUSE = 2.0

THREAD_SECONDS = 0.0005
"""How long the loop, at work, keeps the connections' threads waiting: a commit needs several turns of theirs."""


@dataclass(frozen=True)
class ControllerSettings:
    """Flags of ``virtnet controller``."""

    northbound: str
    southbound: str
    leader_elect: bool = True
    namespace: str = "virtnet"
    """Where the leader's Lease lies."""
    metrics_address: str = ""
    """Empty: all."""
    metrics_port: int = 9402
    """For probes, too; 0: none."""


async def run(settings: ControllerSettings) -> None:
    """Serve until cancelled. Who has lost the Lease stands for election again."""
    sys.setswitchinterval(THREAD_SECONDS)
    metrics = Metrics()
    async with await Cluster.connect(agent="virtnet-controller") as cluster:
        readiness = ControllerReadiness(cluster, settings.northbound, settings.southbound)
        endpoints = serving(settings.metrics_address, settings.metrics_port, metrics.registry, readiness.obstacles)
        async with endpoints, readiness.looking():
            await _stand(cluster, settings, metrics, readiness)


async def _stand(
    cluster: Cluster, settings: ControllerSettings, metrics: Metrics, readiness: ControllerReadiness
) -> None:
    if not settings.leader_elect:
        await lead(cluster, settings, metrics, readiness)
        return
    while True:
        election = LeaderElection(cluster, name="virtnet-controller", namespace=settings.namespace)
        try:
            await election.run(lambda: lead(cluster, settings, metrics, readiness))
        except (NotFound, Rejected) as error:  # the namespace, or our role in it, may come after us
            log.warning("cannot stand for election", error=str(error))
            await asyncio.sleep(ELECTION_PAUSE)
        else:
            return


async def lead(
    cluster: Cluster, settings: ControllerSettings, metrics: Metrics, readiness: ControllerReadiness
) -> None:
    """Be the one controller, until cancelled or fenced."""
    async with (
        _opened(OvsdbNorthbound(settings.northbound, kinds=COMPILERS)) as northbound,
        _opened(Southbound(settings.southbound)) as southbound,
    ):
        if settings.leader_elect:
            await northbound.steal_lock()
        else:
            await northbound.wait_for_lock()
        metrics.leader.set(1)
        controller = Controller(cluster, northbound, southbound, metrics)
        try:
            with readiness.term(controller.obstacles):
                await controller.run()
        finally:
            metrics.leader.set(0)
            metrics.forget()
            gc.unfreeze()  # what this term of office knew; the next one begins with an empty store


@asynccontextmanager
async def _opened(database: D) -> AsyncIterator[D]:
    """The database, connected as soon as it answers: at boot the controller may be the first."""
    while True:
        try:
            await database.open()
            break
        except OvnUnavailable as error:
            log.warning("waiting for OVN", error=str(error))
    try:
        yield database
    finally:
        await database.close()
