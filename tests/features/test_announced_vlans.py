"""In which VLANs of a physical network a guest that migrates is announced: those of its trunk, if they are few."""

from typing import Any

import pytest

from tests.topology.samples import port, underlay
from virtnet.engine.graph import Graph
from virtnet.features.node_network import announced_vlans
from virtnet.features.sources import CLUSTER_SUBNETS, PORTS


def trunk(*vms: str, first: int = 200, last: int = 202) -> dict[str, Any]:
    return {"vlanTrunks": [{"vms": vms, "vlans": [{"minID": first, "maxID": last}, {"id": first}]}]}


@pytest.mark.parametrize(
    ("spec", "vlans"),
    [
        pytest.param({"vlan": 0}, (), id="no trunk"),
        pytest.param({"vlan": 0, **trunk()}, (200, 201, 202), id="its trunk"),
        pytest.param({"vlan": 0, **trunk("demo/vm12")}, (), id="another's"),
        pytest.param({"vlan": 100, **trunk()}, (), id="behind a tag, which alone switches outside go by"),
        pytest.param({"vlan": 0, "providerNetwork": "", **trunk()}, (), id="an overlay"),
        pytest.param({"vlan": 0, **trunk(last=263)}, tuple(range(200, 264)), id="as many as are told of"),
        pytest.param({"vlan": 0, **trunk(last=264)}, (), id="one more"),
    ],
)
def test_vlans_of_a_guest_that_migrates(spec: dict[str, Any], vlans: tuple[int, ...]) -> None:
    graph, subnet = Graph(), underlay(**spec)
    nic = port(subnet, 11)
    graph.put(CLUSTER_SUBNETS, CLUSTER_SUBNETS.key("lan"), subnet)
    graph.put(PORTS, PORTS.key(nic.key), nic)
    assert graph.peek(lambda reader: announced_vlans(nic.key, reader)) == vlans
    assert graph.peek(lambda reader: announced_vlans("demo/gone", reader)) == ()
