"""Whether nodes carry what a Subnet's guests may send; what is larger is lost without a word."""

from collections.abc import Mapping

from virtnet.engine.graph import Reader
from virtnet.engine.outcome import ConditionState
from virtnet.features.node_parts import NODE_NETWORKS
from virtnet.features.sources import AnySubnet

TUNNEL_MTU, NIC_MTU = "TunnelMtuTooSmall", "NicMtuTooSmall"
"""Conditions of a Subnet; there are none where there has never been a reason for one."""

Guests = tuple[int, str]
"""The MTU of guests, and the ProviderNetwork that they are on; empty in an overlay."""


def mtu_states(subnet: AnySubnet, reader: Reader) -> tuple[ConditionState, ...]:
    """Both conditions, as far as is known."""
    messages = reader.derive(too_small, (subnet.spec.guest_mtu, subnet.spec.provider_network))
    return tuple(
        ConditionState(type_, holds=bool(message), reason="TooSmall" if message else "Sufficient", message=message)
        for type_, message in messages.items()
    )


def too_small(guests: Guests, reader: Reader) -> dict[str, str]:
    """By condition: on which nodes the MTU is too small, and what to do; empty where it is not. To be derived.

    An underlay's guests need the tunnels too, while one of them migrates.
    """
    mtu, network = guests
    nodes = tuple(reader.every(NODE_NETWORKS))
    names, largest = _smaller({node.name: node.status.largest_packet for node in nodes}, mtu)
    tunnels = nics = ""
    if names:
        when, other = "between nodes", f"give the Subnet an mtu of {largest}"
        if network:
            when, other = "while a guest migrates", f"give the ClusterSubnet an mtu of {largest}"
        tunnels = (
            f"tunnels of {names} carry packets of {largest}, and those of this network's guests may have {mtu}; "
            f"{when}, larger ones are lost: raise the MTU of the tunnels' network by {mtu - largest}, or {other}"
        )
    plugged = {node.name: node.status.provider_networks.get(network) for node in nodes}
    names, largest = _smaller({node: nic.mtu for node, nic in plugged.items() if nic and nic.nic}, mtu)
    if names:
        nics = (
            f"the NICs of ProviderNetwork {network} on {names} carry packets of {largest}, and those of this network's "
            f"guests may have {mtu}; larger ones are lost: raise the NICs' MTU, or give the ClusterSubnet an mtu of "
            f"{largest}"
        )
    return {TUNNEL_MTU: tunnels, NIC_MTU: nics}


def _smaller(mtus: Mapping[str, int], mtu: int) -> tuple[str, int]:
    """The names of those whose MTU is smaller, and the smallest. One of 0 is not known."""
    found = {name: one for name, one in mtus.items() if 0 < one < mtu}
    return ", ".join(sorted(found)), min(found.values(), default=0)
