"""Which NICs a policy selects, and which policy a NIC has."""

from typing import Any

import pytest

from virtnet.api import NicSelector, PlacedNicPolicy
from virtnet.node.devices.found import Function, Netdev, Nic
from virtnet.node.nic_policies.selection import selecting, selects

NIC = Nic(Function("0000:3b:00.0", driver="ice", vendor="8086", interfaces=(Netdev("ens1f0"),)))
BARE = Nic(Function("0000:3b:00.1", driver="vfio-pci", vendor="8086"))


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        pytest.param({"names": ["ens1f0"]}, True, id="its name"),
        pytest.param({"names": ["ens1f1", "ens1f0"]}, True, id="one of several names"),
        pytest.param({"names": ["ens1f1"]}, False, id="another's name"),
        pytest.param({"addresses": ["0000:3b:00.0"]}, True, id="its address"),
        pytest.param({"vendors": ["8086"]}, True, id="its vendor"),
        pytest.param({"vendors": ["15b3"]}, False, id="another vendor"),
        pytest.param({"drivers": ["ice", "i40e"]}, True, id="its driver"),
        pytest.param({"vendors": ["8086"], "drivers": ["i40e"]}, False, id="its vendor and another driver"),
        pytest.param({"vendors": ["8086"], "drivers": ["ice"], "names": ["ens1f0"]}, True, id="all of it"),
        pytest.param({}, False, id="nothing said, nothing selected"),
    ],
)
def test_selected(selector: dict[str, Any], selected: bool) -> None:
    assert selects(NicSelector.model_validate(selector), NIC) is selected


def test_a_nic_without_an_interface_has_no_name() -> None:
    assert selects(NicSelector(vendors=("8086",)), BARE)
    assert not selects(NicSelector(vendors=("8086",), names=("ens1f0",)), BARE)


def test_the_eldest_has_it() -> None:
    policies = [
        PlacedNicPolicy(name=name, nics=NicSelector(vendors=(vendor,)), vfs=1)
        for name, vendor in (("a", "15b3"), ("elder", "8086"), ("younger", "8086"))
    ]
    assert [policy.name for policy in selecting(policies, NIC)] == ["elder", "younger"]
