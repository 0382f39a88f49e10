"""Which chassis may have a port, and the journal that says why: how both lie in the port's row.

They are decided elsewhere; here is only their form, both ways.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from virtnet.api.grammar import CHASSIS_NAME
from virtnet.topology.rows import Row
from virtnet.topology.tables import PREFIX

_REQUESTED = "requested-chassis"
_STRATEGY = "activation-strategy"
_JOURNAL = "handoff-"

T = TypeVar("T")


class PortChassis(Protocol):
    """What a port says about chassis."""

    @property
    def requested(self) -> tuple[str, ...]: ...

    @property
    def strategy(self) -> str: ...

    @property
    def journal(self) -> Mapping[str, str]: ...


def chassis_options(chassis: PortChassis) -> dict[str, str]:
    """The keys of the port's options; absent where there is nothing to say.

    Raises Ungrammatical for a name that OVN would read as several.
    """
    options = {}
    for name in chassis.requested:
        CHASSIS_NAME.check(name, _REQUESTED)
    if chassis.requested:
        options[_REQUESTED] = ",".join(chassis.requested)
    if chassis.strategy:
        options[_STRATEGY] = chassis.strategy
    return options


def journal_ids(chassis: PortChassis) -> dict[str, str]:
    """The journal as extra external_ids for ``own``."""
    return {f"{_JOURNAL}{name}": value for name, value in chassis.journal.items()}


def read_chassis(row: Row, make: Callable[..., T]) -> T:
    """What an observed port says about chassis, given to ``make`` as requested, strategy and journal."""
    options: Any = row.columns.get("options") or {}
    ids: Any = row.columns.get("external_ids") or {}
    prefix = f"{PREFIX}{_JOURNAL}"
    return make(
        requested=tuple(name for name in options.get(_REQUESTED, "").split(",") if name),
        strategy=options.get(_STRATEGY, ""),
        journal={name.removeprefix(prefix): value for name, value in ids.items() if name.startswith(prefix)},
    )
