"""What a launcher pod is refused for, as an Event on its VM: people look there, and see a VM that stays Starting."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from virtnet.api.kubevirt import owning_instance
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound

log = structlog.get_logger()

Body = Mapping[str, Any]

REASON = "LauncherPodRefused"
REPEAT_SECONDS = 60.0
"""KubeVirt tries again and again; of one VM no more is told in that time, whatever its pods are refused for."""

MOST_REMEMBERED = 1000


class RefusedLaunchers:
    """Tells in tasks of their own: the answer to the API server waits for none."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._reported: dict[tuple[str, str], float] = {}
        """Namespace and instance -> when; in the order of the times."""
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, pod: Body, why: str) -> None:
        """That a pod is refused; nothing where it is no launcher."""
        instance = owning_instance(pod)
        key = pod["metadata"].get("namespace", ""), instance
        now = self._clock()
        if not instance or now - self._reported.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
            return
        self._reported.pop(key, None)
        self._reported[key] = now
        if len(self._reported) > MOST_REMEMBERED:
            del self._reported[next(iter(self._reported))]
        task = asyncio.create_task(self._tell(*key, why))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, namespace: str, instance: str, why: str) -> None:
        for kind in (kinds.VMS, kinds.VMIS):
            try:
                body = await self._cluster.get(kind, instance, namespace)
            except NotFound:
                continue
            except ApiError as error:
                log.warning("not told of a refused launcher pod", instance=f"{namespace}/{instance}", error=str(error))
                return
            await self._cluster.event(body, reason=REASON, message=why, warning=True, component="webhook")
            return
