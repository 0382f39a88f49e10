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

from virtnet.api.names import TUNNEL_ADDRESS, TUNNEL_DEVICE
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError
from virtnet.kube.kinds import NODES
from virtnet.node import links
from virtnet.node.monitor import AddressEvent, Overrun, events
from virtnet.node.netns import inside
from virtnet.ovn.errors import OvnError
from virtnet.ovn.vswitch import VSwitch

log = structlog.get_logger()

LOOK_SECONDS = 60.0
"""How often to look although nothing has been told."""

SETTLE_SECONDS, RETRY_SECONDS = 0.5, 5.0
"""From a change of addresses to the look: they come and go together. And from a failure to the next attempt."""

ENCAP_IP = "ovn-encap-ip"
WRITTEN = "virtnet/encap-ip"
"""The address that virtnet wrote: where another is set by now, somebody else has taken the matter over."""

BEFORE = "virtnet/encap-ip-before"
"""The address that somebody else had set before; it is put back when nothing else is asked for any more."""


@dataclass(frozen=True)
class Wish:
    """What a Node object says of its tunnels."""

    address: str = ""
    device: str = ""
    internal: str = ""
    """The node's first InternalIP."""

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> "Wish":
        annotations = node["metadata"].get("annotations") or {}
        addresses = (node.get("status") or {}).get("addresses") or []
        internal = next((one["address"] for one in addresses if one.get("type") == "InternalIP"), "")
        return cls(annotations.get(TUNNEL_ADDRESS, ""), annotations.get(TUNNEL_DEVICE, ""), internal)


@dataclass(frozen=True)
class Choice:
    """The address that is to be used, or why there is none."""

    address: str = ""
    problem: str = ""


def choose(wish: Wish, current: Mapping[str, str], on_node: Mapping[str, frozenset[str]]) -> Choice:
    """The tunnels' address. ``current``: external_ids of Open_vSwitch; ``on_node``: address -> its devices.

    What is set by others stays, unless an annotation asks for something else.
    """
    if wish.address and wish.device:
        return Choice(problem=f"annotations {TUNNEL_ADDRESS} and {TUNNEL_DEVICE} exclude each other; remove one")
    if wish.address:
        return _present(wish.address, on_node)
    if wish.device:
        found = sorted((":" in address, address) for address, devices in on_node.items() if wish.device in devices)
        if not found:
            return Choice(
                problem=f"annotation {TUNNEL_DEVICE}: {wish.device} has no address on this node; give it one, or name "
                "another device"
            )
        return Choice(found[0][1])
    if not _ours(current):
        return Choice(current[ENCAP_IP])
    if current.get(BEFORE) or wish.internal:
        return Choice(current.get(BEFORE) or wish.internal)
    return Choice(problem=f"the Node has no InternalIP; annotate it with {TUNNEL_ADDRESS} or {TUNNEL_DEVICE}")


def _ours(current: Mapping[str, str]) -> bool:
    """Whether nobody else has set the address."""
    return current.get(ENCAP_IP, "") == current.get(WRITTEN, "")


def _present(text: str, on_node: Mapping[str, frozenset[str]]) -> Choice:
    try:
        address = str(ip_address(text))
    except ValueError:
        return Choice(problem=f"annotation {TUNNEL_ADDRESS}: {text} is not an address; write one like 192.0.2.10")
    if address not in on_node:
        return Choice(
            problem=f"annotation {TUNNEL_ADDRESS}: no device of this node has {address}; give it to one, or name "
            "another"
        )
    return Choice(address)


def settings(choice: Choice, current: Mapping[str, str]) -> dict[str, str | None]:
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


class Tunnel:
    """Keeps the address right, from the Node object and the node's devices."""

    def __init__(self, cluster: Cluster, node: str, vswitch: VSwitch, here: str = "/proc/self/ns/net") -> None:
        self._cluster = cluster
        self._node = node
        self._vswitch = vswitch
        self._here = here
        self._wish: Wish | None = None
        self._look = asyncio.Event()
        self._settled: asyncio.TimerHandle | None = None
        self._switch: object = None
        self._callbacks: list[Callable[[], None]] = []
        self.problem = ""
        """What is wrong with the address that was asked for; the one that was in use stays."""
        vswitch.on_change(self._note_switch)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Called when ``problem`` has changed."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="own Node")
            group.create_task(self._listen(), name="addresses")
            group.create_task(self._act(), name="tunnel address")

    async def _watch(self) -> None:
        while True:
            try:
                async for change, body in self._cluster.watch(NODES, fields=f"metadata.name={self._node}"):
                    if change == "SYNC":
                        continue
                    nodes = body["items"] if change == "LISTED" else [body]
                    self._wish = Wish.of(nodes[0]) if nodes and change != "DELETED" else None
                    self._look.set()
            except ApiError as error:
                log.warning("cannot watch the own Node", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        async for event in events(self._here):
            asked_of_node = self._wish is not None and (self._wish.address or self._wish.device)
            if asked_of_node and self._settled is None and isinstance(event, AddressEvent | Overrun):
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
        wish, vswitch = self._wish, self._vswitch
        if wish is None or not vswitch.up:
            return
        choice = choose(wish, vswitch.external_ids, await inside(self._here, links.addresses))
        changes = settings(choice, vswitch.external_ids)
        if changes:
            log.info("tunnel address", address=choice.address, before=vswitch.external_ids.get(ENCAP_IP, ""))
            await vswitch.set_external_ids(changes)
        if choice.problem != self.problem:
            self.problem = choice.problem
            for callback in self._callbacks:
                callback()
