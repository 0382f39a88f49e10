"""The integration bridge of the node's own Open vSwitch: ports of NICs, and what OVN says about them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from virtnet.ovn.errors import OvnError
from virtnet.ovn.mappings import BRIDGES, entries
from virtnet.ovn.switch_database import SwitchDatabase, SwitchRow, insert, key_changes, mutate, ofport, ovsdb_map, where

IFACE_ID = "iface-id"
VHOST_USER = "dpdkvhostuserclient"
"""The type of an interface whose guest makes the socket, so that either end may be started anew."""


class InterfaceFailed(OvnError):  # noqa: N818 - says what happened
    """Open vSwitch could not open the device."""


@dataclass(frozen=True)
class InterfaceSpec:
    """An interface as Open vSwitch is to make it: see ovs-vswitchd.conf.db(5), table Interface."""

    name: str
    type: str = ""
    """Empty: a network device that is there."""
    options: Mapping[str, str] = field(default_factory=dict)
    mtu: int = 0
    """What the switch is asked to set (``mtu_request``); 0: nothing, for a device that has its MTU."""

    @property
    def row(self) -> dict[str, Any]:
        """Its columns."""
        mtu = {"mtu_request": self.mtu} if self.mtu else {}
        return {"name": self.name, "type": self.type, "options": ovsdb_map(self.options), **mtu}


@dataclass(frozen=True)
class Interface:
    """One interface of the switch."""

    name: str
    external_ids: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    type: str = ""
    linked: bool = False
    """Whether it has a carrier: one of type ``dpdkvhostuserclient``, a guest."""

    @property
    def installed(self) -> bool:
        """Whether ovn-controller has flows for it."""
        return self.external_ids.get("ovn-installed") == "true"


@dataclass(frozen=True)
class Dpdk:
    """What the switch says of DPDK."""

    version: str = ""
    """That it is built with; empty where it is built without."""
    asked_for: bool = False
    """Whether it is configured to use it (``dpdk-init``), from its next start on."""
    initialized: bool = False
    serves_vhost_user: bool = False
    """Whether it has interfaces of type ``dpdkvhostuserclient``."""


class VSwitch:
    """The local switch. Used from one event loop."""

    def __init__(self, database: SwitchDatabase, bridge: str) -> None:
        self.database = database
        self.bridge = bridge

    @classmethod
    async def connect(cls, remote: str, bridge: str) -> Self:
        """Raises OvnUnavailable."""
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

    @property
    def dpdk(self) -> Dpdk:
        root = self.database.root
        version = root["dpdk_version"] or ""
        return Dpdk(
            version="" if version == "none" else version.removeprefix("DPDK "),
            asked_for=root["other_config"].get("dpdk-init", "false") in ("true", "try"),
            initialized=root["dpdk_initialized"],
            serves_vhost_user=VHOST_USER in root["iface_types"],
        )

    @property
    def threads_sleep(self) -> bool:
        """Whether the threads that poll ports may sleep."""
        config = self.database.root["other_config"]
        return any(config.get(key, "0") != "0" for key in ("pmd-sleep-max", "pmd-maxsleep"))  # new name, old name

    def interface(self, name: str) -> Interface | None:
        """One interface; None where there is none of this name."""
        row = self.database.named("Interface", name)
        return _interface(row) if row else None

    def interfaces(self) -> list[Interface]:
        """All interfaces, ours and others'."""
        return [_interface(row) for row in self.database.rows("Interface").values()]

    async def add(self, interface: InterfaceSpec, external_ids: Mapping[str, str]) -> None:
        """A port of the bridge with this interface; one that is there gets the ids. Raises OvnError's subclasses."""
        name = interface.name
        if self.interface(name) is not None:
            await self.change_ids(name, put=external_ids)
            return
        await self.database.transact(
            _wait("Bridge", self.bridge, [{"name": self.bridge}]),
            _wait("Port", name, []),
            insert("Interface", "interface", {**interface.row, "external_ids": ovsdb_map(external_ids)}),
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
        changes = {**dict.fromkeys(remove), **(put or {})}
        await self.database.transact(mutate("Interface", name, *key_changes("external_ids", changes)))

    async def set_external_ids(self, changes: Mapping[str, str | None]) -> None:
        """Set keys of the switch's external_ids, and remove those whose value is None; the others stay."""
        await self.database.transact(mutate("Open_vSwitch", "", *key_changes("external_ids", changes)))

    async def cache(self, name: str, *, on: bool, timeout: float) -> None:  # noqa: ASYNC109 - it goes on then
        """Have the exact-match cache for what comes in by an interface, or not; returns when the switch has done so.

        Raises OvnError's subclasses.
        """
        put = [] if on else [["other_config", "insert", ovsdb_map({"emc-enable": "false"})]]
        await self.database.transact(
            mutate("Interface", name, ["other_config", "delete", ["set", ["emc-enable"]]], *put),
            mutate("Open_vSwitch", "", ["next_cfg", "+=", 1]),
        )
        wanted = self.database.root["next_cfg"]
        await self.database.until(lambda: bool(self.database.root["cur_cfg"] >= wanted), timeout)

    async def wait_installed(self, name: str, timeout: float) -> bool:  # noqa: ASYNC109 - False is an answer
        """Whether OVN has installed the interface's flows, at the latest after the timeout.

        Raises InterfaceFailed when the switch cannot open the device.
        """
        return await self._until(name, lambda interface: interface.installed, timeout)

    async def wait_numbered(self, name: str, timeout: float) -> bool:  # noqa: ASYNC109 - False is an answer
        """Whether the interface has got its OpenFlow number, at the latest after the timeout.

        Raises InterfaceFailed when the switch cannot open the device.
        """
        return await self._until(name, lambda _: self.ofport(name) > 0, timeout)

    async def _until(self, name: str, holds: Callable[[Interface], bool], timeout: float) -> bool:  # noqa: ASYNC109
        def held() -> bool:
            interface = self.interface(name)
            if interface is not None and interface.error:
                raise InterfaceFailed(f"Open vSwitch cannot open {name}: {interface.error}")
            return interface is not None and holds(interface)

        return await self.database.until(held, timeout)


def _interface(row: SwitchRow) -> Interface:
    linked = row["link_state"] == "up"
    return Interface(row["name"], row["external_ids"], row["error"] or "", row["type"], linked)


def _wait(table: str, name: str, rows: list[Any]) -> dict[str, Any]:
    return {"op": "wait", "table": table, "where": where(name), "columns": ["name"], "until": "==", "rows": rows,
            "timeout": 0}  # fmt: skip
