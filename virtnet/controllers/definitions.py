"""Keeps NetworkAttachmentDefinitions for as long as VMs and pods have NICs by them: a deletion waits for the last."""

from virtnet.controllers.state import ControllerState
from virtnet.engine.due import Task
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features.nads import NADS, Nad, finalizers_of
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound


class Definitions:
    """Gives NADs of virtnet our finalizer, and takes it away. The only writer of it."""

    def __init__(self, cluster: Cluster, state: ControllerState) -> None:
        self._cluster = cluster
        self._state = state

    async def reconcile(self, task: Task) -> None:
        """Look at one NAD. Raises ApiError."""
        found = self._state.graph.evaluate(task, _look)
        if found is None:
            self._state.graph.forget(task)
            return
        nad, after = found
        if after == nad.finalizers:
            return
        # Conditional, because the list is written whole, and others write it too.
        patch = {"metadata": {"resourceVersion": nad.version, "finalizers": list(after)}}
        try:
            body = await self._cluster.patch(kinds.NADS, task.key.name, patch, task.key.namespace)
        except NotFound:
            return
        self._state.put(kinds.NADS, body)


def _look(key: ObjectKey, reader: Reader) -> tuple[Nad, tuple[str, ...]] | None:
    nad = reader.whole(NADS, key)
    return (nad, finalizers_of(nad, reader)) if nad is not None else None
