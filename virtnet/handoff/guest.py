"""Where the guest is, where it may go, and whether it can still arrive there: what the facts say of it together."""

from collections.abc import Iterable

from virtnet.handoff.facts import Facts, Instance, LauncherPod, Migration
from virtnet.handoff.journal import HandoffJournal


def home_of(
    instance: Instance | None, pods: Iterable[LauncherPod], migrations: Iterable[Migration]
) -> LauncherPod | None:
    """The pod that has the guest: on the instance's node, or, while it starts, one that is no migration's target."""
    live = [pod for pod in pods if pod.node and not pod.terminal]
    if instance is not None and instance.state.domain_ready:
        # KubeVirt moves nodeName on a tenth of a second after the guest, and later than a handoff takes.
        arrived = next((pod for pod in live if pod.migration == instance.state.uid), None)
        if arrived is not None:
            return arrived
    if instance is not None and instance.node:
        return next((pod for pod in live if pod.node == instance.node), None)
    running = [m.uid for m in migrations if not m.final]
    return next((pod for pod in live if pod.migration not in running), None)


def gone_for_good(facts: Facts) -> LauncherPod | None:
    """Where a post-copy migration has begun to run the guest: should the database be lost then, there is no source."""
    state = facts.instance.state if facts.instance else None
    return next((pod for pod in facts.live if state and state.post_copy and pod.migration == state.uid), None)


def target_of(facts: Facts, home: LauncherPod | None) -> LauncherPod | None:
    """The pod that the guest will move to. The VMIM's phase is not waited for: CNI ADD comes before it moves on."""
    running = [m.uid for m in facts.migrations if not m.final and not facts.state(m.uid).failed]
    here = home.node if home else ""
    return next((pod for pod in facts.live if pod.migration in running and not pod.deleting and pod.node != here), None)


def pods_of_port(facts: Facts) -> tuple[LauncherPod | None, LauncherPod | None, bool]:
    """The pod whose node the port belongs to, the one that it is to be handed over to, and whether the first arrives.

    Only two that both have the NIC hand it over. A target that alone has it has the port at once, because its CNI ADD
    waits for that: it arrives. One without it leaves the port where the guest is.
    """
    home = gone_for_good(facts) or home_of(facts.instance, facts.pods, facts.migrations)
    moves = facts.instance is not None and not facts.instance.final
    target = target_of(facts, home) if moves else None
    if target is None or not target.nic:
        return home, None, False
    return (home, target, False) if home is not None and home.nic else (target, None, True)


def arrived(facts: Facts) -> LauncherPod | None:
    """The target whose guest runs there, while its migration goes on: KubeVirt gives it its host devices meanwhile."""
    going_on = {migration.uid for migration in facts.migrations if not migration.final}
    return next(
        (pod for pod in facts.live if pod.migration in going_on and facts.state(pod.migration).domain_ready), None
    )


def nothing_to_hand_over(facts: Facts, journal: HandoffJournal) -> str:
    """Why this handoff is none any more; empty while it is one."""
    if _overtaken(facts, journal):
        return "a later migration took the guest on while no controller led"
    ends = (facts.target_pod(journal.migration), next((pod for pod in facts.pods if pod.name == journal.pod), None))
    lacking = next((pod for pod in ends if pod is not None and not pod.nic), None)
    return f"pod {lacking.name} does not have this NIC" if lacking else ""


def _overtaken(facts: Facts, journal: HandoffJournal) -> bool:
    """Whether the guest is in a pod of another migration by now: nobody led while that took it on.

    Neither end of this handoff will ever have the port again.
    """
    gone = gone_for_good(facts)
    if gone is not None and gone.node != journal.target and not _left(journal, gone):  # a later migration's
        return True
    target = facts.target_pod(journal.migration)
    home = home_of(facts.instance, facts.pods, facts.migrations)
    if home is None or home == target or home.name == journal.pod or not journal.pod:
        return False
    return target is None or target.terminal or facts.state(home.migration).domain_ready


def _left(journal: HandoffJournal, pod: LauncherPod) -> bool:
    """Whether the handoff is from this pod; from its node, where the journal does not say from which."""
    return pod.name == journal.pod if journal.pod else pod.node == journal.source


def runs_on_target(facts: Facts, journal: HandoffJournal) -> bool:
    """Whether the guest certainly runs on the target; then it never goes back.

    Another migration may have brought it: one to the same node, begun and done while nobody led.
    """
    home = home_of(facts.instance, facts.pods, facts.migrations)
    moved = facts.instance is not None and facts.instance.node == journal.target
    return moved or facts.state(journal.migration).domain_ready or (home is not None and home.node == journal.target)


def no_way_back(facts: Facts, journal: HandoffJournal) -> bool:
    """Whether the source has stopped for good, in post-copy, though nobody has said yet that the guest runs.

    Another migration may have done it, one to the same node; or long ago, the one that brought the guest to the source.
    """
    gone = gone_for_good(facts)
    return facts.state(journal.migration).post_copy or (gone is not None and gone.node == journal.target)


def cannot_arrive(facts: Facts, journal: HandoffJournal) -> str:
    """Why this migration will not bring the guest to the target; empty while it may. A missing VMIM says nothing.

    Nor does a failed one while the VMI, once it was handed off, does not say so: it may have more to say by then.
    """
    migration, state = facts.migration(journal.migration), facts.state(journal.migration)
    pod = facts.target_pod(journal.migration)
    given_up = pod is not None and pod.deleting and migration is None
    handed_off = facts.instance is not None and facts.instance.state.uid == journal.migration
    if no_way_back(facts, journal):
        return ""
    if state.failed or (migration is not None and migration.phase == "Failed" and not handed_off):
        return "the migration failed"
    if pod is None or pod.terminal or given_up:
        return "the target pod is gone"
    return ""
