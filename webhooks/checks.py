"""Checks of objects of our kinds, and of VMs that name them: each feature's own, on what is in memory."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from virtnet.addressing.requests import Refused
from virtnet.api import ClusterSubnet, Subnet
from virtnet.api.meta import is_deleting
from virtnet.engine.candidate import Candidate
from virtnet.engine.collection import Collection
from virtnet.engine.feature import Invalid
from virtnet.engine.graph import Reader
from virtnet.engine.keys import ObjectKey
from virtnet.features import FEATURES
from virtnet.features.sources import VMS
from virtnet.features.workloads import Vm
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound
from virtnet.kube.watched import BY_WEBHOOK
from webhooks.cache import Cache
from webhooks.named_owners import absent_owners

log = structlog.get_logger()

Body = Mapping[str, Any]

VM_CHECKS = [feature.check_vm for feature in FEATURES if feature.check_vm]
CHECKED = {feature.model.crd.plural: (feature, feature.check) for feature in FEATURES if feature.check}
WATCHED = {one.collection: one.kind for one in BY_WEBHOOK}


class Checker:
    """Runs the checks."""

    def __init__(self, cluster: Cluster, cache: Cache) -> None:
        self._cluster = cluster
        self._cache = cache

    async def check(self, plural: str, body: Body, old: Body | None) -> Sequence[str]:
        """An object that is created or changed: what its owner should know. Raises Refused.

        Memory is late: before anybody is refused or warned, what the check has asked for by name is read anew.
        """
        feature, check = CHECKED[plural]
        new, before = feature.model.parse(_as_if_new(body)), feature.model.parse(old) if old else None
        warnings = await self._decided(check, feature.collection, ObjectKey.of(new), new, before)
        if isinstance(new, Subnet | ClusterSubnet):
            subnet = before if isinstance(before, Subnet | ClusterSubnet) else None
            warnings = (*warnings, *await absent_owners(self._cluster, new, subnet))
        return warnings

    async def check_vm(self, body: Body, old: Body | None) -> Sequence[str]:
        """A VM that is created or changed, likewise. Nothing is asked of one that is being deleted."""
        if old is not None and is_deleting(old):
            return ()
        new, before = Vm.of(body), Vm.of(old) if old else None
        key = VMS.key(new.key)
        return [line for check in VM_CHECKS for line in await self._decided(check, VMS, key, new, before)]

    async def _decided(
        self,
        check: Callable[[Any, Any, Reader], Sequence[str]],
        collection: Collection[Any],
        key: ObjectKey,
        new: Any,
        before: Any,
    ) -> Sequence[str]:
        def candidate() -> Candidate:
            return Candidate(self._cache.graph, collection, key, new, WATCHED)

        remembered = candidate()
        with contextlib.suppress(Invalid):
            if not check(new, before, remembered):
                return ()
        await self._refresh(remembered)
        try:
            return check(new, before, candidate())
        except Invalid as error:
            raise Refused(str(error), code=error.code) from error

    async def _refresh(self, candidate: Candidate) -> None:
        for collection, key in {(_source(collection, key), key): None for collection, key in candidate.read_by_key}:
            cache = self._cache.by_collection[collection]
            try:
                cache.put(await self._cluster.get(WATCHED[collection], key.name, key.namespace))
            except NotFound:
                cache.remove(key.key)
            except ApiError as error:
                log.warning("decided from memory", key=str(key), error=str(error))
                return


def _source(collection: Collection[Any], key: ObjectKey) -> Collection[Any]:
    """The collection that is watched: itself, or that of the objects that its entries are parts of."""
    return collection if collection in WATCHED else next(one for one in WATCHED if one.kind == key.kind)


def _as_if_new(body: Body) -> Body:
    """Where two objects exclude each other the elder has its way: here that is whoever is there already."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "creationTimestamp"}
    return {**{key: value for key, value in body.items() if key != "status"}, "metadata": metadata}


def refuse_deletion(body: Body) -> None:
    """An object that exists always. Raises Refused."""
    raise Refused(
        f"{body['kind']} {body['metadata']['name']} is always there, and cannot be deleted; delete what lies in it, or "
        "uninstall virtnet (docs/deletion.md)",
        code=403,
    )
