"""The bridges of ProviderNetworks in the node's own Open vSwitch, and the mappings by which OVN finds them."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from virtnet.ovn.errors import OvnError, Stale
from virtnet.ovn.mappings import BRIDGES, MACS, entries, with_entry
from virtnet.ovn.switch_database import SwitchDatabase, insert, mutate, ofport, ovsdb_map, where
from virtnet.topology.names import chassis_mac

MARK = "virtnet/provider-network"
"""Key of external_ids on bridges that are ours; its value is the ProviderNetwork."""

ANSWER_SECONDS = 10.0
_ATTEMPTS = 5


class BridgeFailed(OvnError):  # noqa: N818 - says what happened
    """Open vSwitch did not do what was asked of it. The message has its reason."""


@dataclass(frozen=True)
class Device:
    """An interface of the switch."""

    error: str
    ofport: int
    """0 while the switch has not opened it."""


class ProviderBridges:
    """Used from one event loop."""

    def __init__(self, database: SwitchDatabase, integration: str) -> None:
        self.database = database
        self._integration = integration

    @property
    def userspace(self) -> bool:
        """Whether the switch forwards in userspace: bridges must all be of the integration bridge's kind."""
        row = self.database.named("Bridge", self._integration)
        return row is not None and row["datapath_type"] == "netdev"

    def mapped(self, provider_network: str) -> str:
        """The bridge that OVN takes for it."""
        return entries(self._ids().get(BRIDGES, "")).get(provider_network, "")

    def owner(self, bridge: str) -> str | None:
        """Whose a bridge is: a ProviderNetwork, the empty string for somebody else's, None where there is none."""
        row = self.database.named("Bridge", bridge)
        return row["external_ids"].get(MARK, "") if row else None

    def owned(self) -> dict[str, str]:
        """Our bridges: ProviderNetwork -> bridge."""
        rows = self.database.rows("Bridge").values()
        return {row["external_ids"][MARK]: row["name"] for row in rows if MARK in row["external_ids"]}

    def port_of(self, nic: str) -> str:
        """The bridge that has the NIC as a port, also as part of a bond; empty where none has."""
        interface = self.database.uuid("Interface", nic)
        ports = {uuid for uuid, row in self.database.rows("Port").items() if interface in row["interfaces"]}
        return next((row["name"] for row in self.database.rows("Bridge").values() if ports & row["ports"]), "")

    def device(self, name: str) -> Device | None:
        row = self.database.named("Interface", name)
        return Device(row["error"] or "", ofport(row)) if row else None

    def nic_of(self, bridge: str) -> str:
        """The NIC that is a port of a bridge of ours; empty where none is."""
        row = self.database.named("Bridge", bridge)
        ports, interfaces = self.database.rows("Port"), self.database.rows("Interface")
        uuids = {uuid for port in (row["ports"] if row else ()) for uuid in ports[port]["interfaces"]}
        return next((interfaces[uuid]["name"] for uuid in uuids if not interfaces[uuid]["type"]), "")

    def summary(self, nics: Collection[str]) -> object:
        """Equal as long as nothing has changed that matters to these NICs and our bridges."""
        mapping = self._ids().get(BRIDGES, ""), self._ids().get(MACS, "")
        return self.database.up, mapping, self.owned(), {nic: self.device(nic) for nic in nics}

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
                "external_ids": ovsdb_map({MARK: provider_network}),
                "other_config": ovsdb_map({"hwaddr": mac}),
            }
            await self._have_done(
                insert("Interface", "interface", interface),
                insert("Port", "port", {"name": bridge, "interfaces": ["named-uuid", "interface"]}),
                insert("Bridge", "bridge", row),
                mutate("Open_vSwitch", "", ["bridges", "insert", ["set", [["named-uuid", "bridge"]]]]),
                what=f"made bridge {bridge}",
            )
        else:
            hwaddr = (
                ["other_config", "delete", ["set", ["hwaddr"]]],
                ["other_config", "insert", ovsdb_map({"hwaddr": mac})],
            )
            await self.database.transact(
                mutate("Bridge", bridge, *hwaddr),
                {"op": "update", "table": "Interface", "where": where(bridge), "row": {"mtu_request": mtu}},
            )

    async def plug(self, bridge: str, nic: str) -> None:
        """Have the NIC as a port, opened by the switch that runs now. Raises OvnError's subclasses, BridgeFailed
        among them.

        The port is transient: where a node starts anew, ``ovs-ctl --delete-transient-ports`` leaves the NIC to the
        operating system until we are there.
        """
        operations = []
        if self.port_of(nic) != bridge:
            port = {
                "name": nic,
                "interfaces": ["named-uuid", "interface"],
                "other_config": ovsdb_map({"transient": "true"}),
            }
            operations = [
                insert("Interface", "interface", {"name": nic}),
                insert("Port", "port", port),
                mutate("Bridge", bridge, ["ports", "insert", ["set", [["named-uuid", "port"]]]]),
            ]
        await self._have_done(*operations, what=f"added port {nic} to {bridge}")

        def opened() -> bool:
            found = self.device(nic)
            if found and found.error:
                raise BridgeFailed(f"Open vSwitch cannot open {nic}: {found.error}")
            return found is not None and found.ofport > 0

        await self._until(opened, f"opened port {nic} of {bridge}")

    async def unplug(self, bridge: str, nic: str) -> None:
        """Have the NIC no more, once what is under way has left by it; waits until the switch has let go of it.

        Raises OvnError's subclasses.
        """
        port = self.database.uuid("Port", nic)
        if port and self.port_of(nic) == bridge:
            await self._have_done(
                what=f"forwarded what {nic} still had to send"
            )  # one round of a switch in userspace, which empties its queues
            gone = mutate("Bridge", bridge, ["ports", "delete", ["set", [["uuid", port]]]])
            await self._have_done(gone, what=f"removed port {nic} from {bridge}")

    async def remove(self, bridge: str) -> None:
        """Remove a bridge of ours; one that is gone already is fine."""
        if self.owner(bridge):
            gone = ["set", [["uuid", self.database.uuid("Bridge", bridge)]]]
            await self._have_done(
                mutate("Open_vSwitch", "", ["bridges", "delete", gone]), what=f"removed bridge {bridge}"
            )

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
                         "rows": [{"external_ids": ovsdb_map(before)}], "timeout": 0}  # fmt: skip
            row = {key: text for key, text in {**before, **after}.items() if text or key not in after}
            update = {"op": "update", "table": "Open_vSwitch", "where": [], "row": {"external_ids": ovsdb_map(row)}}
            try:
                await self.database.transact(unchanged, update)
            except Stale:  # somebody else has written at the same time
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(0.05 * (attempt + 1))
            else:
                return

    async def _have_done(self, *operations: Mapping[str, Any], what: str) -> None:
        """Write, and wait until the switch has done it; what it said of the past counts no more."""
        await self.database.transact(*operations, mutate("Open_vSwitch", "", ["next_cfg", "+=", 1]))
        wanted = self.database.root["next_cfg"]
        await self._until(lambda: bool(self.database.root["cur_cfg"] >= wanted), what)

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        if not await self.database.until(holds, ANSWER_SECONDS):
            message = f"Open vSwitch has not {what} within {ANSWER_SECONDS:g} s; is ovs-vswitchd running?"
            raise BridgeFailed(message)

    def _ids(self) -> dict[str, str]:
        return dict(self.database.root["external_ids"])
