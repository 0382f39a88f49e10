"""Whatever a NIC has and is to have: the steps lead there, and what was found is what is put back, also after a crash."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.api import NicSettings
from virtnet.node.nic_policies.plan import PfSettings, PfStep, found_before, steps, target

ANY = {"nics": {"names": ["ens1f0"]}}
VFS = st.integers(0, 3)
MTU = st.sampled_from((1500, 9000))
MODE = st.sampled_from(("legacy", "switchdev"))
NOW = st.builds(PfSettings, up=st.booleans(), mtu=MTU, vfs=VFS, eswitch_mode=st.none() | MODE)
POLICY = st.builds(
    lambda vfs, mtu, mode: NicSettings.model_validate({**ANY, "vfs": vfs, "mtu": mtu, "eswitchMode": mode}),
    st.none() | VFS,
    st.none() | MTU,
    st.none() | MODE,
)


UP = PfSettings(up=True, mtu=1500, vfs=0)


def policy(**says: Any) -> NicSettings:
    return NicSettings.model_validate({**ANY, **says})


def made(step: PfStep, now: PfSettings) -> PfSettings:
    """What a kernel makes of a step."""
    assert getattr(now, step.setting) == step.before
    if step.setting == "vfs":
        assert 0 in (step.before, step.value), "a kernel makes VFs only where there are none"
    if step.setting == "eswitch_mode":
        assert not now.vfs, "most drivers change the mode only while there are no VFs"
    return now.model_copy(update={step.setting: bool(step.value) if step.setting == "up" else step.value})


def carried_out(planned: Sequence[PfStep], now: PfSettings) -> PfSettings:
    for step in planned:
        now = made(step, now)
    return now


@pytest.mark.parametrize(
    ("now", "says", "planned"),
    [
        pytest.param(PfSettings(up=True, mtu=1500, vfs=0), {"vfs": 4}, ["4 VFs"], id="virtual functions"),
        pytest.param(PfSettings(up=False, mtu=1500, vfs=0), {"vfs": 4}, ["to be up", "4 VFs"], id="it is up first"),
        pytest.param(PfSettings(up=True, mtu=1500, vfs=4), {"vfs": 8}, ["0 VFs", "8 VFs"], id="another number of them"),
        pytest.param(
            PfSettings(up=False, mtu=1500, vfs=4),
            {"vfs": 8, "mtu": 9000},
            ["0 VFs", "to be up", "MTU 9000", "8 VFs"],
            id="all of it",
        ),
        pytest.param(PfSettings(up=False, mtu=1500, vfs=4), {"vfs": 0}, ["0 VFs"], id="none"),
        pytest.param(PfSettings(up=False, mtu=1500, vfs=4), {"mtu": 9000}, ["MTU 9000"], id="what is not said stays"),
        pytest.param(PfSettings(up=True, mtu=9000, vfs=4), {"vfs": 4, "mtu": 9000}, [], id="as it is"),
        pytest.param(UP, {"vfs": 4, "vfDriver": "vfio-pci"}, ["4 VFs"], id="what comes has a driver of its own first"),
        pytest.param(
            UP.model_copy(update={"vfs": 4, "vf_driver": "iavf"}),
            {"vfs": 4, "vfDriver": "vfio-pci"},
            ["VF driver vfio-pci"],
            id="then the one that is said",
        ),
        pytest.param(
            UP.model_copy(update={"vfs": 4, "vf_driver": ""}),
            {"vfDriver": "vfio-pci"},
            ["VF driver vfio-pci"],
            id="those without, or with several",
        ),
        pytest.param(UP, {"vfDriver": "vfio-pci"}, [], id="there are none to have it"),
    ],
)
def test_the_steps(now: PfSettings, says: dict[str, Any], planned: list[str]) -> None:
    assert [str(step) for step in steps(now, target(policy(**says), PfSettings()))] == planned


@pytest.mark.parametrize(
    ("driver", "before", "after", "planned"),
    [
        pytest.param(
            "ice", ("legacy", 0), ("switchdev", 4), ["eswitch mode switchdev", "4 VFs"], id="while there are none"
        ),
        pytest.param(
            "mlx5_core",
            ("legacy", 4),
            ("switchdev", 4),
            ["0 VFs", "eswitch mode switchdev", "4 VFs"],
            id="those that are there go, and come anew",
        ),
        pytest.param("ice", ("switchdev", 4), ("legacy", 0), ["0 VFs", "eswitch mode legacy"], id="and back"),
        pytest.param(
            "bnxt_en", ("legacy", 0), ("switchdev", 4), ["4 VFs", "eswitch mode switchdev"], id="while there are some"
        ),
        pytest.param("bnxt_en", ("legacy", 4), ("switchdev", 4), ["eswitch mode switchdev"], id="which stay"),
        pytest.param("bnxt_en", ("switchdev", 4), ("legacy", 0), ["eswitch mode legacy", "0 VFs"], id="and back, too"),
        pytest.param(
            "bnxt_en",
            ("legacy", 2),
            ("switchdev", 4),
            ["0 VFs", "4 VFs", "eswitch mode switchdev"],
            id="another number of them",
        ),
        pytest.param("igb", (None, 0), ("switchdev", 4), ["4 VFs"], id="no eswitch"),
    ],
)
def test_the_mode_of_an_eswitch_changes_when_its_driver_takes_that(
    driver: str, before: tuple[Any, int], after: tuple[Any, int], planned: list[str]
) -> None:
    now, wanted = (PfSettings(up=True, mtu=1500, eswitch_mode=mode, vfs=vfs) for mode, vfs in (before, after))
    assert [str(step) for step in steps(now, wanted, driver)] == planned


def test_drivers_of_virtual_functions_come_back_with_them() -> None:
    """Those that were there had another than they take by themselves."""
    there = PfSettings(up=True, mtu=1500, vfs=4, vf_driver="vfio-pci")
    found = found_before(PfSettings(), there, steps(there, target(policy(vfs=8), PfSettings())))
    assert found == PfSettings(vfs=4, vf_driver="vfio-pci")
    made = PfSettings(up=True, mtu=1500, vfs=8, vf_driver="iavf")
    assert [str(step) for step in steps(made, target(policy(vfs=8), found))] == ["VF driver vfio-pci"]
    assert [str(step) for step in steps(made, target(None, found))] == ["0 VFs", "4 VFs"]
    back = PfSettings(up=True, mtu=1500, vfs=4, vf_driver="iavf")
    assert [str(step) for step in steps(back, target(None, found))] == ["VF driver vfio-pci"]


def test_only_setting_a_nic_up_leaves_its_virtual_functions_alone() -> None:
    before, after = PfSettings(up=False, mtu=1500, vfs=4), PfSettings(up=True, mtu=9000, vfs=0)
    assert [str(step) for step in steps(before, after) if not step.resets] == ["to be up"]
    assert all(step.resets for step in steps(after, before))


@given(NOW, st.lists(POLICY, min_size=1, max_size=3), st.lists(st.integers(0, 7), min_size=3, max_size=3))
def test_what_was_found_is_put_back(now: PfSettings, policies: list[NicSettings], deaths: list[int]) -> None:
    """One policy after the other, each cut short after some steps and begun again; then none."""
    first, found = now, PfSettings()
    for says, death in zip(policies, deaths, strict=False):
        for cut in (death, None):
            planned = steps(now, target(says, found))
            found = found_before(found, now, planned)
            now = carried_out(planned[:cut], now)
        assert (says.vfs in (None, now.vfs), says.mtu in (None, now.mtu)) == (True, True)
        assert now.eswitch_mode in {None, says.eswitch_mode or now.eswitch_mode}
        assert now.up or not says.vfs or first.up
    for cut in (deaths[0], None):
        now = carried_out(steps(now, target(None, found))[:cut], now)
    assert now == first


@given(NOW, POLICY, st.integers(0, 7))
def test_steps_that_are_undone_leave_nothing(now: PfSettings, says: NicSettings, cut: int) -> None:
    done = steps(now, target(says, PfSettings()))[:cut]
    after = carried_out(done, now)
    assert carried_out(tuple(step.undone for step in reversed(done)), after) == now
