"""At most one leads, and another takes over when the leader goes, falls silent, or freezes."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from virtnet.kube.client import Cluster, NotFound
from virtnet.kube.kinds import LEASES
from virtnet.kube.leader import LeaderElection, Terms
from virtnet.lab.control_plane import ControlPlane

QUICK = Terms(duration=3, deadline=2, retry=0.2)


@dataclass
class Replica:
    """One contender, and when it led."""

    election: LeaderElection
    terms: list[tuple[float, float]] = field(default_factory=list)
    leads: asyncio.Event = field(default_factory=asyncio.Event)
    rests: asyncio.Event = field(default_factory=asyncio.Event)

    async def lead(self) -> None:
        began = time.monotonic()
        self.rests.clear()
        self.leads.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.terms.append((began, time.monotonic()))
            self.leads.clear()
            self.rests.set()


@asynccontextmanager
async def contending(cluster: Cluster, namespace: str, name: str) -> AsyncIterator[Replica]:
    replica = Replica(LeaderElection(cluster, "controller", namespace, identity=name, terms=QUICK))
    running = asyncio.ensure_future(replica.election.run(replica.lead))
    try:
        yield replica
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(15):
        await event.wait()


async def holder(cluster: Cluster, namespace: str) -> str | None:
    lease = await cluster.get(LEASES, "controller", namespace)
    return lease["spec"].get("holderIdentity") or None


async def renewal(cluster: Cluster, namespace: str) -> None:
    """Until the Lease is next written."""
    async with asyncio.timeout(15), aclosing(cluster.watch(LEASES, namespace)) as changes:
        async for change, _ in changes:
            if change in ("ADDED", "MODIFIED"):
                return


async def renewed_for(cluster: Cluster, namespace: str, seconds: float) -> None:
    """Until the Lease has been renewed for so long by one holder."""
    first: datetime | None = None
    async with asyncio.timeout(15 + seconds), aclosing(cluster.watch(LEASES, namespace)) as changes:
        async for change, lease in changes:
            if change in ("ADDED", "MODIFIED"):
                renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
                first = first or renewed
                if renewed - first > timedelta(seconds=seconds):
                    return


async def test_one_leads_for_as_long_as_it_renews(cluster: Cluster, namespace: str) -> None:
    async with AsyncExitStack() as stack:
        async with contending(cluster, namespace, "first") as first:
            await soon(first.leads)
            second = await stack.enter_async_context(contending(cluster, namespace, "second"))
            await renewed_for(cluster, namespace, QUICK.duration + 1)
            assert first.election.leading
            assert await holder(cluster, namespace) == "first"
            assert not second.election.leading
            assert (len(first.terms), second.terms, second.leads.is_set()) == (0, [], False)
        await soon(second.leads)  # it has stood for election all the while
    assert (len(first.terms), len(second.terms)) == (1, 1)
    assert first.terms[0][1] <= second.terms[0][0]


async def test_the_next_takes_over_at_once_after_a_clean_end(cluster: Cluster, namespace: str) -> None:
    async with contending(cluster, namespace, "first") as first:
        await soon(first.leads)
        second = Replica(LeaderElection(cluster, "controller", namespace, identity="second", terms=QUICK))
        running = asyncio.ensure_future(second.election.run(second.lead))
        await asyncio.wait({running}, timeout=QUICK.retry * 2)
    began = time.monotonic()
    await soon(second.leads)
    assert time.monotonic() - began < QUICK.deadline, "it need not wait until the Lease is stale"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert first.terms[0][1] <= second.terms[0][0]
    lease = await cluster.get(LEASES, "controller", namespace)
    assert lease["spec"]["leaseTransitions"] == 1
    assert await holder(cluster, namespace) is None


async def test_work_that_is_done_ends_the_election(cluster: Cluster, namespace: str) -> None:
    election = LeaderElection(cluster, "controller", namespace, terms=QUICK)

    async def lead() -> None:
        assert election.leading

    await election.run(lead)
    assert not election.leading
    assert await holder(cluster, namespace) is None


async def test_what_the_work_raises_ends_the_election(cluster: Cluster, namespace: str) -> None:
    async def lead() -> None:
        raise RuntimeError("out of paper")

    with pytest.raises(RuntimeError, match="out of paper"):
        await LeaderElection(cluster, "controller", namespace, terms=QUICK).run(lead)
    assert await holder(cluster, namespace) is None


async def test_a_leader_that_is_cut_off_stops_before_another_starts(
    cluster: Cluster, wired: Cluster, wire: Any, namespace: str
) -> None:
    async with contending(wired, namespace, "first") as first:
        await soon(first.leads)
        async with contending(cluster, namespace, "second") as second:
            wire.freeze()
            await soon(first.rests)
            assert not first.election.leading
            assert not second.leads.is_set()
            await soon(second.leads)
            wire.cut()
            wire.thaw()
        # The second has gone in good order, and the first is reachable again.
        await soon(first.leads)
    assert first.terms[0][1] < second.terms[0][0]
    assert second.terms[0][1] <= first.terms[1][0]


async def test_a_short_interruption_costs_no_leadership(
    wired: Cluster, wire: Any, cluster: Cluster, namespace: str
) -> None:
    async with contending(wired, namespace, "first") as first:
        await soon(first.leads)
        for _ in range(3):
            wire.cut()
            await renewal(cluster, namespace)
        assert first.leads.is_set()
        assert first.terms == []


async def test_a_lease_in_other_hands_is_lost_at_once(cluster: Cluster, namespace: str) -> None:
    async with contending(cluster, namespace, "first") as first:
        await soon(first.leads)
        await cluster.patch(LEASES, "controller", {"spec": {"holderIdentity": "thief"}}, namespace)
        began = time.monotonic()
        await soon(first.rests)
        assert time.monotonic() - began < QUICK.deadline
        assert not first.election.leading
        await soon(first.leads)  # the thief never renews


async def test_a_deleted_lease_is_made_again(cluster: Cluster, namespace: str) -> None:
    async with contending(cluster, namespace, "first") as first:
        await soon(first.leads)
        await cluster.delete(LEASES, "controller", namespace)
        await renewal(cluster, namespace)
        assert await holder(cluster, namespace) == "first"
        assert first.terms == []


async def test_a_missing_namespace_is_told_at_once(cluster: Cluster) -> None:
    async def lead() -> None:
        raise AssertionError("nobody may lead")

    with pytest.raises(NotFound, match="no-such-namespace"):
        await LeaderElection(cluster, "controller", "no-such-namespace", terms=QUICK).run(lead)


@pytest.mark.parametrize("wrong", [{"duration": 10}, {"deadline": 2}, {"retry": 0}], ids=str)
def test_terms_leave_time_to_stop(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs 0 < retry < deadline < duration"):
        Terms(**wrong)


WRITER = """
import asyncio, sys, time
from virtnet.kube.client import Cluster
from virtnet.kube.leader import LeaderElection, Terms

async def main(kubeconfig, namespace, duration, deadline, retry):
    async with await Cluster.connect(kubeconfig) as cluster:
        terms = Terms(float(duration), float(deadline), float(retry))
        election = LeaderElection(cluster, "controller", namespace, terms=terms)

        async def lead():
            try:
                while True:
                    if election.leading:
                        print("writes", time.monotonic(), flush=True)
                    await asyncio.sleep(0.01)
            finally:
                print("ended", flush=True)

        await election.run(lead)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_frozen_leader_writes_nothing_when_it_wakes(
    api_server: ControlPlane, cluster: Cluster, namespace: str
) -> None:
    terms = [str(number) for number in (QUICK.duration, QUICK.deadline, QUICK.retry)]
    arguments = ["-c", WRITER, str(api_server.kubeconfig), namespace, *terms]
    root = Path(__file__).parents[2]
    frozen = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=root, stdout=asyncio.subprocess.PIPE)
    assert frozen.stdout is not None
    try:
        async with asyncio.timeout(15):
            while not (await frozen.stdout.readline()).startswith(b"writes"):
                assert not frozen.stdout.at_eof()
        async with contending(cluster, namespace, "second") as second:
            frozen.send_signal(signal.SIGSTOP)
            await soon(second.leads)
            frozen.send_signal(signal.SIGCONT)
            async with asyncio.timeout(15):
                written = (await frozen.stdout.readuntil(b"ended\n")).decode().splitlines()
        times = [float(line.split()[1]) for line in written if line.startswith("writes")]
        assert [moment for moment in times if moment >= second.terms[0][0]] == []
    finally:
        frozen.kill()
        await frozen.wait()
