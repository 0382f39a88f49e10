"""``python -m virtnet.binding``: a process of its own, without what ``virtnet`` loads, because every VM has one."""

import argparse
import asyncio
import signal
from pathlib import Path

import structlog

from virtnet.binding.server import SidecarSettings, run


async def serve(settings: SidecarSettings) -> None:
    """Run the sidecar until it ends or is told to."""
    task = asyncio.ensure_future(run(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def main() -> None:
    """Run the sidecar. KubeVirt starts it without arguments."""
    default = SidecarSettings()
    options = argparse.ArgumentParser(prog="python -m virtnet.binding", description=main.__doc__)
    options.add_argument(
        "--directory", type=Path, default=default.directory, help="Where virt-launcher looks for the socket."
    )
    options.add_argument(
        "--network-info", type=Path, default=default.network_info, help="What KubeVirt says of the pod's NICs."
    )
    options.add_argument("--vectors", type=int, help="Of MSI-X of each NIC; 0 where QEMU 7.2 runs guests without KVM.")
    given = options.parse_args()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ]
    )
    asyncio.run(serve(SidecarSettings(given.directory, given.network_info, vectors=given.vectors)))


if __name__ == "__main__":
    main()
