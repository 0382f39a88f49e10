"""Settings of Open vSwitch as a whole (ovs-vswitchd.conf.db(5), other_config of Open_vSwitch), and what was before."""

from collections.abc import Container, Mapping

from virtnet.ovn.switch_database import SwitchDatabase, key_changes, mutate

BEFORE = "virtnet/before/"
"""Begin of keys of external_ids: what somebody else had set before we did; empty for nothing."""

DEFAULTS = {"hw-offload": "false", "dpdk-init": "false", "pmd-sleep-max": "0", "pmd-maxsleep": "0"}
"""What a key means that is not there, where there is a word for that."""

AS_GOOD = {("dpdk-init", "try"): "true"}
"""Of a key and a value: another that does as well, and is left as it is."""

Changes = Mapping[str, str | None]
"""Values by their keys; None for a key that goes."""


class SwitchConfig:
    """The settings. Used from one event loop."""

    def __init__(self, database: SwitchDatabase) -> None:
        self._database = database

    def value(self, key: str) -> str:
        """As it is now; empty where it is not set, and there is no word for that."""
        return _value(self._database.root["other_config"], key)

    def has(self, key: str, value: str) -> bool:
        return _has(self._database.root["other_config"], key, value)

    async def have(self, wanted: Mapping[str, str], left: Container[str] = ()) -> None:
        """Set these, and put back what others were before; but for those ``left`` as they are, for others to change.

        Raises OvnError's subclasses.
        """
        root = self._database.root
        config, ids = due(root["other_config"], root["external_ids"], wanted, left)
        mutations = [*key_changes("other_config", config), *key_changes("external_ids", ids)]
        if mutations:
            await self._database.transact(mutate("Open_vSwitch", "", *mutations))


def due(
    config: Mapping[str, str], ids: Mapping[str, str], wanted: Mapping[str, str], left: Container[str] = ()
) -> tuple[Changes, Changes]:
    """What must change in other_config, and in external_ids."""
    settings: dict[str, str | None] = {}
    before: dict[str, str | None] = {}
    ours = {key.removeprefix(BEFORE): value for key, value in ids.items() if key.startswith(BEFORE)}
    for key in ours.keys() - wanted.keys():
        before[BEFORE + key] = None
        if key not in left:
            settings[key] = ours[key] or None
    for key, value in wanted.items():
        if not _has(config, key, value):
            settings[key] = value
            if key not in ours:
                before[BEFORE + key] = config.get(key, "")
    return settings, before


def _has(config: Mapping[str, str], key: str, value: str) -> bool:
    return _value(config, key) in (value, AS_GOOD.get((key, value)))


def _value(config: Mapping[str, str], key: str) -> str:
    return config.get(key) or DEFAULTS.get(key, "")
