"""How each kind of fault is done."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

from virtnet.api import NodeNetwork, Port
from virtnet.kube import kinds
from virtnet.kube.kinds import PODS, VMIMS, VMS
from virtnet.lab.chaos.arena import LINKS, REFUSALS, Arena
from virtnet.lab.chaos.plan import Fault
from virtnet.lab.daemon import Daemon

JOB = "kubevirt.io/migrationJobUID"


class Faults:
    """Does faults. Two on one process wait for each other."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._kinds: dict[str, Callable[[Fault], None]] = {
            "migrate": self._migrate,
            "kill": lambda fault: self._away(fault, Daemon.kill),
            "restart": lambda fault: self._away(fault, Daemon.stop),
            "pause": self._pause,
            "cut": self._cut,
            "crash-node": self._crash_node,
            "depose": lambda _: arena.depose(),
            "abort": self._abort,
            "delete-target": self._delete_target,
            "delete-port": lambda fault: arena.delete(kinds.of(Port), f"{fault.victim}.blue"),
            "delete-row": self._delete_row,
            "delete-node": lambda fault: arena.delete(kinds.of(NodeNetwork), fault.victim, ""),
            "delete-switch": self._delete_switch,
            "crash-guest": self._crash_guest,
            "halt": lambda fault: arena.demo.set_run(fault.victim, "Halted"),
            "replace": lambda fault: arena.delete(VMS, fault.victim),
        }

    def play(self, batch: list[Fault]) -> None:
        """The faults of a batch at their times. Returns when all have been done, and what they hold is let go."""
        began = time.monotonic()

        def one(fault: Fault) -> None:
            time.sleep(max(0.0, began + fault.at - time.monotonic()))
            with suppress(*REFUSALS):  # what one fault needs another may have taken away
                self._kinds[fault.kind](fault)

        with ThreadPoolExecutor(len(batch)) as pool:
            for done in [pool.submit(one, fault) for fault in batch]:
                done.result()

    def _migrate(self, fault: Fault) -> None:
        self._arena.start_migration(fault.victim)

    def _away(self, fault: Fault, end: Callable[[Daemon], None]) -> None:
        daemon = self._arena.daemons[fault.victim]
        with self._locks[fault.victim]:
            end(daemon)
            time.sleep(fault.seconds)
            self._arena.start(fault.victim)

    def _pause(self, fault: Fault) -> None:
        with self._locks[fault.victim]:
            daemon = self._arena.daemons[fault.victim]
            daemon.freeze()
            time.sleep(fault.seconds)
            daemon.thaw()

    def _cut(self, fault: Fault) -> None:
        node, network = fault.victim.split("/")
        with self._locks[fault.victim]:
            self._arena.set_links(node, "down", network)
            time.sleep(fault.seconds)
            self._arena.set_links(node, "up", network)

    def _crash_node(self, fault: Fault) -> None:
        node = fault.victim
        parts = sorted([*LINKS, *self._arena.nodes[node].daemons])
        with ExitStack() as held:
            for part in parts:
                held.enter_context(self._locks[f"{node}/{part}"])
            try:
                self._arena.crash(node)
                time.sleep(fault.seconds)
            finally:
                self._arena.back(node)

    def _abort(self, fault: Fault) -> None:
        for one in self._arena.running_migrations(fault.victim):
            self._arena.delete(VMIMS, one["metadata"]["name"])

    def _delete_target(self, fault: Fault) -> None:
        running = {one["metadata"]["uid"] for one in self._arena.running_migrations(fault.victim)}
        for pod in self._arena.launchers(fault.victim):
            if pod["metadata"]["labels"].get(JOB) in running:
                self._arena.delete(PODS, pod["metadata"]["name"])

    def _delete_row(self, fault: Fault) -> None:
        self._arena.nbctl("--if-exists", "lsp-del", f"demo/{fault.victim}.blue")

    def _delete_switch(self, fault: Fault) -> None:
        for switch in self._arena.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split():
            self._arena.nbctl("--if-exists", "ls-del", switch)

    def _crash_guest(self, fault: Fault) -> None:
        for pod in self._arena.launchers(fault.victim):
            files = self._arena.lab.names.state / "pods" / pod["metadata"]["uid"]
            Daemon("qemu", (), files).kill()
