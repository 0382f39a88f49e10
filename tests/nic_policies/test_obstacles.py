"""What people are told of a NIC that is not as its policy says is what docs/errors.md says."""

import errno
import os
from typing import Any

import pytest

from tests.messages import NIC_POLICIES
from virtnet.api import NicSettings
from virtnet.node.nic_policies import obstacles
from virtnet.node.nic_policies.obstacles import NicObstacle
from virtnet.node.nic_policies.plan import PfNow, PfSettings

NOW = PfNow(
    "0000:3b:00.0", "ens1f0", "ice", PfSettings(up=True, mtu=1500, vfs=4), mtus=(68, 9702), total_vfs=64, virtual={}
)
VF = "0000:3b:01.0"


def says(**settings: Any) -> NicSettings:
    return NicSettings.model_validate({"nics": {"names": ["ens1f0"]}, **settings})


def now(**changes: Any) -> PfNow:
    return PfNow(**{**vars(NOW), **changes})


NO_VFS = PfSettings(up=True, mtu=1500)
TOLD: dict[str, NicObstacle | None] = {
    "a NIC without an interface": obstacles.impossible(says(vfs=1), now(interface="")),
    "virtual functions of a NIC that has none": obstacles.impossible(says(vfs=1), now(settings=NO_VFS, total_vfs=-1)),
    "more virtual functions than a NIC can have": obstacles.impossible(says(vfs=65), NOW),
    "switchdev on a NIC without an eswitch": obstacles.impossible(says(eswitchMode="switchdev"), NOW),
    "an MTU that is too large": obstacles.impossible(says(mtu=9710), NOW),
    "an externally managed NIC that is otherwise": obstacles.differs(
        says(vfs=8, mtu=9000, eswitchMode="switchdev"), NOW
    ),
    "a NIC that an elder policy has": obstacles.overlap(NOW, "elder"),
    "hw-offload that an elder policy says otherwise": obstacles.setting_overlap("hw-offload", "elder"),
    "hw-offload that is managed by others, and otherwise": obstacles.setting_differs("hw-offload", "false", "true"),
    "a CPU that the node has not": obstacles.no_such_cpu(64, 8),
    "no Open vSwitch": obstacles.switch_away(),
    "a NIC that the node itself needs": obstacles.carries(NOW.name, "has a default route of the node"),
    "a virtual function that a pod has": obstacles.in_use(NOW, [(2, VF, "demo/db")]),
    "a kubelet that does not answer": obstacles.unseen(NOW, "the kubelet at SOCKET does not tell: ERROR"),
    "an error of the kernel's": obstacles.failed(NOW, OSError(errno.EIO, os.strerror(errno.EIO))),
    "a driver that does not do as it is told": obstacles.unsettled(NOW),
    "a driver that refuses": obstacles.refused(NOW, "8 VFs", OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))),
}


@pytest.mark.parametrize("given", TOLD)
def test_people_are_told(given: str) -> None:
    row, told = NIC_POLICIES[given], TOLD[given]
    assert told is not None
    assert (told.reason, told.message) == (row.reason, row.message)


def test_every_row_is_shown_here() -> None:
    assert {row.given for row in NIC_POLICIES.rows} == TOLD.keys()


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(says(vfs=64, mtu=9702), id="the most"),
        pytest.param(says(vfs=0), id="none"),
        pytest.param(None, id="no policy any more"),
    ],
)
def test_what_can_be_done(policy: NicSettings | None) -> None:
    assert obstacles.impossible(policy, NOW) is None


def test_a_driver_that_tells_no_limits_is_tried() -> None:
    assert obstacles.impossible(says(vfs=9, mtu=20000), now(mtus=(0, 0), total_vfs=-1)) is None
    assert obstacles.impossible(says(vfs=0), now(settings=NO_VFS, total_vfs=-1)) is None


def test_an_externally_managed_nic_that_is_so() -> None:
    assert obstacles.differs(says(vfs=4, mtu=1500, eswitchMode="legacy"), NOW) is None
    assert obstacles.differs(says(vfs=0), now(settings=NO_VFS)) is None


def test_of_many_users_some_are_named() -> None:
    told = obstacles.in_use(NOW, [(number, f"0000:3b:01.{number}", f"demo/{number}") for number in range(5)])
    assert "demo/2" in told.message
    assert "demo/3" not in told.message
    assert "; and 2 more are in use;" in told.message
