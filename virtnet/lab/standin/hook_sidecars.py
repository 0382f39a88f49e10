"""virt-launcher's side of its sidecars: it looks for sockets, asks each who it is, and calls those that want to be."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from virtnet.lab.standin import hook_messages
from virtnet.lab.standin.worker import Hitch

NEWEST_FIRST = ("v1alpha3", "v1alpha2", "v1alpha1")
LOOKS_EVERY, INFO_SECONDS, CALL_SECONDS = 0.3, 1, 60
COLLECT_SECONDS = 60
"""virt-launcher waits longer; here, a VM that is deleted meanwhile waits, too."""


class SidecarFailed(Hitch):
    """A sidecar is not there, or refuses the domain; the message is its own."""


@dataclass(frozen=True)
class Sidecar:
    """What its Info says, and where it is."""

    socket: Path
    name: str
    version: str
    hook_points: tuple[str, ...]

    async def on_define_domain(self, domain: bytes, vmi: bytes) -> bytes:
        """Raises aio.AioRpcError."""
        asked = hook_messages.OnDefineDomainParams(domainXML=domain, vmi=vmi)
        read = hook_messages.OnDefineDomainResult.FromString
        answer = await self._call("OnDefineDomain", asked.SerializeToString(), read)
        return bytes(answer.domainXML)

    async def shutdown(self) -> None:
        await self._call("Shutdown", b"", bytes)

    async def _call(self, method: str, message: bytes, read: Callable[[bytes], Any]) -> Any:
        return await call(
            self.socket, f"/kubevirt.hooks.{self.version}.Callbacks/{method}", message, read, CALL_SECONDS
        )


async def call(socket: Path, method: str, message: bytes, read: Callable[[bytes], Any], seconds: float) -> Any:
    """Each call has a connection of its own, as virt-launcher's have."""
    async with aio.insecure_channel(f"unix:{socket}") as channel:
        stub: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        return read(await stub(message, timeout=seconds))


def sockets_in(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def collect(directory: Path, number: int, *, known: tuple[str, ...] = NEWEST_FIRST) -> list[Sidecar]:
    """All sidecars, as soon as each answers. Raises AioRpcError for one that is reached and does not answer Info."""
    found: dict[Path, Sidecar] = {}
    while len(found) < number:
        for socket in set(await asyncio.to_thread(sockets_in, directory)) - set(found):
            try:
                info = await call(
                    socket, "/kubevirt.hooks.info.Info/Info", b"", hook_messages.InfoResult.FromString, INFO_SECONDS
                )
            except aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                continue
            version = next(one for one in known if one in info.versions)
            found[socket] = Sidecar(socket, info.name, version, tuple(point.name for point in info.hookPoints))
        await asyncio.sleep(LOOKS_EVERY)
    return list(found.values())


async def define(directory: Path, number: int, domain: bytes, vmi: bytes) -> bytes:
    """The domain as the sidecars would have it, one after the other. Raises SidecarFailed."""
    try:
        async with asyncio.timeout(COLLECT_SECONDS):
            sidecars = await collect(directory, number)
        for sidecar in sidecars:
            if "OnDefineDomain" in sidecar.hook_points:
                domain = await sidecar.on_define_domain(domain, vmi)
    except TimeoutError:
        raise SidecarFailed(f"not all of {number} sidecars made a socket in {COLLECT_SECONDS} s") from None
    except aio.AioRpcError as error:
        raise SidecarFailed(error.details() or str(error.code())) from error
    return domain
