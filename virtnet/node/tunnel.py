"""The address of the node's tunnels: what the Node object asks for, else what is set already, else the node's own.

The address is OVN's to use (ovn-controller(8), external_ids:ovn-encap-ip); it may change while VMs run: ovn-controller
tells the others, and tunnels follow.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import structlog

from virtnet.api.meta import annotations_of
from virtnet.api.names import TUNNEL_ADDRESS, TUNNEL_DEVICE
from virtnet.api.workloads import internal_ip
from virtnet.kube.cache import ObjectCache
from virtnet.kube.client import Cluster
from virtnet.kube.informer import Informer
from virtnet.kube.kinds import NODES
from virtnet.node import links
from virtnet.node.monitor import AddressEvent, Overrun, events
from virtnet.node.netns import inside
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""How often to look without an event."""

SETTLE_SECONDS = 0.5
"""From a change of addresses to the look: they come and go together."""

ENCAP_IP = "ovn-encap-ip"
WRITTEN = "virtnet/encap-ip"
"""The address that virtnet wrote: where another is set by now, somebody else has taken the matter over."""

BEFORE = "virtnet/encap-ip-before"
"""The address that somebody else had set before; it is put back when nothing else is asked for any more."""


_ANNOTATE = f"annotate it with {TUNNEL_ADDRESS} or {TUNNEL_DEVICE}"


@dataclass(frozen=True)
class TunnelRequest:
    """What a Node object says of its tunnels."""

    address: str = ""
    device: str = ""
    internal: str = ""
    """The node's first InternalIP."""

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> "TunnelRequest":
        annotations = annotations_of(node)
        return cls(annotations.get(TUNNEL_ADDRESS, ""), annotations.get(TUNNEL_DEVICE, ""), internal_ip(node))


@dataclass(frozen=True)
class TunnelChoice:
    """The address that is to be used, or why there is none."""

    address: str = ""
    problem: str = ""


def choose(request: TunnelRequest, current: Mapping[str, str], on_node: Mapping[str, frozenset[str]]) -> TunnelChoice:
    """The tunnels' address. ``current``: external_ids of Open_vSwitch; ``on_node``: address -> its devices.

    What is set by others stays, unless an annotation asks for something else.
    """
    if request.address and request.device:
        return TunnelChoice(problem=f"annotations {TUNNEL_ADDRESS} and {TUNNEL_DEVICE} exclude each other; remove one")
    if request.address:
        return _present(f"annotation {TUNNEL_ADDRESS}", request.address, on_node, "give it to one, or name another")
    if request.device:
        found = sorted((":" in address, address) for address, devices in on_node.items() if request.device in devices)
        if not found:
            return TunnelChoice(
                problem=f"annotation {TUNNEL_DEVICE}: {request.device} has no address on this node; give it one, or "
                "name another device"
            )
        return TunnelChoice(found[0][1])
    if not _ours(current):
        return TunnelChoice(current[ENCAP_IP])
    if current.get(BEFORE):
        return TunnelChoice(current[BEFORE])
    if request.internal:
        return _present("the Node's InternalIP", request.internal, on_node, f"correct it, or {_ANNOTATE}")
    return TunnelChoice(problem=f"the Node has no InternalIP; {_ANNOTATE}")


def _ours(current: Mapping[str, str]) -> bool:
    """Whether nobody else has set the address."""
    return current.get(ENCAP_IP, "") == current.get(WRITTEN, "")


def _present(what: str, text: str, on_node: Mapping[str, frozenset[str]], remedy: str) -> TunnelChoice:
    try:
        address = str(ip_address(text))
    except ValueError:
        return TunnelChoice(problem=f"{what}: {text} is not an address; write one like 192.0.2.10")
    if address not in on_node:
        return TunnelChoice(problem=f"{what}: no device of this node has {address}; {remedy}")
    return TunnelChoice(address)


def settings(choice: TunnelChoice, current: Mapping[str, str]) -> dict[str, str | None]:
    """What must change in the external_ids of Open_vSwitch; None for a key that goes.

    The encapsulation is set only where there is none.
    """
    if not choice.address or current.get(ENCAP_IP) == choice.address:
        return {}
    if choice.address == current.get(BEFORE):
        return {ENCAP_IP: choice.address, WRITTEN: None, BEFORE: None}
    before = {} if _ours(current) else {BEFORE: current[ENCAP_IP]}
    encap = {} if current.get("ovn-encap-type") else {"ovn-encap-type": "geneve"}
    return {ENCAP_IP: choice.address, WRITTEN: choice.address, **before, **encap}


class TunnelAddress:
    """Keeps the address right, from the Node object and the node's devices."""

    def __init__(self, cluster: Cluster, node: str, vswitch: VSwitch, here: str = "/proc/self/ns/net") -> None:
        self._informer = Informer(
            cluster, NODES, ObjectCache(TunnelRequest.of), self._note_node, fields=f"metadata.name={node}"
        )
        self._vswitch = vswitch
        self._here = here
        self._request: TunnelRequest | None = None
        self._look = asyncio.Event()
        self._settled: asyncio.TimerHandle | None = None
        self._switch: object = None
        self._callbacks: list[Callable[[], None]] = []
        self.problem = ""
        """What is wrong with the address that was asked for; the one that was in use stays."""
        vswitch.on_change(self._note_switch)

    @property
    def node_addresses(self) -> set[str]:
        """Those of the tunnels, and the Node's first InternalIP once it is known."""
        return {*self._vswitch.encap_ips, *([self._request.internal] if self._request else ())}

    def on_change(self, callback: Callable[[], None]) -> None:
        """Called when ``problem`` has changed."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informer.run(), name="own Node")
            group.create_task(self._listen(), name="addresses")
            group.create_task(self._act(), name="tunnel address")

    def _note_node(self, _: TunnelRequest | None, request: TunnelRequest | None) -> None:
        self._request = request
        self._look.set()

    async def _listen(self) -> None:
        async for event in events(self._here):
            if self._request is not None and self._settled is None and isinstance(event, AddressEvent | Overrun):
                self._settled = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._look_now)

    def _look_now(self) -> None:
        self._settled = None
        self._look.set()

    def _note_switch(self) -> None:
        """Most changes of the switch are of pods' ports."""
        ids = self._vswitch.external_ids
        now = self._vswitch.up, [ids.get(key) for key in (ENCAP_IP, WRITTEN, BEFORE, "ovn-encap-type")]
        if now != self._switch:
            self._switch = now
            self._look.set()

    async def _act(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._once()
            except (OvnError, OSError) as error:
                log.warning("tunnel address not set yet", error=str(error))
                await asyncio.sleep(1)
                self._look.set()

    async def _once(self) -> None:
        request, vswitch = self._request, self._vswitch
        if request is None or not vswitch.up:
            return
        choice = choose(request, vswitch.external_ids, await inside(self._here, links.addresses))
        changes = settings(choice, vswitch.external_ids)
        if changes:
            log.info("tunnel address", address=choice.address, before=vswitch.external_ids.get(ENCAP_IP, ""))
            await vswitch.set_external_ids(changes)
        if choice.problem != self.problem:
            self.problem = choice.problem
            for callback in self._callbacks:
                callback()
