"""What does not refuse a manifest: what an update leaves as it was, and in a dry run what does not exist yet."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from virtnet.addressing.requests import Missing, Refused
from virtnet.api.records import PinnedNic


class Tolerance:
    """Turns refusals of some NICs into warnings, and remembers what these NICs hold."""

    def __init__(
        self, warnings: list[str], *, unchanged: frozenset[str], held: Mapping[str, PinnedNic], dry_run: bool
    ) -> None:
        """``unchanged``: the networks of the NICs that an update leaves alone; ``held``: what NICs hold by record."""
        self.unchanged = unchanged
        self.tolerated: set[str] = set()
        """The networks of the NICs for which something was refused."""
        self._warnings = warnings
        self._held = held
        self._dry_run = dry_run

    @property
    def left(self) -> dict[str, PinnedNic]:
        """What these NICs keep, by network name."""
        return {name: self._held[name] for name in self._held if name in self.tolerated}

    @contextmanager
    def of(self, network: str) -> Iterator[None]:
        """Where something is decided about one NIC. Raises Refused for what its manifest asks for now."""
        try:
            yield
        except Refused as error:
            if network in self.unchanged:
                self._warnings.append(f"NIC {network} is left as it was: {error}")
            elif self._dry_run and isinstance(error, Missing):
                self._warnings.append(f"NIC {network} gets its addresses when that is there: {error}")
            else:
                raise
            self.tolerated.add(network)
