"""Whose a row is. The only place that builds or reads the external_ids of ownership."""

from collections.abc import Container, Mapping
from typing import Any

from virtnet.topology.rows import Key
from virtnet.topology.tables import NAME, PREFIX, TABLES

OWNER = f"{PREFIX}owner"
OWNER_VALUE = "virtnet"
_ID = f"{PREFIX}id"
_KIND = f"{PREFIX}kind"


def own(key: Key, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The external_ids of a row of ours; ``extra`` gets our prefix.

    >>> own(Key("Logical_Switch", "ClusterSubnet/lan"))
    {'virtnet/owner': 'virtnet', 'virtnet/id': 'ClusterSubnet/lan', 'virtnet/kind': 'ClusterSubnet'}
    """
    more = {f"{PREFIX}{name}": value for name, value in (extra or {}).items()}
    return {OWNER: OWNER_VALUE, _ID: key.id, _KIND: key.kind, **more}


def owned(table: str, columns: Mapping[str, Any], kinds: Container[str] | None = None) -> Key | None:
    """The key of a row of ours by what its columns hold; None for somebody else's.

    A row of another kind than ``kinds`` (None: all) is somebody else's as well: in a rolling upgrade, a newer
    version's.
    """
    if TABLES[table].by_name:
        name = columns.get("name") or ""
        id_ = name.removeprefix(NAME) if name.startswith(NAME) else ""
    else:
        ids = columns.get("external_ids") or {}
        id_ = ids.get(_ID, "") if ids.get(OWNER) == OWNER_VALUE else ""
    key = Key(table, id_)
    return key if key.kind and (kinds is None or key.kind in kinds) else None
