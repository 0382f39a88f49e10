"""``python -m virtnet.lab.standin --lab NAME --state DIR``: runs until it is told to end; guests outlive it."""

import argparse
import asyncio
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import structlog

from virtnet.lab.standin.automatic_migrations import AutomaticMigrations
from virtnet.lab.standin.device_manager import DeviceManager, PodDevices
from virtnet.lab.standin.handler import Handler
from virtnet.lab.standin.kubelet import Kubelet
from virtnet.lab.standin.launchers import Launchers
from virtnet.lab.standin.migrations import Migrations
from virtnet.lab.standin.node_resources import NodeResources
from virtnet.lab.standin.sandboxes import Sandboxes
from virtnet.lab.standin.scheduler import Scheduler
from virtnet.lab.standin.server import StandinCluster
from virtnet.lab.standin.settings import StandinSettings
from virtnet.lab.standin.store import Store
from virtnet.lab.standin.transfers import Transfers
from virtnet.lab.standin.vmis import Instances
from virtnet.lab.standin.vms import VirtualMachines

log = structlog.get_logger()


async def serve(settings: StandinSettings) -> None:
    """Until SIGTERM or SIGINT. Raises ApiError when the API server does not know a kind that is needed."""
    async with await StandinCluster.connect(settings.kubeconfig, agent="virtnet-lab-standin") as server:
        store = Store(server)
        sandboxes = Sandboxes(settings)
        launchers = Launchers(settings, sandboxes)
        handler = Handler(store, sandboxes, launchers, Transfers(store, settings, sandboxes, launchers))
        managers = device_managers(settings, sandboxes)
        resources = NodeResources(store, managers)
        kubelet = handler.kubelet = Kubelet(store, settings, sandboxes, managers, handler.stop_launcher)
        parts = (
            resources,
            Scheduler(store, settings),
            VirtualMachines(store),
            Instances(store),
            Migrations(store),
            AutomaticMigrations(store),
        )
        ready = asyncio.Event()
        following = asyncio.create_task(store.run(ready))
        relisting = asyncio.create_task(kubelet.relist())
        ended = asyncio.create_task(_signalled())
        try:
            await asyncio.wait({following, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
            if ready.is_set():
                await launchers.adopt()
                for manager in managers.values():
                    await manager.start()
                for part in (*parts, handler, kubelet):
                    part.worker.start()
                log.info("stand-in is ready", lab=settings.lab.name, nodes=sorted(settings.nodes))
            await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            following.cancel()
            relisting.cancel()
            for manager in managers.values():
                await manager.stop()
            await launchers.close()


def device_managers(settings: StandinSettings, sandboxes: Sandboxes) -> dict[str, DeviceManager]:
    """By node."""

    def having(node: str) -> Iterator[PodDevices]:
        return (PodDevices(one.namespace, one.name, one.devices) for one in sandboxes if one.node == node)

    return {name: DeviceManager(settings.state / name, partial(having, name)) for name in settings.nodes}


async def _signalled() -> None:
    signalled = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled.set)
    await signalled.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="virtnet.lab.standin", description=__doc__)
    parser.add_argument("--lab", required=True, help="the lab's name")
    parser.add_argument("--state", required=True, type=Path, help="the lab's state directory, with lab.json")
    arguments = parser.parse_args()
    asyncio.run(serve(StandinSettings.load(arguments.lab, arguments.state)))


if __name__ == "__main__":
    main()
