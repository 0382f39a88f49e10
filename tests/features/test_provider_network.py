"""What a ProviderNetwork says of nodes: each one that is to have it has it, or is named with the reason."""

import pytest

from virtnet.api import Metadata, NodeProviderNetwork, ProviderNetwork, ProviderNetworkSpec, ProviderNetworkStatus
from virtnet.engine.outcome import status_after
from virtnet.features.provider_network import WAITING, summary

NETWORK = ProviderNetwork(metadata=Metadata(name="blue"), spec=ProviderNetworkSpec(default_nic="eth1"))
READY = NodeProviderNetwork(nic="eth1", ready=True, reason="Plugged")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param(READY, None, id="plugged in"),
        pytest.param(None, WAITING, id="no answer"),
        pytest.param(READY.model_copy(update={"nic": "eth0"}), WAITING, id="an answer of before, about another NIC"),
        pytest.param(NodeProviderNetwork(reason="NicMissing", message="gone"), "NicMissing", id="a reason"),
    ],
)
def test_a_node_has_it_or_is_named(said: NodeProviderNetwork | None, reason: str | None) -> None:
    report = summary(NETWORK, {"a": "eth1"}, {"a": said} if said else {}, ())
    found = status_after(NETWORK, report)
    assert isinstance(found, ProviderNetworkStatus)
    assert (found.nodes, found.ready, found.ready_nodes) == (1, int(reason is None), () if reason else ("a",))
    assert [failure.reason for failure in found.failures] == ([reason] if reason else [])
    (condition,) = found.conditions
    assert (condition.status, condition.reason) == (("False", reason) if reason else ("True", "Plugged"))
