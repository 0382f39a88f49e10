"""Where the stand-in's scheduler places pods."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from virtnet.kube.errors import ApiError, Conflict, NotFound
from virtnet.kube.kinds import PODS
from virtnet.lab.standin.scheduler import HOSTNAME, Scheduler, choose
from virtnet.lab.standin.store import Store

Object = dict[str, Any]

NODES = {name: {HOSTNAME: name, "demo/vms": "true"} for name in ("node1", "node2")} | {"node3": {HOSTNAME: "node3"}}


def pod(node: str = "", *, phase: str = "Running", away_from: str = "", **selector: str) -> Object:
    spec: Object = {"nodeSelector": selector, "containers": [{"name": "c"}]}
    if node:
        spec["nodeName"] = node
    if away_from:
        rule = {"labelSelector": {"matchLabels": {"vmi": away_from}}}
        spec["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}
    return {"metadata": {"namespace": "demo", "labels": {"vmi": "a"}}, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("new", "others", "expected"),
    [
        pytest.param(pod(), [pod("node1")], "node2", id="the emptiest node"),
        pytest.param(pod(**{HOSTNAME: "node3"}), [pod("node3")], "node3", id="a node by its name"),
        pytest.param(pod(**{"demo/vms": "true"}), [pod("node1"), pod("node2")], "node1", id="nodes by a label"),
        pytest.param(pod(**{"demo/vms": "no"}), [], None, id="a label that no node has"),
        pytest.param(pod(**{"machine-type.node.kubevirt.io/q35": "true"}), [], "node1", id="KubeVirt's own labels"),
        pytest.param(pod(away_from="a"), [pod("node1")], "node2", id="away from the source"),
        pytest.param(pod(away_from="a"), [pod("node1", phase="Succeeded")], "node1", id="back to a completed source"),
        pytest.param(pod(away_from="a", **{HOSTNAME: "node1"}), [pod("node1")], None, id="not onto the source"),
    ],
)
def test_placement(new: Object, others: list[Object], expected: str) -> None:
    assert choose(new, others, NODES) == expected


def test_a_cordoned_node_gets_no_pods() -> None:
    assert choose(pod(), [], {**NODES, "node1": None}) == "node2"


class Server:
    """Refuses to bind a pod once, and then does it."""

    def __init__(self, refusal: ApiError) -> None:
        self.refusals = [refusal]
        self.bound = asyncio.Event()

    async def bind(self, pod: Object, node: str) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.bound.set()

    async def get(self, *_: str) -> Object:
        return waiting()


def waiting() -> Object:
    made = pod()
    made["metadata"] |= {"name": "one", "uid": "1", "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return made


@pytest.mark.parametrize("refusal", [Conflict("storage error"), NotFound("not found")])
async def test_a_pod_that_could_not_be_bound_is_tried_again_though_nothing_more_is_told_of_it(
    refusal: ApiError,
) -> None:
    server = Server(refusal)
    store = Store(server)  # type: ignore[arg-type]
    scheduler = Scheduler(store, SimpleNamespace(nodes=dict.fromkeys(NODES)))  # type: ignore[arg-type]
    scheduler.worker.start()
    store._keep(PODS, waiting())
    async with asyncio.timeout(20):
        await server.bound.wait()
