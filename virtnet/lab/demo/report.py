"""What the demonstration found: a table for people, JSON for programs, and whether every promise was kept."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

LONGEST_GAP_MS = 500
"""What nobody notices. A handoff takes a tenth of it; the rest is for guests under software emulation on two cores."""


@dataclass
class VmRow:
    """What a VM held before it was moved about, and after."""

    name: str
    ip_before: str
    mac_before: str
    ip_after: str = ""
    mac_after: str = ""
    addresses: list[str] = field(default_factory=list)
    """All that it held before, one of each family."""
    addresses_after: list[str] = field(default_factory=list)
    """Those that it holds now, and answers at."""


@dataclass
class MigrationRow:
    """One live migration, as a peer on a third node saw it. Times in milliseconds."""

    vm: str
    network: str
    """``overlay`` or ``underlay``, or ``vhost-user`` on the overlay."""
    pause_ms: float
    gap_ms: float
    first_frame_ms: float | None
    """None where its frames pass no link at which they could be seen."""
    sent: int
    lost: int
    duplicates: int
    tcp_survived: bool


@dataclass
class DemoReport:
    """Everything. An empty list of broken promises is success."""

    vms: list[VmRow] = field(default_factory=list)
    migrations: list[MigrationRow] = field(default_factory=list)
    no_vhost_user: str = ""
    """Why no vhost-user NIC was shown; empty if one was to be."""
    refused: str = ""
    leases_left: int = -1
    leftovers: list[str] = field(default_factory=list)

    def broken(self) -> list[str]:
        """The promises that were not kept, in words."""
        found = [
            f"{vm.name} had {vm.ip_before} {vm.mac_before} and now has {vm.ip_after} {vm.mac_after}"
            for vm in self.vms
            if (vm.ip_before, vm.mac_before) != (vm.ip_after, vm.mac_after)
        ]
        found += [
            f"{vm.name} had {' '.join(vm.addresses)} and now answers at {' '.join(vm.addresses_after) or 'none'}"
            for vm in self.vms
            if vm.addresses != vm.addresses_after
        ]
        for migration in self.migrations:
            if not migration.tcp_survived:
                found.append(f"the TCP stream into {migration.vm} did not survive its migration")
            if not 0 < migration.gap_ms < LONGEST_GAP_MS:
                found.append(f"{migration.vm} was silent for {migration.gap_ms:.0f} ms while it moved")
        shown = {"overlay", "underlay"} | (set() if self.no_vhost_user else {"vhost-user"})
        if not self.vms or {one.network for one in self.migrations} != shown:
            found.append("it did not get as far as the migration")
        if "is held by" not in self.refused:
            found.append(f"a conflicting manifest was not refused with its holder: {self.refused!r}")
        if self.leases_left:
            found.append(f"{self.leases_left} leases are left")
        found += [f"left over: {what}" for what in self.leftovers]
        return found

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def show(self, console: Console) -> None:
        before, after = Column("ADDRESSES BEFORE", overflow="fold"), Column("ANSWERS AFTER AT", overflow="fold")
        vms = Table("VM", before, after, "MAC", title="Addresses", title_justify="left")
        for vm in self.vms:
            vms.add_row(vm.name, "\n".join(vm.addresses), "\n".join(vm.addresses_after), vm.mac_after)
        console.print(vms)
        title = "Live migration, seen by a peer on a third node that probes every millisecond"
        columns = ("VM", "NETWORK", "PAUSE", "GAP", "FIRST FRAME", "SENT", "LOST", "TWICE", "TCP")
        rows = Table(*columns, title=title, title_justify="left")
        for one in self.migrations:
            first = "-" if one.first_frame_ms is None else f"{one.first_frame_ms:.1f} ms"
            rows.add_row(
                one.vm, one.network.replace("-", " "), f"{one.pause_ms:.1f} ms", f"{one.gap_ms:.1f} ms", first,
                str(one.sent), str(one.lost), str(one.duplicates), "lives" if one.tcp_survived else "broke",
            )  # fmt: skip
        console.print(rows)
        console.print(f"Refused: {self.refused}")
        console.print(f"Leases left: {self.leases_left}. Left over: {', '.join(self.leftovers) or 'nothing'}.")
