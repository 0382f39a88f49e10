"""What a run has left on the machine, beside what was there before."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from virtnet.lab import dpdk, hugepages
from virtnet.lab.names import LabNames


@dataclass(frozen=True)
class Machine:
    """The machine as one run may change it."""

    links: frozenset[str]
    huge_pages: int
    """Those that nobody holds: other labs come and go meanwhile."""

    @classmethod
    def now(cls) -> Self:
        listed = subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=True)
        return cls(
            links=frozenset(link["ifname"] for link in json.loads(listed.stdout)),
            huge_pages=hugepages.unheld(),
        )

    def left(self, names: LabNames) -> list[str]:
        """What is there now and was not, or belongs to the lab. Empty is well."""
        after = Machine.now()
        found = [f"link {name}" for name in sorted(after.links - self.links)]
        found += [f"namespace {name}" for name in names.existing_namespaces()]
        found += [f"process {line}" for line in _processes(str(names.state))]
        if names.state.exists():
            found.append(f"files in {names.state}")
        if dpdk.holds_pages(names.name):
            found.append("huge pages of its switches")
        if after.huge_pages != self.huge_pages:
            found.append(f"vm.nr_hugepages, without those of others: {after.huge_pages}, was {self.huge_pages}")
        return found


def _processes(mention: str) -> list[str]:
    """Processes whose command line mentions the lab's state directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # it has just ended
        if mention in line:
            found.append(f"{path.parent.name}: {line[:80]}")
    return found
