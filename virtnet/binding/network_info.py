"""What KubeVirt tells a binding plugin of the pod's NICs (downwardAPI ``device-info``)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from virtnet.api.fields import Fields, WrongType
from virtnet.api.kubevirt import MOST_INTERFACES
from virtnet.binding import DomainRefused

SMALLEST_MTU, LARGEST_MTU = 576, 9000


@dataclass(frozen=True)
class NicInfo:
    """What CNI said of one NIC."""

    mac: str = ""
    """Told by KubeVirt from 1.8 on."""
    mtu: int | None = None
    """From 1.9 on."""


NetworkInfo = Mapping[str, NicInfo]
"""By the VMI's network."""


def parse(text: bytes) -> NetworkInfo:
    """Raises DomainRefused."""
    try:
        whole = json.loads(text)
        if not isinstance(whole, Mapping):
            raise WrongType("", "an object", whole)
        return {one.text("network"): _nic(one) for one in Fields(whole).objects("interfaces", most=MOST_INTERFACES)}
    except (ValueError, RecursionError) as error:
        raise DomainRefused(f"the pod's network-info: {error}") from None


def _nic(one: Fields) -> NicInfo:
    mtu = one.value.get("mtu")
    if mtu is not None and (type(mtu) is not int or not (mtu == 0 or SMALLEST_MTU <= mtu <= LARGEST_MTU)):
        raise WrongType(f"{one.path}.mtu", f"a number from {SMALLEST_MTU} to {LARGEST_MTU}", mtu)
    return NicInfo(one.text("mac"), mtu or None)
