"""Whose a row is. The only place that builds or reads the external_ids of ownership."""

from collections.abc import Mapping

from virtnet.topology.rows import Key
from virtnet.topology.tables import PREFIX

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


def owned(table: str, external_ids: Mapping[str, str]) -> Key | None:
    """The key of a row of ours; None for somebody else's."""
    if external_ids.get(OWNER) != OWNER_VALUE or _ID not in external_ids:
        return None
    return Key(table, external_ids[_ID])
