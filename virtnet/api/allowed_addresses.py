"""Addresses that a NIC may send from besides its own, as the annotation of its VM or pod asks for them."""

from contextlib import suppress
from ipaddress import ip_network

from virtnet.api.by_network import read_by_network
from virtnet.api.grammar import CIDR
from virtnet.api.meta import GROUP

ALLOWED_ADDRESSES = f"{GROUP}/allowed-addresses"
"""On a VM or pod: JSON ``{"<network>": ["<address or CIDR>", ...]}``."""

MOST_ALLOWED = 32
"""Of one NIC."""


def allowed_in(text: str | None) -> dict[str, tuple[str, ...]]:
    """Network -> what its NIC may send from besides, as CIDRs. Raises ValueError, which says what form it has."""
    return {network: _networks(network, texts) for network, texts in read_by_network(text).items()}


def _networks(network: str, texts: object) -> tuple[str, ...]:
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise ValueError(f"{network} has no list of addresses")
    if len(texts) > MOST_ALLOWED:
        raise ValueError(f"{network} has {len(texts)} addresses; a NIC has at most {MOST_ALLOWED} besides its own")
    return tuple(dict.fromkeys(_network(network, text) for text in texts))


def _network(network: str, text: str) -> str:
    with suppress(ValueError):
        found = str(ip_network(text))
        if CIDR.permits(found):  # no zone, which may be any text
            return found
    raise ValueError(f"{network} has {text!r}, which is neither an address nor a network without host bits")
