"""Every string of a spec is of a type, and the types take what is meant and nothing that OVN could read otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from virtnet.api import NodeNetwork, Port, Subnet
from virtnet.api import grammar as types
from virtnet.api.grammar import Ungrammatical
from virtnet.api.strings import check, invalid, strings
from virtnet.features import MODELS
from virtnet.handoff.options import ChassisOptions
from virtnet.topology.chassis import chassis_options

MEANT = {
    types.DOMAIN_NAME: ("", "demo.example", "example.", "_tcp.demo", "a-b.c", "X1"),
    types.HOST_IP: ("10.0.0.1", "fe80::1", "::1", "2001:DB8::1"),
    types.UNICAST_CIDR: ("10.10.0.0/24", "fd00::/64"),
    types.CIDR: ("0.0.0.0/0", "::/0", "192.168.0.0/16"),
    types.IP_RANGE: ("10.0.0.1", "10.0.0.1-10.0.0.9", "fd00::1-fd00::9"),
    types.INTERFACE_NAME: ("eth1", "bond0.100", "enp3s0f0np0"),
    types.OBJECT_NAME: ("blue", "a.b-c"),
    types.NAMESPACED_NAME: ("demo/db.blue",),
    types.CHASSIS_NAME: ("", "node-1.example", "8c5a7e0e-1c1f-4f7e-9d57-d7d5b6f3f0f5"),
}
NOT_MEANT = {
    types.DOMAIN_NAME: ('x"', "a\\b", "a b", "a;b", "a,b", "a..b", ".a", "a\n", "-a", "ä.example", "x\0"),
    types.HOST_IP: ("", "fe80::1%eth0", 'fe80::1%"); next; //', "::ffff:10.0.0.1", "010.0.0.1", "10.0.0.1/24", "ten"),
    types.UNICAST_CIDR: ("10.10.0.0", "10.10.0.1/24", "fe80::%x/64", "10.10.0.0/255.255.255.0", "10.0.0.0/08 "),
    types.IP_RANGE: ("10.0.0.1, 10.0.0.2", "x", "10.0.0.1\n"),
    types.INTERFACE_NAME: ("", ".", "..", "a/b", "a:b", "a b", "e\n", "x" * 16),
    types.OBJECT_NAME: ("", "Blue", "a/b", "..", "a,b", 'a"'),
    types.NAMESPACED_NAME: ("db", "a/b/c", "/a", "demo/../x"),
    types.CHASSIS_NAME: ("a,b", "a b", 'a"', "a\\"),
}


@pytest.mark.parametrize(
    ("grammar", "text", "taken"),
    [
        *((grammar, text, True) for grammar, texts in MEANT.items() for text in texts),
        *((grammar, text, False) for grammar, texts in NOT_MEANT.items() for text in texts),
    ],
)
def test_what_a_type_takes(grammar: types.Grammar, text: str, taken: bool) -> None:
    assert grammar.permits(text) is taken


@given(st.text())
def test_no_text_makes_a_type_fail(text: str) -> None:
    for grammar in (*MEANT, types.UNICAST_IP, types.NETWORK_NAME):
        assert grammar.permits(text) in (True, False)


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_every_string_of_a_spec_is_of_a_type(kind: type[BaseModel]) -> None:
    for part in ("metadata", "spec"):
        model: object = kind.model_fields[part].annotation
        assert model is not None
        strings(model)  # raises where one is not


def test_a_plain_string_is_refused() -> None:
    class Plain(BaseModel):
        names: dict[str, int]

    with pytest.raises(TypeError, match=r"Plain\.names: a plain string; give it a type"):
        invalid(Plain(names={}))


def test_the_text_names_the_field_the_value_and_what_it_must_be() -> None:
    spec = {"cidrs": ["10.0.0.0/24"], "dns": {"domain": 'x"'}}
    subnet = Subnet.parse({"metadata": {"name": "blue", "namespace": "demo"}, "spec": spec})
    with pytest.raises(Ungrammatical, match=r"^dns.domain: 'x\"' must be a domain name such as demo.example"):
        check(subnet.spec)


def test_keys_of_mappings_are_checked_too() -> None:
    node = NodeNetwork.parse({"spec": {"providerNetworks": {"blue:br-ex,x": {"nic": "eth1"}}}})
    assert invalid(node.spec).startswith("providerNetworks: 'blue:br-ex,x' must be an object's name")


def test_two_chassis_in_one_name_are_refused() -> None:
    with pytest.raises(Ungrammatical, match="requested-chassis: 'a,b' must be a chassis' name"):
        chassis_options(ChassisOptions(("a,b",)))


def test_a_stored_port_is_known_though_its_strings_are_not_of_their_types() -> None:
    body = {
        "owner": {"kind": "VirtualMachine", "name": "db"},
        "network": "blue",
        "networkAttachmentDefinition": "demo/blue",
        "subnet": {"kind": "Subnet", "namespace": "demo", "name": "blue"},
        "macAddress": 'x" || 1 == 1 ',
        "addresses": ["0.0.0.0/0"],
    }
    assert invalid(Port.parse({"spec": body}).spec).startswith("macAddress: 'x\" || 1 == 1 ' must be a MAC")
