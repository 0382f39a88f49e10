"""Where Subnets lie: what those beside them have to know of one, so that no change of anything else concerns them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from virtnet.api.addresses import Network
from virtnet.engine.collection import Collection
from virtnet.engine.keys import ObjectKey


@dataclass(frozen=True, slots=True)
class Place:
    """A Subnet's."""

    subnet: ObjectKey
    vpc: ObjectKey
    segment: tuple[str, int] | None
    cidrs: tuple[str, ...]
    networks: tuple[Network, ...]
    routed: bool
    guest_mtu: int
    created: datetime | None
    uid: str


def _vpc(place: Place) -> Iterable[ObjectKey]:
    return [place.vpc]


def _segment(place: Place) -> Iterable[tuple[str, int]]:
    return [place.segment] if place.segment else []


PLACES: Collection[Place] = Collection("Place", indexes={"vpc": _vpc, "segment": _segment})
