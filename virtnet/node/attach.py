"""Attaching NICs: ADD, DEL, CHECK, STATUS and GC of CNI 1.1.0, each safe to repeat and to be killed in."""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol
from weakref import WeakValueDictionary

import structlog
from pydantic import TypeAdapter, ValidationError

from virtnet.api.kubevirt import MIGRATION_JOB_UID
from virtnet.api.names import ATTACHMENTS
from virtnet.api.records import Attachment
from virtnet.kube.errors import ApiError, NotFound
from virtnet.node.journal import Entry, Journal
from virtnet.node.nics import Driver
from virtnet.node.request import AttachmentId, CniError, Request
from virtnet.node.switch import SwitchPort

log = structlog.get_logger()

_ATTACHMENTS = TypeAdapter(dict[str, Attachment])


class Pods(Protocol):
    """Where pods are looked up."""

    async def pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        """Raises ApiError's subclasses."""
        ...


class Attacher:
    """The node's NICs. One NIC is worked on by one request at a time."""

    def __init__(
        self, journal: Journal, pods: Pods, port: SwitchPort, drivers: Mapping[str, Driver], *, patience: float
    ) -> None:
        """``patience``: seconds that ADD waits for OVN."""
        self.journal = journal
        self._pods = pods
        self._port = port
        self._drivers = drivers
        self._patience = patience
        self._locks: WeakValueDictionary[AttachmentId, asyncio.Lock] = WeakValueDictionary()

    async def handle(self, request: Request) -> dict[str, Any] | None:
        """The result of a request, None where the command has none. Raises CniError."""
        match request.command:
            case "STATUS":
                self._status()
            case "GC":
                await self.collect(request.valid_attachments)
            case _:
                async with self._lock(request.id):
                    return await self._one(request)
        return None

    async def _one(self, request: Request) -> dict[str, Any] | None:
        match request.command:
            case "ADD":
                return await self._add(request)
            case "DEL":
                await self.detach(request.id)
            case _:
                await self._check(request)
        return None

    def _lock(self, id_: AttachmentId) -> asyncio.Lock:
        """The NIC's lock; it lives as long as somebody holds or awaits it."""
        return self._locks.setdefault(id_, asyncio.Lock())

    async def _add(self, request: Request) -> dict[str, Any]:
        entry = await self._entry(request)
        known = self.journal.get(request.id)
        if known is not None and (known.state != "Attached" or known.attachment != entry.attachment):
            await self.detach(request.id)  # what a crash has left, or an earlier answer that holds no more
        try:
            return await self._attach(entry, request.version)
        except BaseException:
            # Also when the runtime has gone away: it will call DEL, but it need not.
            await asyncio.shield(self.detach(request.id))
            raise

    async def _entry(self, request: Request) -> Entry:
        """What is to be attached, from the pod. Raises CniError."""
        where = f"pod {request.pod_namespace}/{request.pod_name}"
        if not request.pod_name:
            raise CniError(CniError.ENVIRONMENT, "CNI_ARGS names no pod (K8S_POD_NAMESPACE, K8S_POD_NAME)")
        try:
            pod = await self._pods.pod(request.pod_namespace, request.pod_name)
        except NotFound as error:
            raise CniError(CniError.UNKNOWN_CONTAINER, f"{where} is gone") from error
        except ApiError as error:
            raise CniError(CniError.TRY_AGAIN, f"{where} cannot be looked up now: {error}") from error
        uid = pod["metadata"]["uid"]
        if request.pod_uid and request.pod_uid != uid:
            raise CniError(CniError.UNKNOWN_CONTAINER, f"{where} is another one by now (uid {uid})")
        return Entry(
            container=request.id.container,
            interface=request.id.interface,
            netns=request.netns,
            pod_namespace=request.pod_namespace,
            pod_name=request.pod_name,
            pod_uid=uid,
            migration=(pod["metadata"].get("labels") or {}).get(MIGRATION_JOB_UID, ""),
            attachment=_attachment(pod, where, request.id.interface),
        )

    async def _attach(self, entry: Entry, version: str) -> dict[str, Any]:
        driver = self._drivers[entry.attachment.nic]
        known = self.journal.get(entry.id)
        if known is None:
            self.journal.write(entry)
            for step in driver.steps(entry):
                await step.do(entry)
        await self._let_go_elsewhere(entry)
        await self._port.do(entry)
        await self._port.wait(entry, self._patience)
        self.journal.write(entry.model_copy(update={"state": "Attached"}))
        return result(entry, version, await driver.observe(entry))

    async def _let_go_elsewhere(self, entry: Entry) -> None:
        """An earlier NIC of this node with the same port belongs to a sandbox that is over: DEL may come later."""
        for other in self.journal.of_port(entry.attachment.port):
            if other.id != entry.id and not other.released:
                await self.release(other)

    async def release(self, entry: Entry) -> None:
        """Let go of the port for good, but leave the interface."""
        self.journal.write(entry.model_copy(update={"released": True}))
        await self._port.release(entry)
        log.info("port released", port=entry.attachment.port, nic=str(entry.id))

    async def detach(self, id_: AttachmentId) -> None:
        """Take back all that the journal speaks of. Nothing to do is fine."""
        entry = self.journal.get(id_)
        if entry is None:
            return
        self.journal.write(entry.model_copy(update={"state": "Detaching"}))
        await self._port.undo(entry)
        for step in reversed(self._drivers[entry.attachment.nic].steps(entry)):
            await step.undo(entry)
        self.journal.remove(id_)

    async def _check(self, request: Request) -> None:
        entry = self.journal.get(request.id)
        if entry is None or entry.state != "Attached":
            raise CniError(CniError.UNKNOWN_CONTAINER, f"{request.id} is not attached by virtnet")
        await self._drivers[entry.attachment.nic].observe(entry)
        if not entry.released:
            self._port.check(entry)

    def _status(self) -> None:
        if not self._port.ready:
            raise CniError(CniError.UNAVAILABLE, "Open vSwitch does not answer, or its integration bridge is missing")

    async def collect(self, valid: frozenset[AttachmentId]) -> None:
        """Detach what the runtime does not know any more."""
        for entry in self.journal:
            if entry.id not in valid:
                async with self._lock(entry.id):
                    log.info("collected", nic=str(entry.id), port=entry.attachment.port)
                    await self.detach(entry.id)


def _attachment(pod: Mapping[str, Any], where: str, interface: str) -> Attachment:
    text = (pod["metadata"].get("annotations") or {}).get(ATTACHMENTS)
    if not text:
        raise CniError(
            CniError.NETWORK,
            f"{where} has no annotation {ATTACHMENTS}: it was admitted without virtnet's webhook",
            "check that the MutatingWebhookConfiguration virtnet is there, then delete the pod",
        )
    try:
        attachments = _ATTACHMENTS.validate_json(text)
    except ValidationError as error:
        raise CniError(CniError.NETWORK, f"{where}: annotation {ATTACHMENTS} cannot be read", str(error)) from error
    if interface not in attachments:
        known = ", ".join(sorted(attachments)) or "none"
        raise CniError(
            CniError.NETWORK,
            f"{where}: annotation {ATTACHMENTS} has no interface {interface}; it has {known}",
            "is its NetworkAttachmentDefinition one of virtnet?",
        )
    return attachments[interface]


def result(entry: Entry, version: str, seen: Mapping[str, Any]) -> dict[str, Any]:
    """The CNI result in the version that the runtime speaks."""
    attachment, newest = entry.attachment, version == "1.1.0"
    mtu = {"mtu": attachment.mtu} if newest else {}
    legacy = {} if version >= "1.0.0" else {"version": "4"}
    gateway = {"gateway": attachment.gateway} if attachment.gateway else {}
    default = [{"dst": "0.0.0.0/0", "gw": attachment.gateway}] if attachment.gateway else []
    return {
        "cniVersion": version,
        "interfaces": [
            {"name": entry.host_name, "mac": seen["host_mac"], **mtu},
            {"name": entry.interface, "mac": attachment.mac, "sandbox": entry.netns, **mtu},
        ],
        "ips": [{"address": address, "interface": 1, **gateway, **legacy} for address in attachment.addresses],
        "routes": [*default, *({"dst": route.destination, "gw": route.gateway} for route in attachment.routes)],
        "dns": {},
    }
