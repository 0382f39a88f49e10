"""A live migration as a person asks for it: a VirtualMachineInstanceMigration, followed to its end."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import aclosing

from virtnet.kube.client import Cluster
from virtnet.kube.kinds import VMIMS

ENDED = ("Succeeded", "Failed")


class MigrationFailed(Exception):  # noqa: N818 - says what happened
    """The migration was begun and did not succeed. The message has the last that is known."""


async def migrate(
    cluster: Cluster,
    vm: str,
    namespace: str,
    *,
    to: str = "",
    seconds: float = 180,
    say: Callable[[str], None] = lambda line: None,
) -> str:
    """Migrate a running VM, to a node if one is named, and wait for the end. The name of the migration object.

    ``say`` is told each phase. Raises MigrationFailed when it fails or takes too long, and ApiError's.
    """
    name = f"{vm[:50].rstrip('.-')}-{secrets.token_hex(3)}"
    spec: dict[str, object] = {"vmiName": vm}
    if to:
        spec["addedNodeSelector"] = {"kubernetes.io/hostname": to}
    body = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    await cluster.create(VMIMS, body, namespace)
    phase = ""
    try:
        async with asyncio.timeout(seconds):
            phase = await _follow(cluster, name, namespace, say)
    except TimeoutError:
        raise MigrationFailed(f"migration {namespace}/{name} has not ended after {seconds:.0f} s") from None
    if phase != "Succeeded":
        raise MigrationFailed(f"migration {namespace}/{name}: {phase}")
    return name


async def _follow(cluster: Cluster, name: str, namespace: str, say: Callable[[str], None]) -> str:
    """The phase in which it ended."""
    printed = ""
    async with aclosing(cluster.watch(VMIMS, namespace, fields=f"metadata.name={name}")) as changes:
        async for change, found in changes:
            if change == "SYNC":
                continue
            for migration in found["items"] if change == "LISTED" else (found,):
                phase = migration.get("status", {}).get("phase", "Pending")
                if change == "DELETED":
                    return f"deleted while {phase}"
                if phase != printed:
                    printed = phase
                    say(phase)
                if phase in ENDED:
                    return str(phase)
    return "no longer watched"
