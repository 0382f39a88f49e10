"""Places pods: where they ask to be, a migration's target away from its source, the others evenly."""

from collections import Counter
from collections.abc import Mapping

import structlog

from virtnet.kube.errors import Conflict, NotFound
from virtnet.kube.kinds import NODES, PODS
from virtnet.lab.standin.conditions import find, now, put
from virtnet.lab.standin.devices import total
from virtnet.lab.standin.kubevirt import FINAL, Object, phase
from virtnet.lab.standin.settings import StandinSettings
from virtnet.lab.standin.store import Store, StoreKey, going, key_of
from virtnet.lab.standin.worker import Again, Worker

log = structlog.get_logger()

HOSTNAME = "kubernetes.io/hostname"

REFUSED_SECONDS = 0.5

GRANTED = ("kubernetes.io/arch", "kubevirt.io/", "node.kubevirt.io/")
"""Selectors of KubeVirt's own, for hardware: all nodes of a lab are the same machine."""


class Scheduler:
    """One pod at a time, in the order in which they come: decisions see those before them."""

    def __init__(self, store: Store, settings: StandinSettings) -> None:
        self._store = store
        self._settings = settings
        self.worker: Worker[str] = Worker("scheduler", self._schedule)
        store.on_change(PODS, lambda key, pod: self.worker.nudge("pods"))
        store.on_change(NODES, lambda key, node: self.worker.nudge("pods"))

    async def _schedule(self, _: str) -> None:
        waiting = [pod for pod in self._store.all(PODS) if not pod["spec"].get("nodeName") and not going(pod)]
        for pod in sorted(waiting, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
            if pod["status"].get("phase") not in FINAL:
                await self._place(pod)

    async def _place(self, pod: Object) -> None:
        pods = self._store.all(PODS)
        suitable = [name for name in self._settings.nodes if self._has_devices(name, pod, pods)]
        node = choose(pod, pods, {name: self._labels(name) for name in suitable})
        key = key_of(pod)
        if node is None:
            await self._refuse(key)
            return
        try:
            await self._store.server.bind(pod, node)
        except (Conflict, NotFound) as problem:
            # Somebody was faster, or an API server that has just lost its etcd knows no better: no event may follow.
            log.warning("not bound", pod=key[1], node=node, problem=str(problem))
            await self._store.refresh(PODS, key)
            raise Again(REFUSED_SECONDS) from problem
        log.info("bound", pod=key[1], node=node)
        # The next decision must know of this one, whether or not the watch has told.
        await self._store.refresh(PODS, key)

    def _labels(self, name: str) -> dict[str, str] | None:
        """A node's labels; None when it takes no pods."""
        node = self._store.get(NODES, ("", name)) or {}
        if node.get("spec", {}).get("unschedulable"):
            return None
        return {**node.get("metadata", {}).get("labels", {}), HOSTNAME: name}

    def _has_devices(self, name: str, pod: Object, pods: list[Object]) -> bool:
        """Whether a node has the devices that a pod asks for, and no other pod has been promised them."""
        wanted = total(pod)
        if not wanted:
            return True
        node = self._store.get(NODES, ("", name)) or {}
        offered = Counter(
            {
                one: int(count)
                for one, count in (node.get("status", {}).get("allocatable") or {}).items()
                if one in wanted
            }
        )
        for other in pods:
            if other["spec"].get("nodeName") == name and phase(other) not in FINAL:
                offered.subtract(total(other))
        return all(offered[one] >= count for one, count in wanted.items())

    async def _refuse(self, key: StoreKey) -> None:
        def change(pod: Object) -> None:
            conditions = pod["status"].setdefault("conditions", [])
            if find(conditions, "PodScheduled") is None:
                said = {"status": "False", "reason": "Unschedulable", "message": "no node of the lab suits this pod"}
                put(conditions, {"type": "PodScheduled", "lastProbeTime": None, "lastTransitionTime": now(), **said})

        await self._store.update(PODS, key, change, subresource="status")


def choose(pod: Object, pods: list[Object], nodes: Mapping[str, Mapping[str, str] | None]) -> str | None:
    """The suitable node with the fewest live pods; the first of equals. None if there is none."""
    live = [other for other in pods if other["spec"].get("nodeName") and phase(other) not in FINAL]
    suitable = [
        node
        for node, labels in nodes.items()
        if labels is not None and _selected(pod, labels) and not _repelled(pod, node, live)
    ]
    load = {node: sum(other["spec"]["nodeName"] == node for other in live) for node in suitable}
    return min(suitable, key=lambda node: load[node], default=None)


def _selected(pod: Object, labels: Mapping[str, str]) -> bool:
    wanted = pod["spec"].get("nodeSelector", {})
    return all(labels.get(key) == text for key, text in wanted.items() if not any(part in key for part in GRANTED))


def _repelled(pod: Object, node: str, live: list[Object]) -> bool:
    """Whether a pod is there that this one must not be with: so a migration's target stays away from its source."""
    rules = pod["spec"].get("affinity", {}).get("podAntiAffinity", {})
    for rule in rules.get("requiredDuringSchedulingIgnoredDuringExecution", ()):
        labels = rule["labelSelector"].get("matchLabels", {}).items()
        if any(
            other["spec"]["nodeName"] == node and labels <= other["metadata"].get("labels", {}).items()
            for other in live
            if other["metadata"]["namespace"] == pod["metadata"]["namespace"]
        ):
            return True
    return False
