"""Whether the nodes' tunnels carry what an underlay's guests send: they have to while one of these migrates. Pure."""

from collections.abc import Iterable

from virtnet.api import ClusterSubnet, Condition, NodeNetwork, Subnet, set_condition

NARROW = "TunnelsTooNarrow"
"""Condition of a Subnet; there is none where there has never been a reason for one."""


def too_narrow(subnet: Subnet | ClusterSubnet, nodes: Iterable[NodeNetwork]) -> str:
    """On which nodes they do not, and what to do; empty where all do, as far as is known."""
    mtu = subnet.spec.guest_mtu
    found = {node.name: node.status.largest_packet for node in nodes} if subnet.spec.underlay else {}
    names = sorted(name for name, most in found.items() if 0 < most < mtu)
    if not names:
        return ""
    largest = min(found[name] for name in names)
    return (
        f"tunnels of {', '.join(names)} carry packets of {largest}, and those of this network's guests may have {mtu}; "
        f"while a guest migrates, larger ones are lost: raise the MTU of the tunnels' network by {mtu - largest}"
    )


def tunnels_condition(conditions: tuple[Condition, ...], narrow: str, generation: int) -> tuple[Condition, ...]:
    """The conditions, with ``TunnelsTooNarrow`` where they are, or have been."""
    if not narrow and not any(one.type == NARROW for one in conditions):
        return conditions
    reason = "Narrow" if narrow else "Wide"
    return set_condition(conditions, NARROW, status=bool(narrow), reason=reason, message=narrow, generation=generation)
