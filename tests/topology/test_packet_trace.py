"""A packet in OVN's words, and OVN's words of what became of it, in people's."""

from ipaddress import ip_address

import pytest

from virtnet.api.grammar import Ungrammatical
from virtnet.cli.trace import told
from virtnet.topology.packet_trace import Acl, Probe, Protocol, Step, destination, parsed

HEAD = """# tcp,reg14=0x2,dl_src=02:76:6e:00:00:06

ingress(dp="virtnet:Subnet/demo/blue", inport="demo/web.blue")
--------------------------------------------------------------
 0. ls_in_check_port_sec (northd.c:8432): 1, priority 50, uuid 0227dccb
    next;
 8. ls_in_acl (northd.c:6809): ip && !ct.est, priority 1, uuid e971020c
    next;
25. ls_in_l2_lkup (northd.c:9122): eth.dst == 02:76:6e:00:00:05, priority 50, uuid c6ccf43b
    output;

egress(dp="virtnet:Subnet/demo/blue", inport="demo/web.blue", outport="demo/db.blue")
-------------------------------------------------------------------------------------
"""
PASSED = """4. ls_out_acl (northd.c:6445): reg0[7] == 1 && (outport == @pg_db && tcp.dst == 5432), priority 3000, uuid be055d77
    next;
 9. ls_out_apply_port_sec (northd.c:5777): 1, priority 0, uuid 5b19b51f
    output;
    /* output to "demo/db.blue", type "" */
"""
DROPPED = """ 4. ls_out_acl (northd.c:6543): reg0[9] == 1 && (outport == @pg_db && ip), priority 2000, uuid 4e4c08e3
    drop;
"""
UNMATCHED = """10. ls_out_check_port_sec: no match (implicit drop)
"""


def test_a_packet_that_comes_out() -> None:
    found = parsed(HEAD + PASSED)
    assert found.outputs == {"demo/db.blue": ""}
    assert [(step.pipeline, step.stage, step.flow) for step in found.acls] == [
        ("ingress", "ls_in_acl", "e971020c"),
        ("egress", "ls_out_acl", "be055d77"),
    ]
    acls = {"be055d77": Acl("SecurityGroup/demo/db:f00", "allow-related", "ingress[0]")}
    acls["e971020c"] = Acl("Subnet/demo/blue:SecurityGroup/free:f00", "allow-stateless")
    assert told(found, acls) == ["arriving: passes by SecurityGroup demo/db, ingress[0]", "comes out of demo/db.blue"]


def test_a_packet_that_an_acl_drops() -> None:
    found = parsed(HEAD + DROPPED)
    assert not found.passed
    acls = {"4e4c08e3": Acl("SecurityGroup/demo/db:f00", "drop")}
    said = ["arriving: dropped by SecurityGroup demo/db, of which no rule lets it pass", "dropped"]
    assert told(found, acls) == said


def test_a_packet_that_something_else_drops() -> None:
    found = parsed(HEAD + UNMATCHED)
    assert found.last == Step("egress", "virtnet:Subnet/demo/blue", "ls_out_check_port_sec")
    assert told(found, {}) == ["dropped in virtnet:Subnet/demo/blue, ls_out_check_port_sec"]


@pytest.mark.parametrize(
    ("acl", "said"),
    [
        (Acl("", "drop"), "dropped by an ACL that virtnet has not written"),
        (
            Acl("ClusterSecurityGroup/lan:a", "drop", "ingress[2]"),
            "dropped by ClusterSecurityGroup lan, ingress[2]",
        ),
        (
            Acl("Port/demo/db.blue:NetworkPolicy/both", "allow-related"),
            "passes by both the security groups and the network policies of demo/db.blue",
        ),
        (
            Acl("Port/demo/db.blue:NetworkPolicy/rest", "drop"),
            "dropped by the security groups or the network policies of demo/db.blue, of which no rule lets it pass",
        ),
    ],
)
def test_whose_an_acl_is(acl: Acl, said: str) -> None:
    assert str(acl) == said


@pytest.mark.parametrize(
    ("to", "protocol", "number", "said"),
    [
        ("10.0.0.6", "tcp", 80, "ip4.dst == 10.0.0.6 && ip.ttl == 64 && tcp.src == 49152 && tcp.dst == 80 && tcp.flags == 2"),
        ("10.0.0.6", "udp", 53, "ip4.dst == 10.0.0.6 && ip.ttl == 64 && udp.src == 49152 && udp.dst == 53"),
        ("10.0.0.6", "icmp", 0, "ip4.dst == 10.0.0.6 && ip.ttl == 64 && icmp4.type == 8 && icmp4.code == 0"),
        ("fd00::6", "icmp", 0, "ip6.dst == fd00::6 && ip.ttl == 64 && icmp6.type == 128 && icmp6.code == 0"),
    ],
)  # fmt: skip
def test_a_packet_in_ovns_words(to: str, protocol: Protocol, number: int, said: str) -> None:
    mac, other = "02:76:6e:00:00:05", "02:76:6e:00:00:06"
    probe = Probe("demo/db.blue", mac, ip_address(to), other, ip_address(to), protocol, number)
    begin = f'inport == "demo/db.blue" && eth.src == {mac} && eth.dst == {other} && '
    assert probe.expression().startswith(begin)
    assert probe.expression().endswith(said)


def test_no_free_text_reaches_ovn() -> None:
    address = ip_address("10.0.0.5")
    with pytest.raises(Ungrammatical):
        Probe('x" || 1', "02:76:6e:00:00:05", address, "02:76:6e:00:00:06", address).expression()


@pytest.mark.parametrize(
    ("text", "address", "number"),
    [
        ("10.0.0.6", "10.0.0.6", 0),
        ("10.0.0.6:80", "10.0.0.6", 80),
        ("fd00::6", "fd00::6", 0),
        ("[fd00::6]:80", "fd00::6", 80),
        ("[fd00::6]", "fd00::6", 0),
    ],
)
def test_destinations(text: str, address: str, number: int) -> None:
    assert destination(text) == (ip_address(address), number)


@pytest.mark.parametrize(
    "text", ["", "db", "10.0.0.6:", "10.0.0.6:99999", "10.0.0.6:x", "[10.0.0", "10.0.0.300", "a::b::c"]
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(ValueError, match="is no destination; write"):
        destination(text)
