"""What a NIC may send from besides its own addresses: what its workload asks for, and its Subnet's owner permits."""

from ipaddress import ip_network
from typing import NamedTuple

from virtnet.api import Port
from virtnet.api.addresses import within
from virtnet.api.lease import lease_name
from virtnet.engine.graph import Reader
from virtnet.engine.outcome import ConditionState
from virtnet.features.obstacles import subnet_of
from virtnet.features.sources import LEASES, AnySubnet, port_owner, subnet_key
from virtnet.features.workload_parts import WORKLOADS

REFUSED = "AllowedAddressRefused"
"""Condition of a Port and reason of an Event: its NIC may not send from an address that its workload names."""


class Allowance(NamedTuple):
    """Further addresses of a NIC."""

    networks: tuple[str, ...] = ()
    """CIDRs."""
    refused: tuple[str, ...] = ()
    """Why others that are asked for are not among them."""


def allowance_of(port: Port, subnet: AnySubnet, reader: Reader) -> Allowance:
    """What a NIC may send from besides its own addresses."""
    workload = reader.get(WORKLOADS, port_owner(port))
    requested = workload.allowed_addresses.get(port.spec.network, ()) if workload is not None else ()
    problems = {text: _problem(text, port, subnet, reader) for text in requested}
    return Allowance(
        tuple(text for text, problem in problems.items() if not problem),
        tuple(problem for problem in problems.values() if problem),
    )


def _problem(text: str, port: Port, subnet: AnySubnet, reader: Reader) -> str:
    """Why a NIC may not send from a network; empty where it may."""
    wanted = ip_network(text)
    permitted = subnet.spec.port_security.allowed_addresses
    if not any(within(wanted, ip_network(one)) for one in permitted):
        said = ", ".join(permitted) or "none"
        return f"{text} is not within portSecurity.allowedAddresses of {subnet.ref} ({said}); ask its owner"
    lease = reader.get(LEASES, LEASES.key(lease_name(str(wanted.network_address), subnet.ref)))
    if lease is not None and wanted.num_addresses == 1 and lease.port != port.key:
        return f"{wanted.network_address} is held by {lease.holder_for(port.namespace)}; name another"
    return ""


def allowed_state(port: Port, reader: Reader) -> ConditionState:
    """Whether something that its workload names is refused."""
    subnet = subnet_of(subnet_key(port.spec.subnet), reader)
    refused = allowance_of(port, subnet, reader).refused if subnet is not None else ()
    reason = "NotPermitted" if refused else "Permitted"
    return ConditionState(REFUSED, bool(refused), reason, "; ".join(refused[:3]), announced=True)
