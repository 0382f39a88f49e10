"""What device plugins offer, in their Node's status: the scheduler goes by it."""

from collections.abc import Mapping
from functools import partial

from virtnet.kube.kinds import NODES
from virtnet.lab.standin.device_manager import DeviceManager
from virtnet.lab.standin.devices import is_device
from virtnet.lab.standin.kubevirt import Object
from virtnet.lab.standin.store import Store
from virtnet.lab.standin.worker import Worker


class NodeResources:
    """Of all nodes, each with its device manager."""

    def __init__(self, store: Store, managers: Mapping[str, DeviceManager]) -> None:
        self._store = store
        self._managers = managers
        self.worker: Worker[str] = Worker("node resources", self._publish)
        store.on_change(NODES, lambda key, node: self.worker.nudge(key[1]))
        for name, manager in managers.items():
            manager.on_change(partial(self.worker.nudge, name))

    async def _publish(self, name: str) -> None:
        if name not in self._managers:
            return
        offered = self._managers[name].offered()

        def change(node: Object) -> None:
            for group in ("capacity", "allocatable"):
                status = node.setdefault("status", {})
                gone = {resource: "0" for resource in status.get(group, ()) if is_device(resource)}
                if devices := gone | {resource: str(count) for resource, count in offered.items()}:
                    status[group] = {**status.get(group, {}), **devices}

        await self._store.update(NODES, ("", name), change, subresource="status")
