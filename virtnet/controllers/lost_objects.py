"""Objects that went with the definition of their kind while no controller looked: what OVN has of them stays.

OVN's database says by which definitions its rows were last written. Where a kind has another one by now, nobody has
deleted those of its objects that are not there; the database goes on to say so until the last of them is back.
"""

from collections import defaultdict
from collections.abc import Mapping

import structlog

from virtnet.controllers.state import KINDS, ControllerState
from virtnet.engine.keys import ObjectKey
from virtnet.ovn.northbound import Northbound

log = structlog.get_logger()


def note_lost(state: ControllerState, northbound: Northbound, definitions: Mapping[str, str]) -> None:
    """Note what was lost, once all objects are known and before anything is decided. ``definitions``: kind -> UID."""
    replaced = {kind for kind, uid in definitions.items() if northbound.definitions.get(kind, uid) != uid != ""}
    if not replaced:
        return
    lost: dict[str, set[ObjectKey]] = defaultdict(set)
    for key in {ObjectKey.parse(key.origin) for key in northbound.keys}:
        if key.kind in replaced and not state.exists(key):
            lost[key.kind].add(key)
    for kind, keys in lost.items():
        log.warning("objects lost with the definition of their kind", kind=kind, lost=len(keys))
        state.note_lost(kind, keys)


async def record(state: ControllerState, northbound: Northbound, definitions: Mapping[str, str]) -> None:
    """Write the definitions of the kinds of which nothing is lost. Raises OvnError."""
    whole = {kind: uid for kind, uid in definitions.items() if uid and not state.lost(kind)}
    if whole.items() - northbound.definitions.items():
        await northbound.record_definitions(whole)


COMPILED = tuple(feature.model for feature in KINDS.values() if feature.compile)
"""The kinds that OVN has rows of."""
