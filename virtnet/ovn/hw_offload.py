"""Whether Open vSwitch gives its flows to NICs (ovs-vswitchd.conf.db(5), other_config:hw-offload)."""

from collections.abc import Mapping

from virtnet.ovn.switch_database import SwitchDatabase, key_changes, mutate

KEY = "hw-offload"
BEFORE = "virtnet/hw-offload-before"
"""Key of external_ids: what somebody else had set before we did, empty for nothing. Both are written at once."""

Changes = Mapping[str, str | None]
"""Values by their keys; None for a key that goes."""


class HwOffload:
    """The setting. Used from one event loop."""

    def __init__(self, database: SwitchDatabase) -> None:
        self._database = database

    @property
    def on(self) -> bool:
        found: str = self._database.root["other_config"].get(KEY, "")
        return found == "true"

    async def have(self, *, on: bool | None) -> None:
        """Set it; None puts back what was there before. Raises OvnError's subclasses."""
        root = self._database.root
        config, ids = due(root["other_config"], root["external_ids"], on=on)
        await self._write(config, ids)

    async def leave(self) -> None:
        """Let it stay as it is, for somebody else to change. Raises OvnError's subclasses."""
        if BEFORE in self._database.root["external_ids"]:
            await self._write({}, {BEFORE: None})

    async def _write(self, config: Changes, ids: Changes) -> None:
        mutations = [*key_changes("other_config", config), *key_changes("external_ids", ids)]
        if mutations:
            await self._database.transact(mutate("Open_vSwitch", "", *mutations))


def due(config: Mapping[str, str], ids: Mapping[str, str], *, on: bool | None) -> tuple[Changes, Changes]:
    """What must change in other_config, and in external_ids."""
    current, before = config.get(KEY, ""), ids.get(BEFORE)
    if on is None:
        return ({}, {}) if before is None else ({KEY: before or None}, {BEFORE: None})
    value = "true" if on else "false"
    if (current or "false") == value:
        return {}, {}
    return {KEY: value}, {BEFORE: current} if before is None else {}
