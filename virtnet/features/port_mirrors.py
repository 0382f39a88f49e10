"""ClusterPortMirror: one or two Mirrors of OVN, to which the ports of the NICs that it selects refer.

ovn-controller makes each an Open vSwitch mirror of the port's interface, on whatever node that is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from virtnet.api import Port
from virtnet.api.port_mirror import ClusterPortMirror
from virtnet.api.security_group import selector_mistake
from virtnet.api.strings import invalid
from virtnet.engine.collection import Collection, Projection
from virtnet.engine.feature import Extension, Feature, Invalid
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome, Report, not_ready
from virtnet.engine.selector import Selector
from virtnet.features.committed import readiness
from virtnet.features.group_membership import labels_of_workload, selector_of
from virtnet.topology.names import part, row_name
from virtnet.topology.ownership import own
from virtnet.topology.rows import Key, Ref, Row, Value

FILTERS = {"Egress": "from-lport", "Ingress": "to-lport"}
"""What a guest sends, OVN gets from its port."""

Tunnel = tuple[str, str, int]
"""A collector, a protocol and a key: Open vSwitch has one interface of them, which serves one mirror."""


@dataclass(frozen=True)
class MirrorSelection:
    """The part of a mirror that says whom it is for: a change of the collector concerns no NIC."""

    key: ObjectKey
    selector: Selector
    namespaces: frozenset[str]
    networks: frozenset[str]
    directions: tuple[str, ...]

    @property
    def rows(self) -> tuple[Key, ...]:
        return tuple(_row_key(self.key, direction) for direction in self.directions)

    def selects(self, network: str, labels: Mapping[str, str]) -> bool:
        return (not self.networks or network in self.networks) and self.selector.matches(labels)


SELECTIONS: Collection[MirrorSelection] = Collection("MirrorSelection")


def _selection(key: ObjectKey, mirror: ClusterPortMirror) -> dict[ObjectKey, MirrorSelection]:
    if _unfit(mirror) or mirror.deleting:
        return {}
    spec = mirror.spec
    found = MirrorSelection(
        key, selector_of(spec.selector), frozenset(spec.namespaces), frozenset(spec.networks), _directions(mirror)
    )
    return {key: found}


MIRRORS: Collection[ClusterPortMirror] = Collection(
    ClusterPortMirror.__name__,
    relevant=lambda mirror: (mirror.spec, mirror.deleting),
    indexes={"tunnel": lambda mirror: [] if _unfit(mirror) else tunnels_of(mirror)},
    projections=[Projection(SELECTIONS, _selection)],
)


def tunnels_of(mirror: ClusterPortMirror) -> list[Tunnel]:
    """One for each direction that it copies: two mirrors of one port need two."""
    collector = mirror.spec.collector
    numbers = {direction: collector.key + number for number, direction in enumerate(FILTERS)}
    return [(collector.address, collector.protocol, numbers[direction]) for direction in _directions(mirror)]


def conflict_of(key: ObjectKey, reader: Reader) -> str:
    """Which mirror has a key of its collector, and is older; empty for none. To be derived."""
    mirror = reader.get(MIRRORS, key)
    if mirror is None or _unfit(mirror):
        return ""
    for tunnel in tunnels_of(mirror):
        eldest = min(reader.by(MIRRORS, "tunnel", tunnel), key=_age)
        if eldest.key != mirror.key:
            return _taken(tunnel, eldest)
    return ""


def _taken(tunnel: Tunnel, by: ClusterPortMirror) -> str:
    address, _, number = tunnel
    return f"key {number} of collector {address} is ClusterPortMirror {by.key}'s; choose others"


def _age(mirror: ClusterPortMirror) -> tuple[str, str]:
    return str(mirror.metadata.creation_timestamp or "~"), mirror.key


def compile_mirror(key: ObjectKey, reader: Reader) -> Outcome:
    mirror = reader.get(MIRRORS, key)
    if mirror is None or _unfit(mirror) or reader.derive(conflict_of, key):
        return Outcome(())
    return Outcome(tuple(_rows(mirror)))


def _rows(mirror: ClusterPortMirror) -> Iterator[Row]:
    for direction, (address, protocol, number) in zip(_directions(mirror), tunnels_of(mirror), strict=True):
        key = _row_key(ObjectKey.of(mirror), direction)
        yield Row(
            key,
            {
                "name": row_name(key),
                "type": protocol.lower(),
                "filter": FILTERS[direction],
                "sink": address,
                "index": number,
                "external_ids": own(key),
            },
        )


def _directions(mirror: ClusterPortMirror) -> tuple[str, ...]:
    return tuple(FILTERS) if mirror.spec.direction == "Both" else (mirror.spec.direction,)


def _row_key(mirror: ObjectKey, direction: str) -> Key:
    return part("Mirror", Key("Mirror", str(mirror)), direction.lower())


def _unfit(mirror: ClusterPortMirror) -> str:
    return invalid(mirror.spec) or selector_mistake(mirror.spec.selector)


def selections_of_namespace(namespace: str, reader: Reader) -> tuple[MirrorSelection, ...]:
    """The mirrors that may be for NICs of a namespace; to be derived: there are few, and many NICs."""
    near = (one for one in reader.every(SELECTIONS) if not one.namespaces or namespace in one.namespaces)
    return tuple(one for one in near if not reader.derive(conflict_of, one.key))


def mirrors_of_port(port: Port, reader: Reader) -> Mapping[str, Value]:
    """What the port's own row says of mirrors."""
    selections = reader.derive(selections_of_namespace, port.namespace)
    if not selections:
        return {"mirror_rules": frozenset()}
    labels = labels_of_workload(port, reader)
    meant = [one for one in selections if one.selects(port.spec.network, labels)]
    return {"mirror_rules": frozenset(Ref(key) for one in meant for key in one.rows)}


def report_mirror(key: ObjectKey, reader: Reader) -> Report | None:
    mirror = reader.whole(MIRRORS, key)
    if mirror is None:
        return None
    if problem := _unfit(mirror):
        return Report((not_ready("Invalid", f"spec.{problem}"),))
    if conflict := reader.derive(conflict_of, key):
        return Report((not_ready("Conflict", conflict),))
    return Report((readiness(mirror, None, reader),))


def check_mirror(new: ClusterPortMirror, old: ClusterPortMirror | None, reader: Reader) -> tuple[str, ...]:
    """Raises Invalid."""
    if problem := _unfit(new):
        raise Invalid(f"ClusterPortMirror {new.key}: spec.{problem}")
    for tunnel in tunnels_of(new) if old is None or old.spec != new.spec else ():
        other = next((one for one in reader.by(MIRRORS, "tunnel", tunnel) if one.key != new.key), None)
        if other is not None:
            raise Invalid(f"ClusterPortMirror {new.key}: {_taken(tunnel, other)}", code=409)
    return ()


CLUSTER_PORT_MIRROR = Feature(
    model=ClusterPortMirror,
    collection=MIRRORS,
    compile=compile_mirror,
    report=report_mirror,
    check=check_mirror,
    check_reads=(MIRRORS,),
    extensions=(Extension(Port, conditions=lambda *_: (), columns=mirrors_of_port),),
)
