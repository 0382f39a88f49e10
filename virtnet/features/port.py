"""Port: one logical switch port, and which chassis may have it while its VM moves."""

from collections.abc import Iterable, Sequence

from virtnet.addressing.held import HeldAddress
from virtnet.addressing.holding import Holding
from virtnet.api import HandoffRecord, Port
from virtnet.api.grammar import LEASED_ADDRESS
from virtnet.api.nic_kinds import EXTERNAL_NICS
from virtnet.engine.feature import Feature
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome, Publish
from virtnet.features.allowed_addresses import allowance_of
from virtnet.features.effects import Evict, HandoffWait
from virtnet.features.handoff_facts import addresses_of, facts_of, leases_in_use
from virtnet.features.layout import neighbours
from virtnet.features.leases import conflict_of, holding_of, leases_of, unusable
from virtnet.features.node_parts import HANDOFF_REQUESTS
from virtnet.features.obstacles import obstacle, pools, subnet_of
from virtnet.features.ovn_state import ASSIGNMENTS, BINDINGS, ENDINGS, ROWS, HandoffAssignment
from virtnet.features.port_report import report_port
from virtnet.features.sources import PORTS, AnySubnet, subnet_key
from virtnet.handoff.facts import LauncherPod
from virtnet.handoff.guest import arrived
from virtnet.handoff.journal import HandoffJournal
from virtnet.handoff.machine import Decision, decide, unreported
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.compile import has_own_dhcp4, port_dhcp4_rows, port_rows
from virtnet.topology.rows import Row


def compile_port(key: ObjectKey, reader: Reader) -> Outcome:
    """Its row, with the chassis options that its handoff needs now."""
    port, observed = reader.get(PORTS, key), reader.whole(ROWS, key) or ()
    subnet = subnet_of(subnet_key(port.spec.subnet), reader) if port is not None else None
    if port is not None and unusable(port, subnet):
        # Its condition says so. What its guest uses stays, but nothing wider than a host.
        return Outcome(None if all(map(LEASED_ADDRESS.permits, addresses_of(key.key, observed))) else ())
    held = holding_of(port.key, port.spec, reader) if port is not None else Holding()
    if port is None or conflict_of(port, held, reader):
        return Outcome((), (*_without_handoff(key, reader), HandoffWait(key), Publish(ENDINGS, key, None)))
    if subnet is None or not _is_proven(port, held, observed):
        return Outcome(None)
    if reader.derive(obstacle, ObjectKey.of(subnet)) and not reader.get(ROWS, ObjectKey.of(subnet)):
        return Outcome(())
    if port.spec.nic in EXTERNAL_NICS:  # no node claims it, so that there is nothing to hand over
        rows = [*_own_dhcp(port, subnet, observed, reader), *port_rows(port, subnet, ChassisOptions())]
        told = _announced_by(arrived(facts_of(port, observed, reader)), key, reader)
        return Outcome(rows, (*told, HandoffWait(key), Publish(ENDINGS, key, None)))
    decision = decide(facts_of(port, observed, reader))
    ending = decision.ended
    if ending is not None and is_recorded(port.status.handoffs, ending.journal.migration):
        ending = None
    if ending is not None:  # the journal stays until the Port's status says how it ended
        decision = unreported(decision.options, ending)
    allowed = allowance_of(port, subnet, reader).networks
    rows = [*_own_dhcp(port, subnet, observed, reader), *port_rows(port, subnet, decision.options, allowed)]
    effects = (*_after(key, decision, reader), Publish(ENDINGS, key, ending))
    return Outcome(rows, effects, decision.again, unfinished=bool(decision.wait))


def _is_proven(port: Port, held: Holding, observed: Iterable[Row]) -> bool:
    """Whether OVN may have what this Port says: it has a lease of every address, or OVN has just these already.

    Whose lease was lost keeps its row and its handoffs: a guest is not cut off because somebody deleted an object.
    """
    if not held.missing:
        return True
    leases = {lease.name: lease for lease in map(HeldAddress.of_lease, leases_of(port.key, port.spec).values())}
    same = addresses_of(port.key, observed) == {port.spec.mac_address, *port.spec.addresses}
    return same and leases_in_use(port.key, observed, leases.values()) == leases.keys()


def is_recorded(records: Iterable[HandoffRecord], migration: str) -> bool:
    """Whether a Port's status says how a handoff has ended."""
    return any(one.migration == migration and one.finished_at for one in records)


def _after(key: ObjectKey, decision: Decision, reader: Reader) -> Sequence[object]:
    """What follows from a decision once its options are committed."""
    effects: list[object] = [HandoffWait(key, decision.wait, decision.patient)]
    journal = HandoffJournal.read(decision.options.journal)
    if journal is None:
        effects += _announced_by(decision.sole_target, key, reader)
    else:
        bound = reader.get(BINDINGS, key)
        tunnel_keys = bound.tunnel_keys if bound else None
        assignment = HandoffAssignment(key.key, journal, release=bool(decision.release), tunnel_keys=tunnel_keys)
        effects.append(Publish(ASSIGNMENTS, key, assignment))
    if decision.evict:
        effects.append(Evict(key.key, decision.evict))
    return effects


def _announced_by(target: LauncherPod | None, key: ObjectKey, reader: Reader) -> Sequence[object]:
    """The target's node is to know that the guest is there, though nothing is handed over; None: no node is."""
    if target is None:
        return _without_handoff(key, reader)
    return [Publish(ASSIGNMENTS, key, HandoffAssignment(key.key, None, target))]


def _without_handoff(key: ObjectKey, reader: Reader) -> Sequence[object]:
    """Nodes that have been asked for something are to stop."""
    requested = reader.by(HANDOFF_REQUESTS, "port", key.key)
    return [Publish(ASSIGNMENTS, key, HandoffAssignment(key.key, None) if requested else None)]


def _own_dhcp(port: Port, subnet: AnySubnet, observed: Iterable[Row], reader: Reader) -> list[Row]:
    """The DHCP options of a NIC that has its own; as they are where its Subnet cannot be put into OVN as it is now."""
    if not has_own_dhcp4(port, subnet):
        return []
    key = ObjectKey.of(subnet)
    if reader.derive(obstacle, key) is not None:
        return [row for row in observed if row.key.table == "DHCP_Options"]
    return port_dhcp4_rows(port, subnet, reader.derive(pools, key), reader.derive(neighbours, key))


PORT = Feature(model=Port, collection=PORTS, compile=compile_port, report=report_port)
