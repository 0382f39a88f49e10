"""Which NIC of which node reaches which ProviderNetwork: defaults, exceptions, selectors, and who is first."""

from datetime import UTC, datetime
from typing import Any

import pytest

from virtnet.api import CustomNic, Metadata, ProviderNetwork, ProviderNetworkSpec
from virtnet.api.grammar import INTERFACE_NAME
from virtnet.topology.physical import assign

NODES = {"a": {"rack": "1"}, "b": {"rack": "2"}, "c": {}}
CUSTOM = (CustomNic(nic="eth9", nodes=("b",)),)


def network(name: str = "blue", created: int = 1, **spec: Any) -> ProviderNetwork:
    at = datetime(2026, 1, created, tzinfo=UTC)
    return ProviderNetwork(
        metadata=Metadata(name=name, creation_timestamp=at),
        spec=ProviderNetworkSpec.model_validate({"default_nic": "eth1", **spec}),
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, {"a": "eth1", "b": "eth1", "c": "eth1"}),
        ({"custom_nics": CUSTOM}, {"a": "eth1", "b": "eth9", "c": "eth1"}),
        ({"exclude_nodes": ("a",)}, {"b": "eth1", "c": "eth1"}),
        ({"node_selector": {"rack": "2"}}, {"b": "eth1"}),
        ({"node_selector": {"rack": "2"}, "custom_nics": CUSTOM}, {"b": "eth9"}),
        ({"exclude_nodes": ("b",), "custom_nics": CUSTOM}, {"a": "eth1", "c": "eth1"}),
        ({"node_selector": {"rack": "3"}}, {}),
    ],
)
def test_the_nic_of_each_node(spec: dict[str, Any], expected: dict[str, str]) -> None:
    found = assign([network(**spec)], NODES)
    assert {node: nics["blue"] for node, nics in found.nics.items() if nics} == expected
    assert found.nics.keys() == NODES.keys(), "nodes that have none are told so"
    assert not found.clashes


def test_the_elder_network_has_the_nic() -> None:
    elder, younger = network("z", 1, node_selector={"rack": "1"}), network("a", 2)
    found = assign([younger, elder], NODES)
    assert found.nics == {"a": {"z": "eth1"}, "b": {"a": "eth1"}, "c": {"a": "eth1"}}
    assert [(clash.node, clash.nic, clash.reason) for clash in found.clashes["a"]] == [("a", "eth1", "NicTaken")]


def test_two_networks_on_two_nics() -> None:
    found = assign([network("x"), network("y", default_nic="eth2")], {"a": {}})
    assert found.nics == {"a": {"x": "eth1", "y": "eth2"}}


def test_no_node_is_asked_for_what_is_no_interface() -> None:
    """One that was stored before it was refused: its node would do nothing at all that it is asked."""
    found = assign([network("odd", default_nic="eth/1"), network("blue")], {"a": {}})
    assert found.nics == {"a": {"blue": "eth1"}}
    (failure,) = found.clashes["odd"]
    assert (failure.node, failure.nic, failure.reason) == ("a", "eth/1", "Invalid")
    assert failure.message == f"'eth/1' {INTERFACE_NAME.must}"
