"""The daemon dies between any two steps, or a step fails: everything is as it was before, or as it should be."""

from typing import Any

import pytest

from tests.providers.rig import BRIDGE, NIC, SECOND, Machines
from virtnet.node.providers.nic import PhysicalNic
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.reconciler import RETRY_SECONDS, ProviderNetworkReconciler
from virtnet.node.providers.records import PluggingRecord

pytestmark = pytest.mark.system

PLUG_STEPS, UNPLUG_STEPS = 6, 5
FOREIGN = "physnet1:br-ex"


class Died(BaseException):
    """The process is gone: nothing is cleaned up."""


def failing(
    networks: ProviderNetworkReconciler, way: str, number: int, error: BaseException, patch: pytest.MonkeyPatch
) -> None:
    """Fail before one step of one way, counted from 0."""

    async def fail(record: Any) -> Any:
        raise error

    plugging = networks.plugging
    steps = list(getattr(plugging, way))
    patch.setattr(Plugging, way, property(lambda self: (*steps[:number], fail, *steps[number:])))


@pytest.mark.parametrize("number", range(PLUG_STEPS + 1))
@pytest.mark.parametrize("error", [Died(), OSError(5, "broken")], ids=["killed", "failed"])
async def test_plugging_that_ends_in_the_middle_is_undone(
    world: Machines, monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException
) -> None:
    world.node.vsctl("set", "Open_vSwitch", ".", f"external_ids:ovn-bridge-mappings={FOREIGN}")
    before = world.whole
    with monkeypatch.context() as patch:
        async with world.networks() as networks:
            failing(networks, "plug_steps", number, error, patch)
            networks.want({"blue": NIC})
            if isinstance(error, Died):
                with pytest.raises(Died):
                    await networks.reconcile()
            else:
                await networks.reconcile()
                assert networks.statuses["blue"].reason == "PlugFailed"
                assert "broken" in networks.statuses["blue"].message
    async with world.networks() as networks:
        await networks.reconcile()
    assert world.whole == before
    assert world.bridges == ["br-int"]
    assert world.mapping("ovn-bridge-mappings") == FOREIGN
    assert not list(world.records.iterdir())


@pytest.mark.parametrize("number", range(UNPLUG_STEPS + 1))
async def test_unplugging_that_ends_in_the_middle_is_finished(
    world: Machines, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = world.whole
    async with world.networks() as networks:
        networks.want({"blue": NIC})
        await networks.reconcile()
        assert world.on(BRIDGE)["entries"] == before["entries"]
        with monkeypatch.context() as patch:
            failing(networks, "unplug_steps", number, Died(), patch)
            networks.want({})
            with pytest.raises(Died):
                await networks.reconcile()
    async with world.networks() as networks:
        await networks.reconcile()
    assert world.whole == before
    assert world.bridges == ["br-int"]


def stuck(patch: pytest.MonkeyPatch, name: str) -> None:
    """No way out for one NIC."""
    take = Plugging._take_nic

    async def unless(self: Plugging, record: PluggingRecord) -> PluggingRecord:
        if record.provider_network == name:
            raise OSError(16, "busy")
        return await take(self, record)

    patch.setattr(Plugging, "_take_nic", unless)


@pytest.mark.parametrize("wanted", [{"red": SECOND}, {"blue": "lo", "red": SECOND}], ids=["over", "another NIC"])
async def test_a_nic_that_cannot_be_taken_out_holds_up_no_other(
    world: Machines, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, str]
) -> None:
    before = world.whole
    with monkeypatch.context() as patch:
        async with world.networks() as networks:
            networks.want({"blue": NIC})
            await networks.reconcile()
            stuck(patch, "blue")
            networks.want({"red": SECOND})
            await networks.reconcile()
            assert networks.statuses["red"].ready
            assert networks.statuses["blue"].reason == "UnplugFailed"
        async with world.networks() as networks:  # it goes on so in the next daemon
            networks.want(wanted)
            await networks.reconcile()
            assert networks.statuses["red"].ready
            assert networks.statuses["blue"].reason == "UnplugFailed"
            assert networks.pause == RETRY_SECONDS
    async with world.networks() as networks:
        networks.want({"red": SECOND})
        await networks.reconcile()
        assert list(networks.statuses) == ["red"]
    assert world.whole == before


async def test_what_cannot_be_read_of_one_nic_holds_up_no_other(
    world: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = Plugging.find

    async def unless(self: Plugging, name: str) -> PhysicalNic | None:
        if name == NIC:
            raise OSError(105, "no buffer space")
        return await find(self, name)

    monkeypatch.setattr(Plugging, "find", unless)
    async with world.networks() as networks:
        networks.want({"blue": NIC, "red": SECOND})
        await networks.reconcile()
        assert networks.statuses["red"].ready
        assert networks.statuses["blue"].reason == "PlugFailed"
        assert "no buffer space" in networks.statuses["blue"].message
        assert networks.pause == RETRY_SECONDS
