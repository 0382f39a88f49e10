"""Networks that no Subnet may have: what every machine takes for something else, and those of the cluster itself."""

import contextlib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network

from virtnet.api.addresses import Network
from virtnet.engine.graph import Reader
from virtnet.features.node_addresses import NODE_ADDRESSES
from virtnet.features.sources import NODES, SERVICE_CIDRS, AnySubnet

SPECIAL = {
    ip_network(cidr): what
    for cidr, what in {
        "0.0.0.0/8": "this network (RFC 791)",
        "127.0.0.0/8": "loopback",
        "169.254.0.0/16": "link-local",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved (RFC 1112)",
        "::1/128": "loopback",
        "::ffff:0:0/96": "IPv4 written as IPv6",
        "64:ff9b::/96": "IPv4 translated to IPv6 (RFC 6052)",
        "fe80::/10": "link-local",
        "ff00::/8": "multicast",
    }.items()
}


def reserved(subnet: AnySubnet, reader: Reader) -> Iterator[str]:
    """Why it may not have its networks."""
    for network in subnet.spec.networks:
        for special, what in SPECIAL.items():
            if network.overlaps(special):
                yield f"{network} has addresses of {special}, which is {what}; choose another network"
        if any(network.overlaps(service) for service in _services(reader)):
            yield f"{network} has addresses of the cluster's Services; choose another network"
        if subnet.spec.underlay:  # nodes may be on a physical network, too
            continue
        if _has_a_node(network, reader):
            yield f"{network} has addresses of the cluster's nodes; choose another network"
        if any(ip_address(address) in network for one in reader.every(NODE_ADDRESSES) for address in one.tunnels):
            yield f"{network} has addresses of the nodes' tunnels; choose another network"


def _services(reader: Reader) -> Iterator[Network]:
    return (ip_network(cidr) for one in reader.every(SERVICE_CIDRS) for cidr in one.cidrs)


def _has_a_node(network: Network, reader: Reader) -> bool:
    for node in reader.every(NODES):
        for address in node.addresses:
            with contextlib.suppress(ValueError):  # an annotation may say anything
                if ip_address(address) in network:
                    return True
    return False
