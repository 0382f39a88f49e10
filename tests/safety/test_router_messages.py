"""What only routers and servers send, sent by guests, on a real OVN: nobody gets it, but from those who may."""

import pytest

from tests.safety.attached import SENDER, attach, write
from tests.safety.conftest import Chassis
from tests.safety.spoken import DISCOVERY, attacks, datagram, own
from tests.safety.wire import arriving, names, wire
from tests.topology.samples import NOWHERE, port, subnet, underlay
from virtnet.api import ClusterSubnet, Subnet
from virtnet.topology.compile import port_rows
from virtnet.topology.names import port_key, row_name, switch_key

CIDRS = "10.10.0.0/24 fd10::/64"
PLACES: dict[str, Subnet | ClusterSubnet] = {
    "overlay": subnet("blue", CIDRS),
    "underlay": underlay("lan", CIDRS, gateways=["10.10.0.1", "fd10::1"]),
}
OUTSIDE = "0a:00:00:00:00:77"


def without_discovery(*of: str) -> dict[str, bytes]:
    """What ACLs stop."""
    return {name: frame for name, frame in attacks(*of).items() if name not in DISCOVERY}


@pytest.mark.system
@pytest.mark.parametrize("place", PLACES)
def test_only_routers_are_heard_as_routers(chassis: Chassis, place: str) -> None:
    of = PLACES[place]
    sender, victim = attach(chassis, of, outside=True)
    mac, to = sender.spec.mac_address, victim.spec.mac_address
    (address, address6), (victims, victims6) = sender.spec.addresses, victim.spec.addresses
    last = datagram(mac, address, to, victims)
    said = without_discovery(mac, address, to, victims, victims6)
    mine = own(mac, address, address6, to, victims, victims6)
    with (
        wire(chassis.node.name, "p1") as one,
        wire(chassis.node.name, "p2") as two,
        wire(chassis.node.name, "out") as out,
    ):
        assert names(said, arriving(one, two, said.values(), last)) == set()
        assert names(mine, arriving(one, two, mine.values(), last)) == mine.keys()
        if of.spec.underlay:
            outside = without_discovery(OUTSIDE, "10.10.0.1", to, victims, victims6)
            theirs = datagram(OUTSIDE, "10.10.0.1", to, victims)
            assert names(outside, arriving(out, two, outside.values(), theirs)) == outside.keys()
            assert names(said, arriving(one, out, said.values(), datagram(mac, address, OUTSIDE, "10.10.0.1"))) == set()

        routers = ("vm11",) if of.namespace else ("demo/vm11",)
        write(chassis, of.model_copy(update={"spec": of.spec.model_copy(update={"routers": routers})}))
        assert names(said, arriving(one, two, said.values(), last)) == said.keys()
        others = without_discovery(to, victims, mac, address, address6)
        assert names(others, arriving(two, one, others.values(), datagram(to, victims, mac, address))) == set()

        write(chassis, of)
        assert names(said, arriving(one, two, said.values(), last)) == set()


def test_a_router_is_known_by_name_and_namespace() -> None:
    """A VM of the same name in another namespace is none."""
    of = underlay("lan", CIDRS, routers=["demo/vm11"])
    other = port(of, SENDER).model_copy(
        update={"metadata": port(of, SENDER).metadata.model_copy(update={"namespace": "shop"})}
    )
    assert [row.key.table for row in port_rows(port(of, SENDER), of, NOWHERE)] == ["Logical_Switch_Port", "ACL"]
    assert [row.key.table for row in port_rows(other, of, NOWHERE)] == ["Logical_Switch_Port"]
    (acl,) = [row for row in port_rows(port(of, SENDER), of, NOWHERE) if row.key.table == "ACL"]
    assert acl.parent is not None
    assert (acl.parent.key, acl.key.origin) == (switch_key(of.ref), port_key("demo/vm11.net").id)
    assert row_name(acl.key) == "virtnet:Port/demo/vm11.net:router"
