"""The bridges of ProviderNetworks in the node's own Open vSwitch, and the mappings by which OVN finds them.

``ovn-bridge-mappings`` and ``ovn-chassis-mac-mappings`` are one string each that others have entries in as well: only
our own entries are changed, and only of the string that was read.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from virtnet.ovn.connection import Connection, Dump, RowChange
from virtnet.ovn.errors import OvnError, Stale
from virtnet.ovn.replica import Delta

MARK = "virtnet/provider-network"
"""Key of external_ids on bridges that are ours; its value is the ProviderNetwork."""

BRIDGES = "ovn-bridge-mappings"
MACS = "ovn-chassis-mac-mappings"
ANSWER_SECONDS = 10.0
_ATTEMPTS = 5
_WANTED = {
    "Open_vSwitch": ("external_ids", "cur_cfg", "next_cfg"),
    "Bridge": ("name", "datapath_type", "external_ids", "ports"),
    "Port": ("name", "interfaces"),
    "Interface": ("name", "type", "error", "ofport"),
}
_PLAIN: Mapping[str, Any] = {
    **dict.fromkeys(("name", "datapath_type", "type"), ""),
    **dict.fromkeys(("error", "ofport")),
    **dict.fromkeys(("ports", "interfaces"), frozenset()),
    **dict.fromkeys(("cur_cfg", "next_cfg"), 0),
    "external_ids": {},
}


class BridgeFailed(OvnError):  # noqa: N818 - says what happened
    """Open vSwitch did not do what it was told. The message has its reason."""


@dataclass(frozen=True)
class Device:
    """An interface of the switch."""

    error: str
    ofport: int
    """Below 1 while the switch has not opened it."""


def entries(text: str) -> dict[str, str]:
    """The entries of a mapping.

    >>> entries("physnet1:br-ex,blue:br-blue")
    {'physnet1': 'br-ex', 'blue': 'br-blue'}
    """
    return {key: value for part in text.split(",") if part.strip() for key, _, value in [part.strip().partition(":")]}


def with_entry(text: str, key: str, value: str | None) -> str:
    """The mapping with one entry set, or removed for None; the others stay as they are, in their order."""
    found = {name: old for name, old in entries(text).items() if value is not None or name != key}
    if value is not None:
        found[key] = value
    return ",".join(f"{name}:{old}" for name, old in found.items())


def chassis_mac(chassis: str, provider_network: str) -> str:
    """The MAC address by which a chassis' router ports speak on a ProviderNetwork: its own, and always the same."""
    digest = hashlib.sha256(f"{chassis}/{provider_network}".encode()).hexdigest()
    return ":".join(["06", *(digest[i : i + 2] for i in range(0, 10, 2))])


class ProviderBridges:
    """Used from one event loop."""

    def __init__(self, integration: str) -> None:
        self._integration = integration
        self._rows: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in _WANTED}
        self._changed = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._connection: Connection

    @classmethod
    async def connect(cls, remote: str, integration: str) -> Self:
        """Raises Unavailable."""
        self = cls(integration)
        self._connection = await Connection.open(remote, "Open_vSwitch", _WANTED, self._receive, leader_only=False)
        return self

    async def close(self) -> None:
        await self._connection.close()

    def on_change(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    @property
    def up(self) -> bool:
        return self._connection.up

    @property
    def userspace(self) -> bool:
        """Whether the switch forwards in userspace: bridges must all be of the integration bridge's kind."""
        return bool(self._bridge(self._integration).get("datapath_type") == "netdev")

    def mapped(self, provider_network: str) -> str:
        """The bridge that OVN takes for it."""
        return entries(self._ids().get(BRIDGES, "")).get(provider_network, "")

    def owner(self, bridge: str) -> str | None:
        """Whose a bridge is: a ProviderNetwork, the empty string for somebody else's, None where there is none."""
        row = self._bridge(bridge)
        return row["external_ids"].get(MARK, "") if row else None

    def owned(self) -> dict[str, str]:
        """Our bridges: ProviderNetwork -> bridge."""
        rows = self._rows["Bridge"].values()
        return {row["external_ids"][MARK]: row["name"] for row in rows if MARK in row["external_ids"]}

    def port_of(self, nic: str) -> str:
        """The bridge that has the NIC as a port, also as part of a bond; empty where none has."""
        interfaces = {uuid for uuid, row in self._rows["Interface"].items() if row["name"] == nic}
        ports = {uuid for uuid, row in self._rows["Port"].items() if interfaces & set(row["interfaces"])}
        return next((row["name"] for row in self._rows["Bridge"].values() if ports & set(row["ports"])), "")

    def device(self, name: str) -> Device | None:
        row = next((row for row in self._rows["Interface"].values() if row["name"] == name), None)
        if row is None:
            return None
        return Device(row["error"] or "", _first(row["ofport"]))

    def nic_of(self, bridge: str) -> str:
        """The NIC that is a port of a bridge of ours; empty where none is."""
        ports = self._bridge(bridge).get("ports", frozenset())
        uuids = {uuid for port in ports for uuid in self._rows["Port"].get(port, _PLAIN)["interfaces"]}
        rows = (self._rows["Interface"].get(uuid, _PLAIN) for uuid in uuids)
        return next((row["name"] for row in rows if not row["type"] and row["name"]), "")

    async def make(self, bridge: str, provider_network: str, mac: str, mtu: int) -> None:
        """A bridge with the NIC's MAC and MTU. One that is there is brought up to date.

        Raises OvnError's subclasses, BridgeFailed among them.
        """
        if self.owner(bridge) is None:
            interface = {"name": bridge, "type": "internal", "mtu_request": mtu}
            row = {
                "name": bridge,
                "datapath_type": "netdev" if self.userspace else "",
                "ports": ["named-uuid", "port"],
                "external_ids": _map({MARK: provider_network}),
                "other_config": _map({"hwaddr": mac}),
            }
            await self._transact(
                {"op": "insert", "table": "Interface", "uuid-name": "interface", "row": interface},
                {"op": "insert", "table": "Port", "uuid-name": "port",
                 "row": {"name": bridge, "interfaces": ["named-uuid", "interface"]}},
                {"op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": row},
                _mutate_all("bridges", "insert", ["set", [["named-uuid", "bridge"]]]),
            )  # fmt: skip
        else:
            await self._transact(
                {"op": "mutate", "table": "Bridge", "where": _where(bridge), "mutations": [
                    ["other_config", "delete", ["set", ["hwaddr"]]],
                    ["other_config", "insert", _map({"hwaddr": mac})]]},
                {"op": "update", "table": "Interface", "where": _where(bridge), "row": {"mtu_request": mtu}},
            )  # fmt: skip

    async def plug(self, bridge: str, nic: str) -> None:
        """Have the NIC as a port, opened by the switch. Raises OvnError's subclasses, BridgeFailed among them."""
        if self.port_of(nic) != bridge:
            await self._transact(
                {"op": "insert", "table": "Interface", "uuid-name": "interface", "row": {"name": nic}},
                {"op": "insert", "table": "Port", "uuid-name": "port",
                 "row": {"name": nic, "interfaces": ["named-uuid", "interface"]}},
                {"op": "mutate", "table": "Bridge", "where": _where(bridge),
                 "mutations": [["ports", "insert", ["set", [["named-uuid", "port"]]]]]},
            )  # fmt: skip
        await self._until(lambda: self._open(nic), f"{bridge} has port {nic}", nic)

    async def unplug(self, bridge: str, nic: str) -> None:
        """Have the NIC no more; waits until the switch has let go of it. Raises OvnError's subclasses."""
        ports = [uuid for uuid, row in self._rows["Port"].items() if row["name"] == nic]
        if not ports or self.port_of(nic) != bridge:
            return
        gone = ["set", [["uuid", uuid] for uuid in ports]]
        await self._transact(
            {"op": "mutate", "table": "Bridge", "where": _where(bridge), "mutations": [["ports", "delete", gone]]},
            _mutate_all("next_cfg", "+=", 1),
        )
        await self._until(self._followed, f"{bridge} lets go of {nic}")

    async def remove(self, bridge: str) -> None:
        """Remove a bridge of ours; one that is gone already is fine."""
        found = [uuid for uuid, row in self._rows["Bridge"].items() if row["name"] == bridge and self.owner(bridge)]
        if found:
            await self._transact(_mutate_all("bridges", "delete", ["set", [["uuid", uuid] for uuid in found]]))

    async def map(self, provider_network: str, bridge: str) -> None:
        """Tell OVN of the bridge, and of this chassis' MAC address on it."""
        mac = chassis_mac(self._ids().get("system-id", ""), provider_network)
        await self._set_entries(provider_network, {BRIDGES: bridge, MACS: mac})

    async def unmap(self, provider_network: str) -> None:
        await self._set_entries(provider_network, {BRIDGES: None, MACS: None})

    async def _set_entries(self, name: str, values: Mapping[str, str | None]) -> None:
        for attempt in range(_ATTEMPTS):
            before = self._ids()
            after = {key: with_entry(before.get(key, ""), name, value) for key, value in values.items()}
            if all(before.get(key, "") == text for key, text in after.items()):
                return
            unchanged = {"op": "wait", "table": "Open_vSwitch", "where": [], "columns": ["external_ids"], "until": "==",
                         "rows": [{"external_ids": _map(before)}], "timeout": 0}  # fmt: skip
            row = {key: text for key, text in {**before, **after}.items() if text or key not in after}
            update = {"op": "update", "table": "Open_vSwitch", "where": [], "row": {"external_ids": _map(row)}}
            try:
                await self._connection.transact([unchanged, update])
            except Stale:  # somebody else has written at the same time
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.05 * (attempt + 1))
            else:
                return

    async def _transact(self, *operations: dict[str, Any]) -> None:
        await self._connection.transact(operations)

    async def _until(self, holds: Callable[[], bool], what: str, device: str = "") -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while not holds():
                    self._changed.clear()
                    if device and (found := self.device(device)) and found.error:
                        raise BridgeFailed(f"Open vSwitch cannot open {device}: {found.error}")
                    await self._changed.wait()
        except TimeoutError:
            message = f"Open vSwitch, within {ANSWER_SECONDS:g} s: not so that {what}; is ovs-vswitchd running?"
            raise BridgeFailed(message) from None

    def _open(self, device: str) -> bool:
        found = self.device(device)
        return found is not None and found.ofport > 0

    def _followed(self) -> bool:
        row = next(iter(self._rows["Open_vSwitch"].values()), _PLAIN)
        return bool(row["cur_cfg"] >= row["next_cfg"])

    def _bridge(self, name: str) -> Mapping[str, Any]:
        return next((row for row in self._rows["Bridge"].values() if row["name"] == name), {})

    def _ids(self) -> dict[str, str]:
        row = next(iter(self._rows["Open_vSwitch"].values()), None)
        return dict(row["external_ids"]) if row else {}

    def _receive(self, news: Dump | list[RowChange]) -> None:
        if isinstance(news, Dump):
            self._rows = {
                table: {uuid: {**_PLAIN, **row} for uuid, row in news.rows.get(table, {}).items()} for table in _WANTED
            }
        else:
            for change in news:
                rows = self._rows[change.table]
                if change.columns is None:
                    rows.pop(change.uuid, None)
                else:
                    old = {**_PLAIN, **rows.get(change.uuid, {})}
                    rows[change.uuid] = old | {key: _moved(old[key], new) for key, new in change.columns.items()}
        self._changed.set()
        for callback in self._callbacks:
            callback()


def _moved(old: Any, new: Any) -> Any:
    """A column's new value."""
    return (old - new.removed) | new.added if isinstance(new, Delta) else new


def _first(value: Any) -> int:
    """An optional number."""
    found = value[0] if isinstance(value, list | tuple) and value else value
    return int(found) if isinstance(found, int) else 0


def _map(values: Mapping[str, str]) -> list[Any]:
    return ["map", [[key, value] for key, value in sorted(values.items())]]


def _where(name: str) -> list[Any]:
    return [["name", "==", name]]


def _mutate_all(column: str, mutator: str, value: Any) -> dict[str, Any]:
    return {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [[column, mutator, value]]}
