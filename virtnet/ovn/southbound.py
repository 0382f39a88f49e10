"""OVN's southbound database: where ports are bound, and which chassis there are.

Read only, but for one thing that OVN leaves undone: a chassis that died as the additional one of a port stays that.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from virtnet.handoff.facts import Binding
from virtnet.ovn.connection import CONNECT_TIMEOUT, Connection
from virtnet.ovn.replica import Columns, Delta, Dump, RowChange
from virtnet.topology.ownership import OWNER, OWNER_VALUE

__all__ = ["Binding", "Southbound"]

Changed = Callable[[frozenset[str]], None]

_PORTS = "Port_Binding"
_CHASSIS = "Chassis"
_DATAPATHS = "Datapath_Binding"
_REQUESTED = "requested_additional_chassis"
_WANTED = {
    _PORTS: (
        "logical_port",
        "type",
        "chassis",
        "additional_chassis",
        _REQUESTED,
        "options",
        "up",
        "datapath",
        "tunnel_key",
    ),
    _DATAPATHS: ("tunnel_key",),
    _CHASSIS: ("name", "hostname", "encaps"),
}
_OURS = {_PORTS: [["external_ids", "includes", ["map", [[OWNER, OWNER_VALUE]]]]]}
"""northd copies the external_ids of a logical switch port to its binding. Only the server looks at them."""

_ACTIVATED = "additional-chassis-activated"


class Southbound:
    """Bindings of our NICs' ports by Port key, in memory. Used from one event loop, as the northbound is."""

    def __init__(self, remote: str) -> None:
        self._remote = remote
        self._ports: dict[str, Columns] = {}
        self._uuids: dict[str, str] = {}
        self._chassis: dict[str, Columns] = {}
        self._datapaths: dict[str, Columns] = {}
        self._callbacks: list[Changed] = []

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:  # noqa: ASYNC109 - passed on
        """Connect and read. Raises Unavailable. From here on it reconnects by itself."""
        self._connection = await Connection.open(
            self._remote, "OVN_Southbound", _WANTED, self._report, conditions=_OURS, timeout=timeout
        )

    async def close(self) -> None:
        await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def connected(self) -> bool:
        """While this is false, bindings are what they last were."""
        return self._connection.up

    def binding(self, port: str) -> Binding | None:
        """Who has a port, by its key ``namespace/name``; None where OVN has not made a binding of it (yet)."""
        row = self._ports.get(self._uuids.get(port, ""))
        if row is None:
            return None
        return Binding(
            chassis=self._name(row.get("chassis")),
            additional=self._names(row.get("additional_chassis")),
            requested_additional=self._names(row.get(_REQUESTED)),
            activated=frozenset(name for name in row["options"].get(_ACTIVATED, "").split(",") if name),
            up=bool(row.get("up")),
        )

    def tunnel_keys(self, port: str) -> tuple[int, int] | None:
        """What tunnels call a port's switch and the port itself; None where OVN has not made a binding of it (yet)."""
        row = self._ports.get(self._uuids.get(port, ""))
        datapath = self._datapaths.get(row["datapath"]) if row else None
        return (int(datapath["tunnel_key"]), int(row["tunnel_key"])) if row and datapath else None

    def chassis(self) -> Mapping[str, str]:
        """Name -> hostname of the chassis that are there."""
        return {row["name"]: row["hostname"] for row in self._chassis.values()}

    async def evict(self, port: str, chassis: frozenset[str]) -> None:
        """Take additional chassis off a port for which none is requested by now; raises Stale where one is.

        With them goes what says that any is activated. Raises OvnError's other subclasses.
        """
        rows = {uuid: row for uuid, row in self._chassis.items() if row["name"] in chassis}
        encaps = frozenset().union(*(row.get("encaps") or () for row in rows.values()))
        gone = [
            ["additional_chassis", "delete", _uuids(rows)],
            ["additional_encap", "delete", _uuids(encaps)],
            ["options", "delete", ["set", [_ACTIVATED]]],
        ]
        at: dict[str, Any] = {"table": _PORTS, "where": [["logical_port", "==", port]]}
        none = {"columns": [_REQUESTED], "until": "==", "rows": [{_REQUESTED: _uuids(())}], "timeout": 0}
        await self._connection.transact([{"op": "wait", **at, **none}, {"op": "mutate", **at, "mutations": gone}])

    def on_change(self, callback: Changed) -> None:
        """Call back with keys of ports whose binding has changed, come or gone.

        After a reconnect, and when a chassis came or went, these are all.
        """
        self._callbacks.append(callback)

    def _name(self, uuid: str | None) -> str:
        row = self._chassis.get(uuid or "")
        return str(row["name"]) if row else ""

    def _names(self, uuids: frozenset[str] | None) -> frozenset[str]:
        return frozenset(filter(None, map(self._name, uuids or ())))

    def _report(self, report: Dump | list[RowChange]) -> None:
        if isinstance(report, Dump):
            ports = set(self._uuids)
            self._ports = {}
            self._uuids = {}
            self._chassis = dict(report.rows.get(_CHASSIS, {}))
            self._datapaths = dict(report.rows.get(_DATAPATHS, {}))
            for uuid, columns in report.rows.get(_PORTS, {}).items():
                ports |= self._put(uuid, columns)
        else:
            ports = {port for change in report for port in self._apply(change)}
        if ports:
            for callback in self._callbacks:
                callback(frozenset(ports))

    def _apply(self, change: RowChange) -> set[str]:
        if change.table == _DATAPATHS:
            if change.columns is None:
                self._datapaths.pop(change.uuid, None)
            else:
                self._datapaths[change.uuid] = change.columns
            return set()
        if change.table == _CHASSIS:
            if change.columns is None:
                self._chassis.pop(change.uuid, None)
            else:
                self._chassis[change.uuid] = {**self._chassis.get(change.uuid, {}), **change.columns}
            return set(self._uuids)
        if change.columns is None:
            return self._drop(change.uuid)
        if change.uuid not in self._ports and not change.new:
            return set()  # a change to one that is not kept
        return self._put(change.uuid, _merged(self._ports.get(change.uuid, {}), change.columns))

    def _put(self, uuid: str, columns: Columns) -> set[str]:
        if columns["type"]:
            return set()  # a router's
        self._ports[uuid] = columns
        self._uuids[columns["logical_port"]] = uuid
        return {columns["logical_port"]}

    def _drop(self, uuid: str) -> set[str]:
        row = self._ports.pop(uuid, None)
        if row is None or self._uuids.get(row["logical_port"]) != uuid:
            return set()  # made anew under another uuid already
        del self._uuids[row["logical_port"]]
        return {row["logical_port"]}


def _uuids(uuids: Iterable[str]) -> list[Any]:
    return ["set", [["uuid", uuid] for uuid in uuids]]


def _merged(columns: Columns, changed: Columns) -> dict[str, Any]:
    merged = {**columns, **changed}
    for column, value in changed.items():
        if isinstance(value, Delta):
            merged[column] = frozenset(columns.get(column, ())) - value.removed | value.added
    return merged
