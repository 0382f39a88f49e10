"""Which policies select a NIC. Pure."""

from collections.abc import Iterable, Sequence

from virtnet.api import NicSelector, PlacedNicPolicy
from virtnet.node.devices.found import Nic


def selecting(policies: Iterable[PlacedNicPolicy], nic: Nic) -> Sequence[PlacedNicPolicy]:
    """The policies that select a NIC, in their order: it has the first."""
    return [policy for policy in policies if selects(policy.nics, nic)]


def selects(selector: NicSelector | None, nic: Nic) -> bool:
    """Whether each list that is given has one property of the NIC; without any list, nothing is selected."""
    if selector is None:
        return False
    physical = nic.physical
    properties = (
        (selector.names, [interface.name for interface in physical.interfaces]),
        (selector.addresses, [physical.address]),
        (selector.vendors, [physical.vendor]),
        (selector.drivers, [physical.driver]),
    )
    given = [(wanted, has) for wanted, has in properties if wanted]
    return bool(given) and all(set(wanted) & set(has) for wanted, has in given)
