"""NICs become what policies say and, when these go, what they were, whatever happens in between."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attach.kubelet import Kubelet
from tests.attach.samples import journaled
from tests.nic_policies.rig import ADDRESSES, VF, PolicyNode, policy
from virtnet.api import PlacedNicPolicy
from virtnet.node.nic_policies.kernel import NicKernel
from virtnet.node.nic_policies.plan import PfNow, PfStep
from virtnet.node.nic_policies.records import NicRecord

pytestmark = pytest.mark.system

FRESH = (0, 1500, False)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[PolicyNode]:
    with PolicyNode.running(tmp_path) as node:
        yield node


async def test_a_policy_comes_changes_and_goes(node: PolicyNode) -> None:
    told = await node.want(policy(vfs=4, mtu=9000))
    assert node.has("ens1") == (4, 9000, True)
    (nic,) = told["fast"].values()
    assert (nic.address, nic.vfs, nic.mtu, nic.ready, nic.reason) == (ADDRESSES["ens1"], 4, 9000, True, "Configured")
    assert node.has("ens2") == FRESH
    await node.want(policy(vfs=6))
    assert node.has("ens1") == (6, 1500, True)  # what is no longer said is as it was found
    assert await node.want() == {}
    assert node.has("ens1") == FRESH
    assert len(node.reconciler.records) == 0


async def test_one_nic_delays_no_other(node: PolicyNode) -> None:
    told = await node.want(policy("fast", "ens1", "ens2", vfs=4), policy("more", "ens2", vfs=9))
    assert [nic.ready for nic in told["fast"].values()] == [True, True]
    assert told["more"]["ens2"].reason == "Overlap"
    told = await node.want(policy("more", "ens2", vfs=9), policy("fast", "ens1", "ens2", vfs=4, mtu=9000))
    assert (told["more"]["ens2"].reason, node.has("ens2")) == ("TooManyVfs", (4, 1500, True))
    assert (told["fast"]["ens1"].ready, node.has("ens1")) == (True, (4, 9000, True))
    assert await node.want() == {}
    assert (node.has("ens1"), node.has("ens2")) == (FRESH, FRESH)


async def test_nothing_is_done_while_policies_are_unknown(node: PolicyNode) -> None:
    await node.want(policy(vfs=4))
    node.restart()
    await node.reconciler.reconcile()
    assert (node.reconciler.statuses, node.has("ens1")) == (None, (4, 1500, True))


async def test_a_daemon_that_starts_anew_puts_back_what_its_forerunner_found(node: PolicyNode) -> None:
    await node.want(policy(vfs=4, mtu=9000))
    node.restart()
    assert await node.want() == {}
    assert node.has("ens1") == FRESH


async def test_a_boot_leaves_nothing_to_put_back(node: PolicyNode) -> None:
    await node.reconciler.records.write(
        NicRecord.model_validate(
            {"address": ADDRESSES["ens1"], "policy": "fast", "boot": "an earlier one", "found": {"vfs": 0, "mtu": 1300}}
        )
    )
    await node.want(policy(vfs=4))
    assert await node.want() == {}
    assert node.has("ens1") == FRESH


async def test_what_others_change_is_set_again(node: PolicyNode) -> None:
    await node.want(policy(vfs=4))
    node.numvfs("ens1").write_text("2\n")
    await node.want(policy(vfs=4))
    assert node.has("ens1")[0] == 4
    assert await node.want() == {}
    assert node.has("ens1") == FRESH


async def test_what_is_managed_by_others_is_never_touched(node: PolicyNode) -> None:
    told = await node.want(policy(vfs=4, externally_managed=True))
    assert (told["fast"]["ens1"].reason, node.has("ens1")) == ("Differs", FRESH)
    node.numvfs("ens1").write_text("4\n")
    told = await node.want(policy(vfs=4, externally_managed=True))
    assert told["fast"]["ens1"].ready
    assert await node.want() == {}
    assert node.has("ens1")[0] == 4


async def test_a_nic_is_left_to_others(node: PolicyNode) -> None:
    await node.want(policy(vfs=4))
    told = await node.want(policy(vfs=4, externally_managed=True))
    assert told["fast"]["ens1"].ready
    assert await node.want() == {}
    assert node.has("ens1") == (4, 1500, True)


async def test_a_nic_that_is_gone_is_forgotten(node: PolicyNode) -> None:
    await node.want(policy(vfs=4))
    node.there.remove("ens1")
    assert await node.want(policy(vfs=4)) == {"fast": {}}
    assert len(node.reconciler.records) == 0


async def test_a_pods_virtual_function_is_not_reset(node: PolicyNode) -> None:
    await node.want(policy(vfs=4))
    node.make_vf("ens1", 2, VF)
    entry = await node.reconciler.around.journal.write(journaled(device=VF, pod_name="db"))
    for wanted in ((policy(vfs=6),), ()):
        told = await node.want(*wanted)
        assert told["fast"]["ens1"].reason == "VfInUse"
        assert told["fast"]["ens1"].message.startswith(f"VF 2 of ens1 ({VF}) is pod demo/db's;")
        assert node.has("ens1")[0] == 4
    await node.reconciler.around.journal.remove(entry.id)
    told = await node.want()
    assert told["fast"]["ens1"].reason == "KubeletSilent"
    (node.state / "allotted.json").write_text(json.dumps({"demo/web": [VF]}))
    async with Kubelet(node.state / "allotted.json").serving(node.state / "kubelet.sock"):
        told = await node.want()
        assert told["fast"]["ens1"].message.startswith(f"VF 2 of ens1 ({VF}) is pod demo/web's;")
        (node.state / "allotted.json").write_text(json.dumps({"demo/web": []}))
        assert await node.want() == {}
    assert node.has("ens1") == FRESH


async def test_what_a_driver_refuses_is_undone_and_not_asked_for_at_once_again(
    node: PolicyNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.want(policy(vfs=4))
    do, asked = NicKernel._do, []

    def refusing(kernel: NicKernel, netlink: object, now: PfNow, step: PfStep) -> None:
        asked.append(str(step))
        if step.value == 7:
            raise OSError(12, "Cannot allocate memory")
        do(kernel, netlink, now, step)

    monkeypatch.setattr(NicKernel, "_do", refusing)
    for _ in range(2):
        told = await node.want(policy(vfs=7, mtu=9000))
        assert told["fast"]["ens1"].reason == "Refused"
        assert "refuses 7 VFs: Cannot allocate memory" in told["fast"]["ens1"].message
        assert node.has("ens1") == (4, 1500, True)
    assert asked == ["0 VFs", "MTU 9000", "7 VFs", "MTU 1500", "4 VFs"]
    told = await node.want(policy(vfs=6, mtu=9000))
    assert (told["fast"]["ens1"].ready, node.has("ens1")) == (True, (6, 9000, True))


@pytest.mark.parametrize("death", range(4))
@pytest.mark.parametrize("again", [(), (policy(vfs=2),)], ids=["undone", "gone on with"])
async def test_death_between_any_two_steps(
    node: PolicyNode, monkeypatch: pytest.MonkeyPatch, death: int, again: tuple[PlacedNicPolicy, ...]
) -> None:
    """The process ends before a step, and another one goes on."""
    node.numvfs("ens1").write_text("3\n")
    done: list[PfStep] = []

    class Dead(BaseException):
        pass

    def dying(kernel: NicKernel, netlink: object, now: PfNow, step: PfStep) -> None:
        if len(done) == death:
            raise Dead
        done.append(step)
        do(kernel, netlink, now, step)

    do = NicKernel._do
    with monkeypatch.context() as patched:
        patched.setattr(NicKernel, "_do", dying)
        with pytest.raises(Dead):
            await node.want(policy(vfs=4, mtu=9000))
    node.restart()
    await node.want(*again)
    assert node.has("ens1") == ((2, 1500, True) if again else (3, 1500, False))
    assert await node.want() == {}
    assert node.has("ens1") == (3, 1500, False)
