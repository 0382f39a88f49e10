"""The sidecar: serves ``kubevirt.hooks`` to virt-launcher on a socket of the directory that both see.

virt-launcher looks for a socket, asks Info for a second, and calls the newest version that both have: OnDefineDomain,
for a minute at most, before a domain is defined, on a migration's source and target alike (the target's answer is not
used); Shutdown when the VM is gone, which ends the sidecar, and so the pod.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from grpc import aio

from virtnet.api.nic_kinds import VHOSTUSER_BINDING
from virtnet.binding import DomainRefused
from virtnet.binding.domain_xml import LARGEST
from virtnet.binding.messages import OnDefineDomainParams, info_result, on_define_domain_result
from virtnet.binding.network_info import NetworkInfo, parse
from virtnet.binding.nics import nics_of
from virtnet.binding.rewrite import rewrite
from virtnet.protobuf import Malformed

log = structlog.get_logger()

VERSIONS = ("v1alpha3", "v1alpha2")
HOOK_POINTS = ("OnDefineDomain", "Shutdown")
SOCKET = f"{VHOSTUSER_BINDING}.sock"
LARGEST_MESSAGE = 2 * LARGEST + 1024
"""Domain and VMI."""
EVERY = 0.1

Context = aio.ServicerContext[bytes, bytes]
Method = Callable[[bytes, Context], Awaitable[bytes]]


@dataclass(frozen=True)
class SidecarSettings:
    directory: Path = Path("/var/run/kubevirt-hooks")
    """Where virt-launcher looks for the socket: nothing else may be there."""
    network_info: Path = Path("/etc/podinfo/network-info")
    patience: float = 10.0
    """Seconds in which that must have been filled; a NIC's MTU and MAC may be wanting without."""
    vectors: int | None = None
    """Of MSI-X of each NIC; None: QEMU's own choice."""


class Hooks:
    """What virt-launcher calls."""

    def __init__(self, settings: SidecarSettings) -> None:
        self._settings = settings
        self.shut_down = asyncio.Event()

    async def info(self, request: bytes, context: Context) -> bytes:
        return info_result(VHOSTUSER_BINDING, HOOK_POINTS, VERSIONS)

    async def on_define_domain(self, request: bytes, context: Context) -> bytes:
        try:
            asked = OnDefineDomainParams.read(request)
            info = await filled(self._settings.network_info, self._settings.patience)
            nics = nics_of(asked.vmi, info)
            domain = rewrite(asked.domain_xml, nics, vectors=self._settings.vectors)
        except Malformed as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"{VHOSTUSER_BINDING}: {error}")
        except DomainRefused as error:
            log.warning("refused", why=str(error))
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"{VHOSTUSER_BINDING}: {error}")
        log.info("domain rewritten", nics=[{"network": nic.network, "mac": nic.mac, "mtu": nic.mtu} for nic in nics])
        return on_define_domain_result(domain)

    async def shutdown(self, request: bytes, context: Context) -> bytes:
        self.shut_down.set()
        return b""


async def filled(path: Path, patience: float) -> NetworkInfo:
    """What KubeVirt says of the pod's NICs, once kubelet has written it; after so long, nothing. Raises
    DomainRefused.
    """
    ends = time.monotonic() + patience
    while True:
        try:
            if text := await asyncio.to_thread(path.read_bytes):
                return parse(text)
        except OSError as error:
            raise DomainRefused(
                f"{path}: {error.strerror}; register the plugin with downwardAPI: device-info"
            ) from None
        if time.monotonic() > ends:
            log.warning("network-info is still empty", path=str(path), seconds=patience)
            return {}
        await asyncio.sleep(EVERY)


def methods(hooks: Hooks) -> dict[str, dict[str, Method]]:
    """By service and name."""
    callbacks = {"OnDefineDomain": hooks.on_define_domain}
    return {
        "kubevirt.hooks.info.Info": {"Info": hooks.info},
        "kubevirt.hooks.v1alpha2.Callbacks": {**callbacks},
        "kubevirt.hooks.v1alpha3.Callbacks": {**callbacks, "Shutdown": hooks.shutdown},
    }


async def run(settings: SidecarSettings) -> None:
    """Serve until the VM is gone, or until it is cancelled."""
    hooks = Hooks(settings)
    server = aio.server(options=[("grpc.max_receive_message_length", LARGEST_MESSAGE)])
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                service, {name: grpc.unary_unary_rpc_method_handler(method) for name, method in named.items()}
            )
            for service, named in methods(hooks).items()
        ]
    )
    socket = settings.directory / SOCKET
    socket.unlink(missing_ok=True)  # of a container that was killed
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    log.info("serving", socket=str(socket), versions=VERSIONS)
    try:
        await hooks.shut_down.wait()
    finally:
        await server.stop(grace=1)
        socket.unlink(missing_ok=True)
