"""Run strategies: what becomes of a VM's instance, in a table; and once with a guest."""

from typing import Any

import pytest

from tests.lab.standin_demo import Demo, vm
from virtnet.kube.kinds import VMS
from virtnet.lab.standin.run_strategies import InstanceAction, forget_done, request_restart, starts, step

Object = dict[str, Any]
START: Object = {"action": "Start"}
STOP: Object = {"action": "Stop", "uid": "u1"}
OTHER: Object = {"action": "Stop", "uid": "u0"}


def made(strategy: str, *requests: Object, ran_as: str = "") -> Object:
    status: Object = {"stateChangeRequests": list(requests)}
    return {"spec": {"runStrategy": strategy}, "status": {**status, **({"runStrategy": ran_as} if ran_as else {})}}


def instance(phase: str) -> Object:
    return {"metadata": {"uid": "u1"}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("vm", "vmi", "wanted"),
    [
        pytest.param(made("Always"), None, InstanceAction.STARTED, id="Always: none"),
        pytest.param(made("Always"), "Running", InstanceAction.LEFT, id="Always: runs"),
        pytest.param(made("Always"), "Succeeded", InstanceAction.STOPPED, id="Always: ended"),
        pytest.param(made("Always", STOP, START), "Running", InstanceAction.STOPPED, id="Always: restarted"),
        pytest.param(made("Always", OTHER), "Running", InstanceAction.LEFT, id="Always: an earlier one was to stop"),
        pytest.param(made("Halted"), None, InstanceAction.LEFT, id="Halted: none"),
        pytest.param(made("Halted"), "Running", InstanceAction.STOPPED, id="Halted: runs"),
        pytest.param(made("Manual"), None, InstanceAction.LEFT, id="Manual: none"),
        pytest.param(made("Manual", START), None, InstanceAction.STARTED, id="Manual: asked to start"),
        pytest.param(made("Manual"), "Failed", InstanceAction.LEFT, id="Manual: ended"),
        pytest.param(made("Manual", STOP), "Running", InstanceAction.STOPPED, id="Manual: asked to stop"),
        pytest.param(made("Once"), None, InstanceAction.STARTED, id="Once: none"),
        pytest.param(made("Once"), "Failed", InstanceAction.LEFT, id="Once: ended"),
        pytest.param(made("RerunOnFailure"), None, InstanceAction.STARTED, id="RerunOnFailure: new"),
        pytest.param(made("RerunOnFailure", ran_as="RerunOnFailure"), None, InstanceAction.LEFT, id="RerunOnFailure: stopped"),
        pytest.param(made("RerunOnFailure", START, ran_as="RerunOnFailure"), None, InstanceAction.STARTED, id="RerunOnFailure: failed"),
        pytest.param(made("RerunOnFailure"), "Succeeded", InstanceAction.LEFT, id="RerunOnFailure: succeeded"),
        pytest.param(made("RerunOnFailure"), "Failed", InstanceAction.STOPPED, id="RerunOnFailure: fails"),
    ],
)  # fmt: skip
def test_what_becomes_of_an_instance(vm: Object, vmi: str | None, wanted: InstanceAction) -> None:
    assert step(vm, instance(vmi) if vmi else None) is wanted
    if vmi is None:
        assert starts(vm) is (wanted is InstanceAction.STARTED)


@pytest.mark.parametrize(
    ("requests", "vmi", "left"),
    [
        pytest.param([STOP, START], "Running", [STOP, START], id="to be restarted"),
        pytest.param([STOP, START], "Succeeded", [STOP, START], id="ended"),
        pytest.param([STOP, START], None, [START], id="gone"),
        pytest.param([START], "Running", [], id="started"),
        pytest.param([OTHER], "Running", [], id="stopped long ago"),
    ],
)
def test_what_is_done_is_forgotten(requests: list[Object], vmi: str | None, left: list[Object]) -> None:
    vm = made("Manual", *requests)
    forget_done(vm, instance(vmi) if vmi else None)
    assert vm["status"].get("stateChangeRequests", []) == left


def test_what_failed_is_asked_for_again_once() -> None:
    vm = made("RerunOnFailure", ran_as="RerunOnFailure")
    for _ in range(2):
        request_restart(vm, instance("Failed"))
    assert vm["status"]["stateChangeRequests"] == [START]
    assert step(vm, None) is InstanceAction.STARTED


@pytest.mark.lab
async def test_a_vm_that_is_started_by_hand_is_restarted_by_hand(demo: Demo) -> None:
    body = vm("vm1", demo.namespace)
    body["spec"]["runStrategy"] = "Manual"
    await demo.cluster.create(VMS, body, demo.namespace)
    await demo.until(
        lambda _, kind, thing: kind == "VirtualMachine" and thing.get("status", {}).get("printableStatus") == "Stopped"
    )

    async def ask(*requests: Object) -> None:
        patch = {"status": {"stateChangeRequests": list(requests)}}
        await demo.cluster.patch(VMS, "vm1", patch, demo.namespace, subresource="status")

    await ask(START)
    first = (await demo.phase("VirtualMachineInstance", "Running"))["metadata"]["uid"]
    await ask({**STOP, "uid": first}, START)
    await demo.until(
        lambda _, kind, thing: (
            kind == "VirtualMachineInstance"
            and thing["metadata"]["uid"] != first
            and thing.get("status", {}).get("phase") == "Running"
        )
    )
