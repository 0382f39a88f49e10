"""What people see of a Port: phase, node, conditions, its last handoffs, and Events on its VM."""

from virtnet.api import HandoffRecord, Port
from virtnet.api.addresses import seen
from virtnet.api.nic_kinds import EXTERNAL_NICS
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Announcement, ConditionState, Report, not_ready, ready
from virtnet.features.allowed_addresses import allowed_state
from virtnet.features.external_nics import node_of_external, unchecked_state
from virtnet.features.handoff_facts import instance_key, options_of, reports_of, row_of
from virtnet.features.handoff_records import record_of, summary_of, unverified, with_record, without_lost
from virtnet.features.leases import conflict_of, holding_of, unusable
from virtnet.features.nads import nad_state
from virtnet.features.node_parts import NODE_CHASSIS, OUTSIDE_CONFLICTS, SEEN_ADDRESSES
from virtnet.features.obstacles import served, subnet_of
from virtnet.features.ovn_state import BINDINGS, ENDINGS, PENDING_HANDOFFS, ROWS
from virtnet.features.sources import INSTANCES, MIGRATIONS, PODS, PORTS, VMS, subnet_key
from virtnet.handoff.facts import HandoffReport
from virtnet.handoff.journal import HandoffJournal
from virtnet.handoff.machine import Ending, HandoffOutcome

STUCK = "HandoffStuck"
"""Condition of a Port and reason of an Event: a handoff has waited for one thing for too long."""

ADDRESS_CONFLICT = "AddressConflict"
"""Condition of a Port and reason of an Event: a machine outside has an address of it."""


def report_port(key: ObjectKey, reader: Reader) -> Report | None:
    port = reader.whole(PORTS, key)
    if port is None:
        return None
    observed, bound, wait = reader.whole(ROWS, key) or (), reader.get(BINDINGS, key), reader.get(PENDING_HANDOFFS, key)
    external = port.spec.nic in EXTERNAL_NICS
    chassis = bound.binding.chassis if bound and not external else ""
    node = node_of_external(port, reader) if external else _node_of(chassis, reader)
    journal = HandoffJournal.read(options_of(port.key, observed).journal)
    outside = "" if node or chassis else _outside(port, reader)
    state = _state(port, node or chassis, journal, outside, reader)
    handoffs, announcements = _handoffs(port, journal, reader)
    if row_of(port.key, observed) is not None:
        handoffs = without_lost(handoffs, _current(port, journal, reader), reader.now)
    stuck = wait.text if wait and wait.stuck else ""
    return Report(
        (
            state,
            stuck_state(stuck),
            conflict_state(outside),
            nad_state(port, reader),
            unchecked_state(port, reader, external=external),
            allowed_state(port, reader),
        ),
        {
            "phase": state.reason,
            "node": node,
            "handoffs": handoffs,
            "seen_addresses": _seen(port, reader),
        },
        announcements=announcements,
        regarding=_owner(port, reader),
        about=f"NIC {port.spec.network}",
    )


def _seen(port: Port, reader: Reader) -> tuple[str, ...]:
    """What its guest has, where that is the site's to give. What nobody says any more, say after a move, stays so."""
    instance = instance_key(port)
    guest = reader.whole(INSTANCES, instance) if instance and not port.spec.addresses else None
    if port.spec.addresses or (instance and (guest is None or guest.final)):
        return ()
    told = guest.addresses.get(port.spec.network, ()) if guest else ()
    heard = seen(address for one in reader.by(SEEN_ADDRESSES, "port", port.key) for address in one.addresses)
    return told or heard or port.status.seen_addresses


def stuck_state(stuck: str) -> ConditionState:
    reason, message = ("Waiting", f"waits for {stuck}") if stuck else ("Moving", "")
    return ConditionState(STUCK, bool(stuck), reason, message, announced=True)


def conflict_state(outside: str) -> ConditionState:
    return ConditionState(
        ADDRESS_CONFLICT, bool(outside), "UsedOutside" if outside else "Free", outside, announced=True
    )


def _node_of(chassis: str, reader: Reader) -> str:
    nodes = reader.by(NODE_CHASSIS, "chassis", chassis) if chassis else []
    return nodes[0].node if nodes else ""


def _state(port: Port, place: str, journal: HandoffJournal | None, outside: str, reader: Reader) -> ConditionState:
    """Whether it is ready; the reason is its phase. ``place``: the node or chassis that has it; empty for none."""
    key = ObjectKey.of(port)
    subnet, held = subnet_of(subnet_key(port.spec.subnet), reader), holding_of(port.key, port.spec, reader)
    conflict = unusable(port, subnet) or conflict_of(port, held, reader) or outside
    if conflict:
        return not_ready("Conflict", conflict)
    if not reader.get(ROWS, key):
        obstacle = served(subnet_key(port.spec.subnet), reader)
        return not_ready("Pending", obstacle or "not written to OVN yet")
    if journal is not None:
        wait = reader.get(PENDING_HANDOFFS, key)
        return ready("Migrating", f"waits for {wait.text}" if wait and wait.text else "")
    return ready("Bound") if place else ready("Unbound", "in OVN; no node has its interface")


def _outside(port: Port, reader: Reader) -> str:
    """Which machine outside has an address that a node cannot attach a Port with, for people; empty for none."""
    found = reader.by(OUTSIDE_CONFLICTS, "port", port.key)
    return f"{found[0].node} cannot attach it: {found[0].conflict}" if found else ""


def _handoffs(
    port: Port, journal: HandoffJournal | None, reader: Reader
) -> tuple[tuple[HandoffRecord, ...], tuple[Announcement, ...]]:
    """The records with that of the current handoff, and what is announced because it has ended."""
    handoffs, ending = port.status.handoffs, reader.get(ENDINGS, ObjectKey.of(port))
    ended = {one.migration for one in handoffs if one.finished_at}
    if ending is not None and ending.journal.migration not in ended:
        return _ended(handoffs, ending, reader)
    if journal is None:
        return handoffs, ()
    wait = reader.get(PENDING_HANDOFFS, ObjectKey.of(port))
    message = f"waits for {wait.text}" if wait and wait.text else ""
    report = reports_of(port.key, reader).get(journal.migration, HandoffReport())
    return with_record(handoffs, record_of(journal, report, str(journal.state), message=message)), ()


def _ended(
    handoffs: tuple[HandoffRecord, ...], ending: Ending, reader: Reader
) -> tuple[tuple[HandoffRecord, ...], tuple[Announcement, ...]]:
    journal, outcome = ending.journal, ending.outcome
    finished, text = journal.settled or reader.now, summary_of(ending, reader.now)
    record = record_of(journal, ending.report, str(outcome), message=text, finished=finished)
    committed = outcome is HandoffOutcome.COMMITTED
    events = [Announcement(f"Handoff{outcome}", text, warning=not committed, subject=ending)]
    if committed and ending.report.unanswered:
        events.append(Announcement(*unverified(ending), warning=True))
    return with_record(handoffs, record), tuple(events)


def _current(port: Port, journal: HandoffJournal | None, reader: Reader) -> frozenset[str]:
    """UIDs of migrations that may still have something to tell of this port."""
    instance = instance_key(port)
    migrations = reader.by(MIGRATIONS, "instance", instance) if instance else []
    running = {one.migration.uid for one in migrations if not one.migration.final}
    return frozenset(running | ({journal.migration} if journal else set()))


def _owner(port: Port, reader: Reader) -> tuple[ObjectKey, str]:
    """A Port's owner and its UID: `kubectl describe` shows an Event only where kind and UID are right."""
    owner = port.spec.owner
    key = ObjectKey(owner.kind, port.namespace, owner.name)
    if owner.kind == "Pod":
        pod = reader.get(PODS, key)
        return key, pod.uid if pod else ""
    vm = reader.get(VMS, key)
    if vm is not None:
        return key, vm.uid
    instance = reader.get(INSTANCES, key._replace(kind=INSTANCES.kind))
    return (key._replace(kind=INSTANCES.kind), instance.uid) if instance else (key, "")
