"""The sandboxes of pods: a network namespace each, and the NICs in it. Written down before anything is done."""

import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from virtnet.lab.daemon import Daemon
from virtnet.lab.names import NETNS
from virtnet.lab.standin.command import run
from virtnet.lab.standin.kubevirt import Object
from virtnet.lab.standin.multus import PluginError, Sandbox, call
from virtnet.lab.standin.settings import Settings


@dataclass
class Nic:
    """One call of a plugin, and what it gave; ``result`` is None until it has answered."""

    interface: str
    nad: str
    config: Object
    result: Object | None = None


@dataclass
class Record:
    """What is known of a pod's sandbox, in memory and on disk."""

    namespace: str
    name: str
    uid: str
    node: str
    netns: str
    launcher: bool
    container: str = ""
    nics: list[Nic] = field(default_factory=list)
    complete: bool = False
    """All NICs are there, and it is known to everybody."""
    guest: int | None = None
    """How the launcher's QEMU ended: 0 when it should, or wanted to."""
    exited: int | None = None
    """How the launcher itself ended."""

    def nic(self, interface: str) -> Nic | None:
        return next((nic for nic in self.nics if nic.interface == interface), None)


class Sandboxes:
    """All of them, by pod uid. One pod's is used by one task at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._records: dict[str, Record] = {}
        for path in settings.state.glob("pods/*/sandbox.json"):
            content = json.loads(path.read_text())
            nics = [Nic(**nic) for nic in content.pop("nics")]
            record = Record(**content, nics=nics)
            self._records[record.uid] = record

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._records.values()))

    def get(self, uid: str) -> Record | None:
        return self._records.get(uid)

    def save(self, record: Record) -> None:
        self._records[record.uid] = record
        directory = self._settings.pod_state(record.uid)
        directory.mkdir(parents=True, exist_ok=True)
        half = directory / "sandbox.json.part"
        half.write_text(json.dumps(asdict(record)))
        half.rename(directory / "sandbox.json")

    async def open(self, pod: Object, *, launcher: bool) -> Record:
        """A fresh network namespace. Nothing in a launcher's speaks, neither before nor beside the guest."""
        metadata = pod["metadata"]
        uid, node = metadata["uid"], pod["spec"]["nodeName"]
        record = Record(metadata["namespace"], metadata["name"], uid, node, self._settings.lab.pod(uid), launcher)
        record.container = uuid.uuid4().hex * 2
        self.save(record)
        await self._make(record)
        return record

    async def attach(self, record: Record, interface: str, nad: str, config: Object) -> None:
        """CNI ADD. Raises PluginError."""
        nic = Nic(interface, nad, config)
        record.nics.append(nic)
        self.save(record)
        nic.result = await call("ADD", self.sandbox(record), interface, config)
        self.save(record)

    async def detach(self, record: Record, interface: str) -> None:
        """CNI DEL of one NIC, while the pod goes on. Raises PluginError."""
        nic = record.nic(interface)
        if nic is not None:
            known = {"prevResult": nic.result} if nic.result else {}
            await call("DEL", self.sandbox(record), interface, {**nic.config, **known})
            record.nics.remove(nic)
            self.save(record)

    async def close(self, record: Record) -> None:
        """CNI DEL of every NIC, then the namespace goes; what is left is a directory with logs. Raises PluginError."""
        self.holder(record).stop(grace=0.5)
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

    def there(self, record: Record) -> bool:
        """Whether its namespace is: it goes with its node."""
        return (NETNS / record.netns).exists()

    def drop(self, record: Record) -> None:
        """Forget a closed sandbox."""
        self._records.pop(record.uid, None)
        shutil.rmtree(self._settings.pod_state(record.uid), ignore_errors=True)

    def hold(self, record: Record) -> None:
        """Start what an ordinary pod consists of: a process that does nothing."""
        self.holder(record).start()

    def holder(self, record: Record) -> Daemon:
        command = ("ip", "netns", "exec", record.netns, "sleep", "infinity")
        return Daemon("holder", command, self._settings.pod_state(record.uid))

    def sandbox(self, record: Record) -> Sandbox:
        node = self._settings.nodes[record.node]
        return Sandbox(node, record.netns, record.container, record.namespace, record.name, record.uid)

    async def _make(self, record: Record) -> None:
        if self.there(record):
            await run("ip", "netns", "delete", record.netns)
        await run("ip", "netns", "add", record.netns)
        inside = ("ip", "netns", "exec", record.netns)
        if record.launcher:
            quiet = [f"net.ipv6.conf.{which}.disable_ipv6=1" for which in ("all", "default")]
            await run(*inside, "sysctl", "-q", "-w", *quiet)
        await run("ip", "-n", record.netns, "link", "set", "lo", "up")
