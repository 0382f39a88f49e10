"""Whether nodes carry what a Subnet's guests may send; what does not fit is lost without a word. Pure."""

from collections.abc import Iterable, Mapping

from virtnet.api import ClusterSubnet, Condition, NodeNetwork, Subnet, set_condition

TUNNELS, NICS = "TunnelsTooNarrow", "NicsTooNarrow"
"""Conditions of a Subnet; there are none where there has never been a reason for one."""


def too_narrow(subnet: Subnet | ClusterSubnet, nodes: Iterable[NodeNetwork]) -> dict[str, str]:
    """By condition: on which nodes they do not, and what to do; empty where all do, as far as is known.

    An underlay's guests need the tunnels too, while one of them migrates.
    """
    nodes, mtu, network = tuple(nodes), subnet.spec.guest_mtu, subnet.spec.provider_network
    names, largest = _narrow({node.name: node.status.largest_packet for node in nodes}, mtu)
    tunnels = nics = ""
    if names:
        when, other = "between nodes", f"give the Subnet an mtu of {largest}"
        if subnet.spec.underlay:
            when, other = "while a guest migrates", f"give the ClusterSubnet an mtu of {largest}"
        tunnels = (
            f"tunnels of {names} carry packets of {largest}, and those of this network's guests may have {mtu}; "
            f"{when}, larger ones are lost: raise the MTU of the tunnels' network by {mtu - largest}, or {other}"
        )
    told = {node.name: node.status.provider_networks.get(network) for node in nodes}
    names, largest = _narrow({node: nic.mtu for node, nic in told.items() if nic and nic.nic}, mtu)
    if names:
        nics = (
            f"the NICs of ProviderNetwork {network} on {names} carry packets of {largest}, and those of this network's "
            f"guests may have {mtu}; larger ones are lost: raise the NICs' MTU, or give the ClusterSubnet an mtu of "
            f"{largest}"
        )
    return {TUNNELS: tunnels, NICS: nics}


def widths_conditions(
    conditions: tuple[Condition, ...], narrow: Mapping[str, str], generation: int
) -> tuple[Condition, ...]:
    """The conditions, with those of ``too_narrow`` where they hold, or have held."""
    for type_, message in narrow.items():
        if message or any(one.type == type_ for one in conditions):
            reason = "Narrow" if message else "Wide"
            conditions = set_condition(
                conditions, type_, status=bool(message), reason=reason, message=message, generation=generation
            )
    return conditions


def _narrow(widths: Mapping[str, int], mtu: int) -> tuple[str, int]:
    """The names of those that are too narrow, and the width of the narrowest. One of 0 is not known."""
    found = {name: width for name, width in widths.items() if 0 < width < mtu}
    return ", ".join(sorted(found)), min(found.values(), default=0)
