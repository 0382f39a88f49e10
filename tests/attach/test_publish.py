"""What the node daemon does first, whatever becomes of its requests to the API server."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from virtnet.api import NodeNetwork
from virtnet.node.publish import OwnNodeNetwork


def nothing(*_: Any) -> None: ...


class Gates:
    """Those of a node at which a guest has arrived."""

    here = "/proc/self/ns/net"
    on_open = on_shut = staticmethod(nothing)

    def __init__(self) -> None:
        self.told = asyncio.Event()

    async def follow(self, *_: Any) -> None:
        self.told.set()


async def never(*_: Any) -> None:
    await asyncio.Event().wait()


async def test_a_gate_does_not_wait_for_an_api_server_that_hangs() -> None:
    """Another guest leaves at the same time, for which the API server has to be asked once more."""
    gates = Gates()
    part = SimpleNamespace(on_change=nothing, follow=nothing, arrived=nothing, external_ids={}, encap_ips=())
    own = OwnNodeNetwork(
        SimpleNamespace(get=never, patch=never),  # type: ignore[arg-type]
        "n1",
        SimpleNamespace(journal=()),  # type: ignore[arg-type]
        part,  # type: ignore[arg-type]
        asked=part,  # type: ignore[arg-type]
        gates=gates,  # type: ignore[arg-type]
        tunnel=part,  # type: ignore[arg-type]
        announcer=part,  # type: ignore[arg-type]
        underlays=part,  # type: ignore[arg-type]
        ovn_run_dir=Path("/nowhere"),
    )
    own._known = NodeNetwork.parse(
        {
            "metadata": {"name": "n1"},
            "spec": {
                "handoffs": {
                    "demo/leaves": {"migration": "m1", "role": "Source", "pod": "p", "release": True},
                    "demo/comes": {"migration": "m2", "role": "Target"},
                }
            },
        }
    )
    looks = asyncio.create_task(own._once())
    async with asyncio.timeout(10):
        await gates.told.wait()
    looks.cancel()
