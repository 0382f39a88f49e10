"""The sandboxes of pods: a network namespace each, and the NICs in it. Written down before anything is done."""

import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from virtnet.api.vhostuser import LAUNCHER_VOLUME
from virtnet.lab.daemon import Daemon
from virtnet.lab.names import NETNS
from virtnet.lab.standin.command import run
from virtnet.lab.standin.devices import Allotment
from virtnet.lab.standin.kubevirt import Object
from virtnet.lab.standin.multus import PluginError, PodNic, Sandbox, add, delete
from virtnet.lab.standin.settings import StandinSettings
from virtnet.lab.standin.sidecar_container import SidecarContainer


@dataclass
class SandboxRecord:
    """What is known of a pod's sandbox, in memory and on disk."""

    namespace: str
    name: str
    uid: str
    node: str
    netns: str
    launcher: bool
    container: str = ""
    devices: Allotment = field(default_factory=dict)
    """What its containers have of device plugins', until it ends."""
    nics: list[PodNic] = field(default_factory=list)
    complete: bool = False
    """All NICs are there, and it is known to everybody."""
    guest: int | None = None
    """How the launcher's QEMU ended: 0 when it should, or wanted to."""
    exited: int | None = None
    """How the launcher itself ended."""

    def nic(self, interface: str) -> PodNic | None:
        return next((nic for nic in self.nics if nic.interface == interface), None)


class Sandboxes:
    """All of them, by pod uid. One pod's is used by one task at a time."""

    def __init__(self, settings: StandinSettings) -> None:
        self._settings = settings
        self._records: dict[str, SandboxRecord] = {}
        for path in settings.state.glob("pods/*/sandbox.json"):
            content = json.loads(path.read_text())
            nics = [PodNic(**nic) for nic in content.pop("nics")]
            record = SandboxRecord(**content, nics=nics)
            self._records[record.uid] = record

    def __iter__(self) -> Iterator[SandboxRecord]:
        return iter(list(self._records.values()))

    def get(self, uid: str) -> SandboxRecord | None:
        return self._records.get(uid)

    def save(self, record: SandboxRecord) -> None:
        self._records[record.uid] = record
        directory = self._settings.pod_state(record.uid)
        directory.mkdir(parents=True, exist_ok=True)
        half = directory / "sandbox.json.part"
        half.write_text(json.dumps(asdict(record)))
        half.rename(directory / "sandbox.json")

    def admit(self, pod: Object, devices: Allotment, *, launcher: bool) -> SandboxRecord:
        """The record of a pod that its node takes; the devices are the pod's from now on."""
        metadata = pod["metadata"]
        uid, node = metadata["uid"], pod["spec"]["nodeName"]
        record = SandboxRecord(
            metadata["namespace"], metadata["name"], uid, node, self._settings.lab.pod(uid), launcher, devices=devices
        )
        self.save(record)
        return record

    async def open(self, known: SandboxRecord) -> SandboxRecord:
        """A fresh network namespace for a pod. Nothing in a launcher's speaks, neither before nor beside the guest."""
        record = SandboxRecord(
            *(known.namespace, known.name, known.uid, known.node, known.netns, known.launcher),
            container=uuid.uuid4().hex * 2,
            devices=known.devices,
        )
        self.save(record)
        if record.launcher:
            self._settings.empty_dir(record.node, record.uid, LAUNCHER_VOLUME).mkdir(parents=True, exist_ok=True)
        await self._make(record)
        return record

    async def attach(self, record: SandboxRecord, nic: PodNic) -> None:
        """CNI ADD. Raises PluginError."""
        record.nics.append(nic)
        self.save(record)
        await add(self.sandbox(record), nic)
        self.save(record)

    async def detach(self, record: SandboxRecord, interface: str) -> None:
        """CNI DEL of one NIC, while the pod goes on. Raises PluginError."""
        nic = record.nic(interface)
        if nic is not None:
            await delete(self.sandbox(record), nic)
            record.nics.remove(nic)
            self.save(record)

    async def close(self, record: SandboxRecord) -> None:
        """CNI DEL of every NIC, then the namespace goes; what is left is a directory with logs. Raises PluginError."""
        self.holder(record).stop(grace=0.5)
        self.sidecar(record).stop()
        problems = []
        for nic in reversed(record.nics[:]):
            try:
                await self.detach(record, nic.interface)
            except PluginError as problem:
                problems.append(str(problem))
        if problems:
            raise PluginError("; ".join(problems))
        if self.there(record):
            await run("ip", "netns", "delete", record.netns)

    def there(self, record: SandboxRecord) -> bool:
        """Whether its namespace is: it goes with its node."""
        return (NETNS / record.netns).exists()

    def drop(self, record: SandboxRecord) -> None:
        """Forget a closed sandbox."""
        self._records.pop(record.uid, None)
        shutil.rmtree(self._settings.pod_volumes(record.node, record.uid), ignore_errors=True)
        shutil.rmtree(self._settings.pod_state(record.uid), ignore_errors=True)

    def hold(self, record: SandboxRecord) -> None:
        """Start what an ordinary pod consists of: a process that does nothing."""
        self.holder(record).start()

    def sidecar(self, record: SandboxRecord) -> SidecarContainer:
        """Of a launcher; most have none."""
        return SidecarContainer(self._settings.pod_state(record.uid), record.netns)

    def holder(self, record: SandboxRecord) -> Daemon:
        command = ("ip", "netns", "exec", record.netns, "sleep", "infinity")
        return Daemon("holder", command, self._settings.pod_state(record.uid))

    def sandbox(self, record: SandboxRecord) -> Sandbox:
        node = self._settings.nodes[record.node]
        return Sandbox(node, record.netns, record.container, record.namespace, record.name, record.uid)

    async def _make(self, record: SandboxRecord) -> None:
        if self.there(record):
            await run("ip", "netns", "delete", record.netns)
        await run("ip", "netns", "add", record.netns)
        inside = ("ip", "netns", "exec", record.netns)
        if record.launcher:
            quiet = [f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default")]
            await run(*inside, "sysctl", "-q", "-w", *quiet)
        await run("ip", "-n", record.netns, "link", "set", "lo", "up")
