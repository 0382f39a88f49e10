"""Which of a machine's PCI slots each of its NICs is in: the target of a migration must have the same."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

SPARE = 4
"""Slots for NICs that come later."""

PER_DEVICE = 8
"""Functions of one PCI device."""

FIRST_DEVICE = 0x10
FILE = "slots.json"


@dataclass(frozen=True)
class Slots:
    """Network name -> number of the slot, out of as many as the machine was started with."""

    count: int
    taken: Mapping[str, int]

    @classmethod
    def of(cls, networks: Iterable[str]) -> Self:
        taken = {network: number for number, network in enumerate(networks)}
        return cls(len(taken) + SPARE, taken)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Raises FileNotFoundError where no machine was started."""
        found = json.loads((directory / FILE).read_text())
        return cls(found["count"], found["taken"])

    def save(self, directory: Path) -> None:
        half = directory / f"{FILE}.part"
        half.write_text(json.dumps({"count": self.count, "taken": dict(self.taken)}))
        half.rename(directory / FILE)

    def plug(self, network: str) -> Self:
        """Raises IndexError when all are taken."""
        free = [number for number in range(self.count) if number not in self.taken.values()]
        return replace(self, taken={**self.taken, network: free[0]})

    def unplug(self, network: str) -> Self:
        return replace(self, taken={name: number for name, number in self.taken.items() if name != network})

    def arguments(self) -> tuple[str, ...]:
        """QEMU's: a root port for every slot, since what hangs on the root bus itself cannot be unplugged."""
        return tuple(
            part
            for number in range(self.count)
            for part in (
                "-device",
                f"pcie-root-port,id=slot{number},chassis={number + 1},multifunction=on,"
                f"addr={FIRST_DEVICE + number // PER_DEVICE:#x}.{number % PER_DEVICE}",
            )
        )
