"""OVN's southbound database: where ports are bound, and which chassis there are.

Read only, but for two things that OVN leaves undone: a chassis that died as the additional one of a port stays that,
and one that will never come back keeps its address from others.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from virtnet.handoff.facts import Binding
from virtnet.ovn.columns import Columns
from virtnet.ovn.connection import CONNECT_TIMEOUT, Connection
from virtnet.ovn.replica import Dump, RowChange
from virtnet.topology.ownership import OWNER, OWNER_VALUE

__all__ = ["Binding", "Southbound"]

PortsChanged = Callable[[frozenset[str]], None]

_PORTS = "Port_Binding"
_CHASSIS = "Chassis"
_ENCAPS = "Encap"
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
    _CHASSIS: ("name", "encaps"),
    _ENCAPS: ("ip",),
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
        self._encaps: dict[str, Columns] = {}
        self._datapaths: dict[str, Columns] = {}
        self._callbacks: list[PortsChanged] = []
        self._chassis_callbacks: list[Callable[[], None]] = []

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:  # noqa: ASYNC109 - passed on
        """Connect and read. Raises OvnUnavailable. From here on it reconnects by itself."""
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

    @property
    def obstacle(self) -> str:
        """That it is not connected, with what TLS has to say about it."""
        return self._connection.obstacle

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

    def ports(self) -> tuple[str, ...]:
        """The keys of all ports that OVN has made a binding of."""
        return tuple(self._uuids)

    def tunnel_keys(self, port: str) -> tuple[int, int] | None:
        """What tunnels call a port's switch and the port itself; None where OVN has not made a binding of it (yet)."""
        row = self._ports.get(self._uuids.get(port, ""))
        datapath = self._datapaths.get(row["datapath"]) if row else None
        return (int(datapath["tunnel_key"]), int(row["tunnel_key"])) if row and datapath else None

    def chassis(self) -> frozenset[str]:
        """The names of the chassis that are there."""
        return frozenset(row["name"] for row in self._chassis.values())

    def tunnel_addresses(self) -> Mapping[str, frozenset[str]]:
        """Name -> the addresses of the tunnels of the chassis that are there."""
        return {
            row["name"]: frozenset(self._encaps[uuid]["ip"] for uuid in row.get("encaps") or () if uuid in self._encaps)
            for row in self._chassis.values()
        }

    async def remove(self, chassis: str, address: str) -> None:
        """Remove a chassis that has no ovn-controller any more, if it still has this address.

        Raises OvnError's subclasses.
        """
        rows = {uuid: row for uuid, row in self._chassis.items() if row["name"] == chassis}
        if address not in self.tunnel_addresses().get(chassis, ()):
            return
        (encaps,) = (row["encaps"] for row in rows.values())
        where = [["name", "==", chassis]]
        same = {"columns": ["encaps"], "until": "==", "rows": [{"encaps": _uuids(sorted(encaps))}], "timeout": 0}
        await self._connection.transact(
            [
                {"op": "wait", "table": _CHASSIS, "where": where, **same},
                {"op": "delete", "table": _CHASSIS, "where": where},
                {"op": "delete", "table": "Chassis_Private", "where": where},
            ]
        )

    def on_chassis_change(self, callback: Callable[[], None]) -> None:
        """Call back when chassis, or the addresses of their tunnels, have changed, come or gone."""
        self._chassis_callbacks.append(callback)

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

    def on_change(self, callback: PortsChanged) -> None:
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
            self._encaps = dict(report.rows.get(_ENCAPS, {}))
            self._datapaths = dict(report.rows.get(_DATAPATHS, {}))
            for uuid, columns in report.rows.get(_PORTS, {}).items():
                ports |= self._put(uuid, columns)
        else:
            ports = {port for change in report for port in self._apply(change)}
        if ports:
            for callback in self._callbacks:
                callback(frozenset(ports))
        if isinstance(report, Dump) or any(change.table in (_CHASSIS, _ENCAPS) for change in report):
            for chassis_callback in self._chassis_callbacks:
                chassis_callback()

    def _apply(self, change: RowChange) -> set[str]:
        if change.table in (_DATAPATHS, _ENCAPS):
            kept = self._datapaths if change.table == _DATAPATHS else self._encaps
            if change.columns is None:
                kept.pop(change.uuid, None)
            else:
                kept[change.uuid] = change.columns
            return set()
        if change.table == _CHASSIS:
            before = self._chassis.get(change.uuid)
            if change.columns is None:
                self._chassis.pop(change.uuid, None)
            else:
                self._chassis[change.uuid] = change.columns
            same = before and change.columns and before["name"] == change.columns["name"]
            return set() if same else set(self._uuids)
        if change.columns is None:
            return self._drop(change.uuid)
        return self._put(change.uuid, change.columns)

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
