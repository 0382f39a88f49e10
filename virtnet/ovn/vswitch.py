"""The integration bridge of the node's own Open vSwitch: ports of NICs, and what OVN says about them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from virtnet.ovn.errors import OvnError
from virtnet.ovn.mappings import BRIDGES, entries
from virtnet.ovn.switch_database import Row, SwitchDatabase, insert, mutate, ofport, ovsdb_map, where

IFACE_ID = "iface-id"


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

    def __init__(self, database: SwitchDatabase, bridge: str) -> None:
        self.database = database
        self.bridge = bridge

    @classmethod
    async def connect(cls, remote: str, bridge: str) -> Self:
        """Raises Unavailable."""
        return cls(await SwitchDatabase.connect(remote), bridge)

    async def close(self) -> None:
        await self.database.close()

    @property
    def up(self) -> bool:
        return self.database.up

    def on_change(self, callback: Callable[[], None]) -> None:
        self.database.on_change(callback)

    @property
    def external_ids(self) -> Mapping[str, str]:
        """The switch's own: what ovn-controller reads of it, among others' keys."""
        found: Mapping[str, str] = self.database.root["external_ids"]
        return found

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
        return entries(self.external_ids.get(BRIDGES, ""))

    def patch(self, localnet: str) -> str:
        """The interface of a network's bridge that leads to a localnet port, as ovn-controller names it."""
        return f"patch-{localnet}-to-{self.bridge}"

    def ofport(self, name: str) -> int:
        """The OpenFlow number of an interface; 0 while it has none."""
        return ofport(self.database.named("Interface", name))

    @property
    def datapath(self) -> str:
        """The bridge's datapath, ``system`` or ``netdev``; empty while there is no bridge."""
        bridge = self.database.named("Bridge", self.bridge)
        return (bridge["datapath_type"] or "system") if bridge else ""

    def interface(self, name: str) -> Interface | None:
        """One interface; None where there is none of this name."""
        row = self.database.named("Interface", name)
        return _interface(row) if row else None

    def interfaces(self) -> list[Interface]:
        """All interfaces, ours and others'."""
        return [_interface(row) for row in self.database.rows("Interface").values()]

    async def add(self, name: str, external_ids: Mapping[str, str]) -> None:
        """A port of the bridge with this interface; one that is there gets the ids. Raises OvnError's subclasses."""
        if self.interface(name) is not None:
            await self.change_ids(name, put=external_ids)
            return
        await self.database.transact(
            _wait("Bridge", self.bridge, [{"name": self.bridge}]),
            _wait("Port", name, []),
            insert("Interface", "interface", {"name": name, "external_ids": ovsdb_map(external_ids)}),
            insert("Port", "port", {"name": name, "interfaces": ["named-uuid", "interface"]}),
            mutate("Bridge", self.bridge, ["ports", "insert", ["set", [["named-uuid", "port"]]]]),
        )

    async def remove(self, name: str) -> None:
        """Remove a port; one that is gone already is fine."""
        port = self.database.uuid("Port", name)
        if port:
            await self.database.transact(mutate("Bridge", self.bridge, ["ports", "delete", ["set", [["uuid", port]]]]))

    async def change_ids(
        self, name: str, *, put: Mapping[str, str] | None = None, remove: frozenset[str] = frozenset()
    ) -> None:
        """Set and remove keys of an interface's external_ids; the others stay."""
        await self.database.transact(mutate("Interface", name, *_changes({*(put or {}), *remove}, put or {})))

    async def set_external_ids(self, changes: Mapping[str, str | None]) -> None:
        """Set keys of the switch's external_ids, and remove those whose value is None; the others stay."""
        put = {key: value for key, value in changes.items() if value is not None}
        await self.database.transact(mutate("Open_vSwitch", "", *_changes(set(changes), put)))

    async def wait_installed(self, name: str, timeout: float) -> bool:  # noqa: ASYNC109 - False is an answer
        """Whether OVN has installed the interface's flows, at the latest after the timeout.

        Raises InterfaceFailed when the switch cannot open the device.
        """

        def installed() -> bool:
            interface = self.interface(name)
            if interface is not None and interface.error:
                raise InterfaceFailed(f"Open vSwitch cannot open {name}: {interface.error}")
            return interface is not None and interface.installed

        return await self.database.until(installed, timeout)


def _interface(row: Row) -> Interface:
    return Interface(row["name"], row["external_ids"], row["error"] or "")


def _changes(keys: set[str], put: Mapping[str, str]) -> list[Any]:
    """Mutations of external_ids: OVSDB inserts no key that is there."""
    delete = ["external_ids", "delete", ["set", sorted(keys)]]
    return [delete, ["external_ids", "insert", ovsdb_map(put)]] if put else [delete]


def _wait(table: str, name: str, rows: list[Any]) -> dict[str, Any]:
    return {"op": "wait", "table": table, "where": where(name), "columns": ["name"], "until": "==", "rows": rows,
            "timeout": 0}  # fmt: skip
