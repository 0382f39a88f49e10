"""``virtnet trace`` names the rule by which OVN lets a packet pass, or the group that drops it."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.controllers.conftest import World, until
from tests.controllers.test_security_groups import group, name, workloads
from virtnet.lab.control_plane import ControlPlane

pytestmark = pytest.mark.system


def trace(world: World, kubeconfig: Path, vm: str, to: str, *words: str) -> tuple[int, list[str]]:
    """Exit code, and lines of output or of the error."""
    world.ovn.nbctl("--wait=sb", "sync")
    databases = ("--northbound", world.ovn.remote("nb"), "--southbound", world.ovn.remote("sb"))
    command = [sys.executable, "-m", "virtnet.cli.main", "trace", vm, "--to", to, "-n", world.namespace, *databases]
    done = subprocess.run(
        [*command, *words],
        env={**os.environ, "KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout or done.stderr).splitlines()


async def test_it_names_who_decides(world: World, api_server: ControlPlane) -> None:
    space = world.namespace

    async def says(vm: str, to: str, code: int, *lines: str, words: tuple[str, ...] = ()) -> None:
        answer: list[object] = []

        async def so() -> bool:
            answer[:] = await asyncio.to_thread(trace, world, api_server.kubeconfig, vm, to, *words)
            return answer == [code, list(lines)]

        try:
            await until(so, "it says so")
        except AssertionError:
            raise AssertionError(answer) from None

    await workloads(world)
    web, db = f"{space}/web.blue", f"{space}/db.blue"
    await says("web", "10.0.0.5:80", 0, f"comes out of {db}")
    await group(world, "db", ingress=[{"ports": [{"protocol": "UDP"}]}, {"ports": [{"protocol": "TCP", "port": 80}]}])
    await name(world, "db", "db")
    passes = f"arriving: passes by SecurityGroup {space}/db, ingress[1]"
    await says("web", "10.0.0.5:80", 0, passes, f"comes out of {db}")
    drops = f"arriving: dropped by SecurityGroup {space}/db, of which no rule lets it pass"
    await says("web", "10.0.0.5:81", 1, drops, "dropped")
    await says("web", "10.0.0.5", 1, drops, "dropped")
    await says("db", "10.0.0.6", 0, f"comes out of {web}")
    wrong = f"virtnet trace: {space}/none: say by --network which NIC sends; it has none"
    await says("none", "10.0.0.5", 2, wrong)
    await says(
        "db",
        "10.0.0.6:80",
        2,
        "virtnet trace: ip is no protocol; write tcp, udp, sctp or icmp",
        words=("--protocol", "ip"),
    )
    await says("db", "fd00::6", 2, f"virtnet trace: NIC blue of {space}/db has no IPv6 address")
