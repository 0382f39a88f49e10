"""What people and nodes are told: statuses, what is asked of nodes, finalizers and Events.

Nothing here decides anything about OVN, so it may be late: a slow API server holds up no handoff.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from virtnet.api import Resource, Spec
from virtnet.api.meta import API_VERSION
from virtnet.controllers.state import KINDS, ControllerState
from virtnet.engine.deletion import deleting_state, finalizers_after
from virtnet.engine.due import Task
from virtnet.engine.feature import Feature
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Announcement, Report, announcements, status_after
from virtnet.features.committed import support
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists, NotFound

COMPONENT = "virtnet-controller"


FOREIGN = {"Pod": "v1", "VirtualMachine": "kubevirt.io/v1", "VirtualMachineInstance": "kubevirt.io/v1"}


@dataclass(frozen=True)
class _Found:
    """What there is to write of one object."""

    resource: Resource
    report: Report
    finalizers: tuple[str, ...]


def _look(feature: Feature, key: ObjectKey, reader: Reader) -> _Found | None:
    resource = reader.whole(feature.collection, key)
    report = feature.report(key, reader) if feature.report else None
    if resource is None or report is None:
        return None
    if feature.compile is not None:
        report = replace(report, conditions=(*report.conditions, support(key, reader)))
    if feature.in_use is None:
        return _Found(resource, report, resource.metadata.finalizers)
    user = feature.in_use(resource, reader) if resource.deleting else ""
    report = replace(report, conditions=(*report.conditions, deleting_state(user)))
    kept = bool(user) or not resource.deleting
    return _Found(resource, report, finalizers_after(resource.metadata.finalizers, kept=kept))


def _status_patch(resource: Resource, report: Report, after: Spec) -> dict[str, Any]:
    """The merge patch of a status: whole, so that values going back to their defaults are written too."""
    if not report.shared:
        return {"status": after.model_dump(mode="json", by_alias=True, exclude=set(report.others))}
    # Conditional, because others write into the same list.
    version = {"resourceVersion": resource.metadata.resource_version}
    return {"metadata": version, "status": after.model_dump(mode="json", by_alias=True, include={"conditions"})}


class Reporter:
    """Writes the statuses of our kinds, what is asked of nodes, and Events. The only writer of these."""

    def __init__(
        self,
        cluster: Cluster,
        state: ControllerState,
        announced: Callable[[object], None] = lambda _: None,
        again: Callable[[Task, timedelta], None] = lambda _task, _delay: None,
    ) -> None:
        """``announced``: is told the subject of every Event, for counting. ``again``: report on this object later."""
        self._again = again
        self._cluster = cluster
        self._state = state
        self._announced = announced

    async def report(self, task: Task) -> None:
        """Report on one object. Raises ApiError."""
        feature = KINDS[task.key.kind]
        found = self._state.graph.evaluate(task, lambda key, reader: _look(feature, key, reader))
        if found is not None:
            await self._guard(found)
            await self._write(found.resource, found.report)
            for one in found.report.needs:
                await self._make(one)
            if found.report.again is not None:
                self._again(task, found.report.again)
        elif missing := [one for one in feature.defaults if ObjectKey.of(one) == task.key]:
            await self._make(missing[0])
        else:
            self._state.graph.forget(task)

    async def _guard(self, found: "_Found") -> None:
        """Give the object our finalizer, or take it away."""
        resource = found.resource
        if found.finalizers == resource.metadata.finalizers:
            return
        # Conditional, because the list is written whole, and others write it too.
        version = resource.metadata.resource_version
        patch = {"metadata": {"resourceVersion": version, "finalizers": list(found.finalizers)}}
        await self._patch(kinds.of(type(resource)), resource, patch)

    async def _make(self, missing: Resource) -> None:
        """Make an object that is missing. Of one that has just come the watch will tell."""
        kind = kinds.of(type(missing))
        with contextlib.suppress(AlreadyExists):
            self._state.put(kind, await self._cluster.create(kind, missing.manifest(), missing.namespace))

    async def _write(self, resource: Resource, report: Report) -> None:
        kind = kinds.of(type(resource))
        if report.request:
            await self._patch(kind, resource, {"spec": dict(report.request)})
        if not report.conditions and not report.status:
            return
        before, after = resource.status, status_after(resource, report)  # type: ignore[attr-defined]  # of every kind that is reported on
        news = announcements(resource, report)
        if after != before:
            await self._patch(kind, resource, _status_patch(resource, report, after), "status")
        for one in news:
            await self._announce(resource, report, one)

    async def _patch(self, kind: kinds.Kind, resource: Resource, patch: Any, subresource: str = "") -> None:
        """Write a part of an object. What comes back is looked at again: others may have changed it meanwhile."""
        try:
            body = await self._cluster.patch(kind, resource.name, patch, resource.namespace, subresource=subresource)
        except NotFound:
            return
        self._state.put(kind, body)

    async def _announce(self, resource: Resource, report: Report, one: Announcement) -> None:
        key, uid = report.regarding or (ObjectKey.of(resource), resource.metadata.uid)
        regarding = {
            "apiVersion": FOREIGN.get(key.kind, API_VERSION),
            "kind": key.kind,
            "metadata": {"namespace": key.namespace, "name": key.name, "uid": uid},
        }
        message = f"{report.about}: {one.message}" if report.about else one.message
        await self._cluster.event(
            regarding, reason=one.reason, message=message, warning=one.warning, component=COMPONENT
        )
        self._announced(one.subject)
