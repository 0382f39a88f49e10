"""What a NIC may send from besides its own addresses."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from tests import messages
from tests.topology.samples import port, subnet, text_of, underlay
from virtnet.addressing.held import HeldAddress
from virtnet.addressing.pools import InvalidSubnet, pools_of
from virtnet.api import ClusterSubnet, ClusterVpc, Port, Subnet
from virtnet.api.allowed_addresses import MOST_ALLOWED, allowed_in
from virtnet.engine.graph import Graph
from virtnet.engine.keys import ObjectKey
from virtnet.features import FEATURES
from virtnet.features.allowed_addresses import Allowance, allowance_of, allowed_state
from virtnet.features.leases import leases_of
from virtnet.features.port import compile_port
from virtnet.features.sources import LEASES, VMS, AnySubnet
from virtnet.features.workloads import Vm
from virtnet.topology.names import port_key

KINDS = {feature.kind: feature for feature in FEATURES}
VM = ObjectKey("VirtualMachine", "demo", "vm10")
VIP = "10.10.0.250/32"


def permitting(*networks: str, **spec: Any) -> Subnet:
    return subnet(portSecurity={"allowedAddresses": list(networks)}, **spec)


def graph_of(of: AnySubnet, requested: Sequence[str], *others: Port) -> Graph:
    """One NIC, whose VM asks for these addresses; each Port has its leases."""
    graph = Graph()
    for one in (ClusterVpc.parse({"metadata": {"name": "default"}}), of, port(of, 10), *others):
        graph.put(KINDS[type(one).__name__].collection, ObjectKey.of(one), one)
        for lease in map(HeldAddress.of_lease, leases_of(one.key, one.spec).values() if isinstance(one, Port) else ()):
            graph.put(LEASES, LEASES.key(lease.name), lease)
    graph.put(VMS, VM, Vm("demo/vm10", "u", allowed_addresses={"net": tuple(requested)}))
    return graph


def allowance(of: AnySubnet, *requested: str, others: Sequence[Port] = ()) -> Allowance:
    return graph_of(of, requested, *others).peek(partial(allowance_of, port(of, 10), of))


def test_what_its_subnet_permits() -> None:
    of = permitting("10.10.0.240/28")
    assert allowance(of, VIP, "10.10.0.240/29").networks == (VIP, "10.10.0.240/29")
    assert allowance(of, "10.10.0.99/32").refused == (
        messages.PORTS["an allowed address that its Subnet does not permit"].message,
    )
    assert not allowance(of, "0.0.0.0/0", "::/0").networks
    assert not allowance(subnet(), VIP).networks, "nothing is permitted where nobody says so"


def test_nothing_that_is_anothers() -> None:
    """A Subnet may have begun to permit it when it was held already."""
    of = permitting("10.10.0.240/28")
    refused = allowance(of, VIP, others=[port(of, 250)]).refused
    assert refused == (messages.PORTS["an allowed address that another NIC holds"].message,)


def test_port_security_takes_them_in() -> None:
    of = permitting("10.10.0.240/28")
    graph = graph_of(of, [VIP, "10.10.0.9/32"])
    outcome = graph.peek(partial(compile_port, ObjectKey.of(port(of, 10))))
    (row,) = [row for row in outcome.rows or () if row.key == port_key(port(of, 10))]
    mac = port(of, 10).spec.mac_address
    assert row.columns["port_security"] == frozenset({f"{mac} 10.10.0.10 10.10.0.250/32"})
    assert row.columns["addresses"] == frozenset({f"{mac} 10.10.0.10"}), (
        "OVN does not answer for them: guests move them"
    )
    assert text_of(row, "name") == "demo/vm10.net"
    state = graph.peek(partial(allowed_state, port(of, 10)))
    assert state.holds
    assert "10.10.0.9/32 is not within" in state.message


def test_they_are_not_handed_out() -> None:
    (pool,) = pools_of(permitting("10.10.0.240/28", "10.10.0.8/32"))
    assert not pool.offers("10.10.0.241")
    assert not pool.offers("10.10.0.8")
    assert pool.offers("10.10.0.9")


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (permitting("10.20.0.0/24"), "is not inside 10.10.0.0/24; others are for a ClusterSubnet"),
        (permitting("fd00::/64"), "is not inside"),
        (permitting("10.10.0.0/24"), "is all of 10.10.0.0/24; name less of it"),
        (permitting("10.10.0.0/28"), "has 10.10.0.1, which is the gateway's"),
        (permitting("10.10.0.32/28", reservations=[{"address": "10.10.0.40", "vm": "db"}]), "has 10.10.0.40"),
        (underlay(portSecurity={"allowedAddresses": ["0.0.0.0/0"]}), "is all of 10.66.0.0/24"),
    ],
)
def test_what_no_subnet_can_permit(of: Subnet | ClusterSubnet, why: str) -> None:
    with pytest.raises(InvalidSubnet, match=why):
        pools_of(of)


def test_an_administrator_permits_other_networks() -> None:
    of = underlay(portSecurity={"allowedAddresses": ["192.168.0.0/16"]})
    assert pools_of(of)[0].capacity == pools_of(underlay())[0].capacity
    assert allowance(of, "192.168.7.0/24").networks == ("192.168.7.0/24",)


@pytest.mark.parametrize(
    "text",
    ["[]", '{"net": "10.0.0.1"}', '{"net": [1]}', '{"net": ["10.0.0.1/8"]}', '{"net": ["fe80::1%eth0"]}', '{"net": ["x"]}',
     '{"net": ["::ffff:1.2.3.4"]}', "[" * 100_000, f'{{"net": {["10.0.0.1"] * (MOST_ALLOWED + 1)}}}'.replace("'", '"')],
    ids=range(9),
)  # fmt: skip
def test_no_form(text: str) -> None:
    with pytest.raises(ValueError):
        allowed_in(text)
