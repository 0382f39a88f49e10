"""The node's own Open vSwitch: ports of NICs, and what OVN says about them (ovs-vswitchd.conf.db(5))."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from virtnet.ovn.connection import Connection, Dump, RowChange
from virtnet.ovn.errors import OvnError

DATABASE = "Open_vSwitch"
IFACE_ID = "iface-id"
_WANTED = {
    "Open_vSwitch": ("external_ids",),
    "Bridge": ("name", "datapath_type"),
    "Port": ("name",),
    "Interface": ("name", "external_ids", "error", "ofport"),
}
_PLAIN: Mapping[str, Any] = {"external_ids": {}, "error": None, "ofport": None, "name": "", "datapath_type": ""}


class InterfaceFailed(OvnError):  # noqa: N818 - says what happened
    """Open vSwitch could not open the device."""


@dataclass(frozen=True)
class Interface:
    """One interface of the switch."""

    name: str
    external_ids: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def installed(self) -> bool:
        """Whether ovn-controller has flows for it."""
        return self.external_ids.get("ovn-installed") == "true"


class VSwitch:
    """The local switch. Used from one event loop."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        self._rows: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in _WANTED}
        self._interfaces: dict[str, str] = {}
        """Name -> uuid: names are unique in the switch, and never change."""
        self._changed = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._connection: Connection

    @classmethod
    async def connect(cls, remote: str, bridge: str) -> Self:
        """Raises Unavailable."""
        self = cls(bridge)
        self._connection = await Connection.open(remote, DATABASE, _WANTED, self._receive, leader_only=False)
        return self

    async def close(self) -> None:
        await self._connection.close()

    @property
    def up(self) -> bool:
        return self._connection.up

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    @property
    def external_ids(self) -> Mapping[str, str]:
        """The switch's own: what ovn-controller reads of it, among others' keys."""
        row = next(iter(self._rows["Open_vSwitch"].values()), None)
        return row["external_ids"] if row else {}

    @property
    def system_id(self) -> str:
        """The node's chassis name."""
        return self.external_ids.get("system-id", "")

    @property
    def encap_ips(self) -> tuple[str, ...]:
        return tuple(ip for ip in self.external_ids.get("ovn-encap-ip", "").split(",") if ip)

    @property
    def bridge_mappings(self) -> dict[str, str]:
        """The bridges by which physical networks are reached, by the networks' names."""
        pairs = (entry.partition(":") for entry in self.external_ids.get("ovn-bridge-mappings", "").split(","))
        return {network.strip(): bridge.strip() for network, _, bridge in pairs if bridge}

    def ofport(self, name: str) -> int:
        """The OpenFlow number of an interface; 0 while it has none."""
        row = self._rows["Interface"].get(self._interfaces.get(name, ""))
        found = row["ofport"] if row else None
        return found if isinstance(found, int) and found > 0 else 0

    @property
    def datapath(self) -> str:
        """The bridge's datapath, ``system`` or ``netdev``; empty while there is no bridge."""
        bridge = next((row for row in self._rows["Bridge"].values() if row["name"] == self.bridge), None)
        return (bridge["datapath_type"] or "system") if bridge else ""

    def interface(self, name: str) -> Interface | None:
        """One interface; None where there is none of this name."""
        row = self._rows["Interface"].get(self._interfaces.get(name, ""))
        return _interface(row) if row else None

    def interfaces(self) -> list[Interface]:
        """All interfaces, ours and others'."""
        return [_interface(row) for row in self._rows["Interface"].values()]

    async def add(self, name: str, external_ids: Mapping[str, str]) -> None:
        """A port of the bridge with this interface; one that is there gets the ids. Raises OvnError's subclasses."""
        if self.interface(name) is not None:
            await self.change_ids(name, put=external_ids)
            return
        await self._connection.transact(
            [
                _wait("Bridge", self.bridge, [{"name": self.bridge}]),
                _wait("Port", name, []),
                _insert("Interface", "interface", {"name": name, "external_ids": _map(external_ids)}),
                _insert("Port", "port", {"name": name, "interfaces": ["named-uuid", "interface"]}),
                _mutate("Bridge", self.bridge, ["ports", "insert", ["set", [["named-uuid", "port"]]]]),
            ]
        )

    async def remove(self, name: str) -> None:
        """Remove a port; one that is gone already is fine."""
        ports = [uuid for uuid, row in self._rows["Port"].items() if row["name"] == name]
        if ports:
            gone = ["set", [["uuid", uuid] for uuid in ports]]
            await self._connection.transact([_mutate("Bridge", self.bridge, ["ports", "delete", gone])])

    async def change_ids(
        self, name: str, *, put: Mapping[str, str] | None = None, remove: frozenset[str] = frozenset()
    ) -> None:
        """Set and remove keys of an interface's external_ids; the others stay."""
        keys = sorted({*(put or {}), *remove})
        mutations = [["external_ids", "delete", ["set", keys]]]
        if put:
            mutations.append(["external_ids", "insert", _map(put)])
        await self._connection.transact([_mutate("Interface", name, *mutations)])

    async def set_external_ids(self, changes: Mapping[str, str | None]) -> None:
        """Set keys of the switch's external_ids, and remove those whose value is None; the others stay."""
        put = {key: value for key, value in changes.items() if value is not None}
        mutations = [["external_ids", "delete", ["set", sorted(changes)]], ["external_ids", "insert", _map(put)]]
        await self._connection.transact(
            [{"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations}]
        )

    async def wait_installed(self, name: str, timeout: float) -> bool:  # noqa: ASYNC109 - False is an answer
        """Whether OVN has installed the interface's flows, at the latest after the timeout.

        Raises InterfaceFailed when the switch cannot open the device.
        """
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            self._changed.clear()
            interface = self.interface(name)
            if interface is not None and interface.error:
                raise InterfaceFailed(f"Open vSwitch cannot open {name}: {interface.error}")
            if interface is not None and interface.installed:
                return True
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return False

    def _receive(self, news: Dump | list[RowChange]) -> None:
        if isinstance(news, Dump):
            self._rows = {
                table: {uuid: {**_PLAIN, **row} for uuid, row in news.rows.get(table, {}).items()} for table in _WANTED
            }
            self._interfaces = {row["name"]: uuid for uuid, row in self._rows["Interface"].items()}
        else:
            for change in news:
                self._apply(change)
        self._changed.set()
        for callback in self._callbacks:
            callback()

    def _apply(self, change: RowChange) -> None:
        rows = self._rows[change.table]
        if change.columns is not None:
            row = rows[change.uuid] = {**_PLAIN, **rows.get(change.uuid, {}), **change.columns}
            if change.table == "Interface":
                self._interfaces[row["name"]] = change.uuid
            return
        gone = rows.pop(change.uuid, None)
        if gone and change.table == "Interface" and self._interfaces.get(gone["name"]) == change.uuid:
            del self._interfaces[gone["name"]]


def _interface(row: Mapping[str, Any]) -> Interface:
    return Interface(row["name"], row["external_ids"], row["error"] or "")


def _map(values: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in sorted(values.items())]]


def _where(name: str) -> list[Any]:
    return [["name", "==", name]]


def _wait(table: str, name: str, rows: list[Any]) -> dict[str, Any]:
    return {"op": "wait", "table": table, "where": _where(name), "columns": ["name"], "until": "==", "rows": rows,
            "timeout": 0}  # fmt: skip


def _insert(table: str, uuid_name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"op": "insert", "table": table, "uuid-name": uuid_name, "row": row}


def _mutate(table: str, name: str, *mutations: list[Any]) -> dict[str, Any]:
    return {"op": "mutate", "table": table, "where": _where(name), "mutations": list(mutations)}
