"""An API server in memory, whose clients may die or hear nothing at any write, and the time of its story."""

import asyncio
import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from tests.pinning.inputs import Body
from virtnet.api.meta import object_key
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, PINNED, port_name
from virtnet.api.records import Attachment, PinnedRecord
from virtnet.kube.client import Listing
from virtnet.kube.errors import AlreadyExists, Conflict, NotFound, Unavailable
from virtnet.kube.kinds import PODS, VMS, Kind

NS = "demo"


class Died(Exception):  # noqa: N818 - what happened
    """The process that wrote is dead, and so is all that it still tries."""


class Clock(datetime):
    """The time of the history."""

    moment = datetime(2026, 1, 1, tzinfo=UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        cls.moment += timedelta(milliseconds=1)
        return cls.moment.astimezone(tz)

    @classmethod
    def seconds(cls) -> float:
        return cls.moment.timestamp()


class ControllersClock(Clock):
    """The same time on another machine, whose clock is wrong."""

    skew = timedelta()

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return Clock.now(tz) + cls.skew


class Server:
    """The API server. ``fuse``: after how many writes of a process something happens to one, and what."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Body] = {}
        self.version = 0
        self.fuse = -1
        self.fate = ""
        self.dead = False

    def all(self, kind: Kind) -> list[Body]:
        return [copy.deepcopy(body) for (plural, _), body in sorted(self.objects.items()) if plural == kind.plural]

    def shown(self, kind: Kind, table: Any) -> None:
        """Brings a table up to date, as a watch does that has to list."""
        items = self.all(kind)
        table.note("LISTED", {"items": items, "metadata": {"resourceVersion": str(self.version)}})
        table.sync(map(object_key, items), self.version)

    async def get(self, kind: Kind, name: str, namespace: str = "", *, metadata_only: bool = False) -> Body:
        return copy.deepcopy(self._there(kind, name, namespace))

    async def exists(self, kind: Kind, name: str, namespace: str = "") -> bool:
        return (kind.plural, f"{namespace}/{name}") in self.objects

    async def list(self, kind: Kind, namespace: str = "", *, labels: str = "") -> Listing:
        """``labels`` are those that all have here."""
        return self.all(kind), str(self.version)

    async def create(self, kind: Kind, body: Body, namespace: str = "", *, dry_run: bool = False) -> Body:
        def write() -> Body:
            key = kind.plural, f"{namespace}/{body['metadata']['name']}"
            if key in self.objects:
                raise AlreadyExists(f"{key} is there", code=409)
            made = copy.deepcopy(body)
            made["metadata"] |= {"uid": f"u{self.version + 1}", "creationTimestamp": Clock.now(UTC).isoformat()}
            made["metadata"] |= {"namespace": namespace} if namespace else {}
            return made if dry_run else self._put(key, made)

        return await self._written(write)

    async def patch(self, kind: Kind, name: str, patch: Body, namespace: str = "", *, subresource: str = "") -> Body:
        def write() -> Body:
            there = self._there(kind, name, namespace)
            if patch.get("metadata", {}).get("uid", there["metadata"]["uid"]) != there["metadata"]["uid"]:
                raise Conflict("another uid", code=409)
            return self._put((kind.plural, f"{namespace}/{name}"), merged(there, patch))

        return await self._written(write)

    async def delete(
        self, kind: Kind, name: str, namespace: str = "", *, uid: str = "", resource_version: str = ""
    ) -> None:
        def write() -> Body:
            metadata = self._there(kind, name, namespace)["metadata"]
            if uid not in ("", metadata["uid"]) or resource_version not in ("", metadata["resourceVersion"]):
                raise Conflict("not what was meant", code=409)
            self.version += 1
            return self.objects.pop((kind.plural, f"{namespace}/{name}"))

        await self._written(write)

    def _there(self, kind: Kind, name: str, namespace: str) -> Body:
        try:
            return self.objects[kind.plural, f"{namespace}/{name}"]
        except KeyError:
            raise NotFound(f"no {kind} {name}", code=404) from None

    def _put(self, key: tuple[str, str], body: Body) -> Body:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.objects[key] = body
        return copy.deepcopy(body)

    async def _written(self, write: Any) -> Body:
        await asyncio.sleep(0)  # others may come in between
        if self.dead:
            raise Died
        self.fuse -= 1
        if self.fuse != -1 or not self.fate:
            return cast("Body", write())
        self.dead = self.fate.startswith("dies")
        if self.fate.endswith("after"):
            write()
        raise Died if self.dead else Unavailable("no answer")


def merged(there: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(there) if isinstance(there, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


def pod_of(body: Body, number: int) -> Body:
    """The launcher pod that a VM starts, as admission marks it."""
    name = body["metadata"]["name"]
    record = PinnedRecord.read(body["metadata"]["annotations"][PINNED])
    assert record is not None
    marks = {
        f"pod{network}": Attachment(
            port=f"{NS}/{port_name(name, network)}",
            network=network,
            nad=nic.network_attachment_definition,
            subnet=nic.subnet,
            mac=nic.mac,
            addresses=tuple(f"{address}/29" for address in nic.addresses),
            mtu=1442,
        ).model_dump(mode="json", by_alias=True)
        for network, nic in record.nics.items()
    }
    owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": name, "controller": True}
    return {
        "metadata": {
            "name": f"virt-launcher-{name}-{number}",
            "labels": {ATTACHED_LABEL: "true"},
            "annotations": {ATTACHMENTS: json.dumps(marks)},
            "ownerReferences": [owner],
        },
        "spec": {"nodeName": "node1"},
    }


def nics_of(server: Server) -> Iterator[tuple[str, Any]]:
    """Ports, and what they have: by VMs' records, and by pods."""
    for body in server.all(VMS):
        record = PinnedRecord.read(body["metadata"]["annotations"][PINNED])
        assert record is not None
        for network, nic in record.nics.items():
            yield f"{NS}/{port_name(body['metadata']['name'], network)}", nic
    for pod in server.all(PODS):
        for mark in json.loads(pod["metadata"]["annotations"][ATTACHMENTS]).values():
            attachment = Attachment.model_validate(mark)
            yield attachment.port, attachment
