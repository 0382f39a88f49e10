"""A transaction reads as the ovn-nbctl command that it equals."""

from tests.topology.samples import subnet, topology
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.apply import apply
from virtnet.topology.difference import difference
from virtnet.topology.rows import Delete, Key, Parent
from virtnet.topology.transaction import Transaction


def test_inserted_rows() -> None:
    key = Key("Logical_Switch", "Subnet/demo/blue")
    text = str(Transaction([op for op in difference(topology(subnet(), 1), []) if op.key == key]))
    assert text == (
        "ovn-nbctl --id=@Logical_Switch_Subnet_demo_blue create Logical_Switch"
        " 'name=\"virtnet:Subnet/demo/blue\"'"
        ' \'external_ids:"virtnet/id"="Subnet/demo/blue"\''
        " 'external_ids:\"virtnet/kind\"=Subnet'"
        " 'external_ids:\"virtnet/owner\"=virtnet'"
    )


def test_a_handoff() -> None:
    of = subnet()
    there = apply(difference(topology(of, 1, ChassisOptions(("one", "two"), "rarp")), []), [])
    text = str(Transaction(difference(topology(of, 1, ChassisOptions(("two",))), there)))
    assert text.splitlines() == [
        "ovn-nbctl remove Logical_Switch_Port demo/vm10.net options activation-strategy \\",
        "  -- set Logical_Switch_Port demo/vm10.net options:requested-chassis=two",
    ]


def test_a_deletion() -> None:
    switch = Key("Logical_Switch", "Subnet/demo/blue")
    port = Key("Logical_Switch_Port", "Port/demo/db.net")
    assert str(Transaction([Delete(port, Parent(switch, "ports")), Delete(switch)])).splitlines() == [
        "ovn-nbctl --if-exists lsp-del demo/db.net \\",
        "  -- --if-exists destroy Logical_Switch virtnet:Subnet/demo/blue",
    ]


def test_nothing() -> None:
    assert str(Transaction([])) == ""
