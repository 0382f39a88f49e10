"""A node with NICs whose interfaces are real, and whose virtual functions are files of a sysfs of ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from virtnet.api import ConfiguredNic, PlacedNicPolicy
from virtnet.lab import netns
from virtnet.node.allocations import Allocations
from virtnet.node.devices.found import Found, Function, Netdev, Nic
from virtnet.node.journal import Journal
from virtnet.node.nic_policies.connectivity import Connectivity
from virtnet.node.nic_policies.kernel import NicKernel
from virtnet.node.nic_policies.obstacles import NicObstacle
from virtnet.node.nic_policies.reconciler import NicPolicyReconciler, Surroundings
from virtnet.node.nic_policies.records import NicRecords

ADDRESSES = {"ens1": "0000:3b:00.0", "ens2": "0000:3c:00.0"}
VF = "0000:3b:01.0"


async def no_switch(_: Sequence[PlacedNicPolicy]) -> dict[str, NicObstacle]:
    """In the place of what sees to Open vSwitch."""
    return {}


@dataclass
class PolicyNode:
    """The node, and its daemon's part."""

    state: Path
    name: str = field(default_factory=lambda: f"nicpol-{uuid4().hex[:6]}")
    there: list[str] = field(default_factory=lambda: list(ADDRESSES))
    reconciler: NicPolicyReconciler = field(init=False)

    @classmethod
    @contextmanager
    def running(cls, state: Path) -> Iterator["PolicyNode"]:
        node = cls(state)
        netns.create(node.name)
        try:
            for interface, address in ADDRESSES.items():
                netns.ip(node.name, f"link add {interface} type bridge")
                directory = state / "sys/bus/pci/devices" / address
                directory.mkdir(parents=True)
                (directory / "sriov_numvfs").write_text("0\n")
                (directory / "sriov_totalvfs").write_text("8\n")
            node.start()
            yield node
            node.end()
        finally:
            netns.run("ip", "netns", "del", node.name)

    def start(self) -> None:
        here = f"/run/netns/{self.name}"
        self.reconciler = NicPolicyReconciler(
            Surroundings(
                NicKernel(here, self.state / "sys"),
                Journal(self.state / "attachments"),
                Allocations(self.state / "kubelet.sock"),
                Connectivity(here, lambda _: "", lambda: (), "127.0.0.1"),
                no_switch,
            ),
            NicRecords(self.state / "nic-policies"),
            self.found,
        )

    def end(self) -> None:
        self.reconciler.records.close()
        self.reconciler.around.journal.close()

    def restart(self) -> None:
        self.end()
        self.start()

    def found(self) -> Found:
        return Found(
            tuple(
                Nic(Function(ADDRESSES[name], driver="ice", vendor="8086", interfaces=(Netdev(name),)))
                for name in self.there
            )
        )

    async def want(self, *policies: PlacedNicPolicy) -> dict[str, dict[str, ConfiguredNic]]:
        """What is told of each policy's NICs, by their names, once it has been done."""
        self.reconciler.want(policies)
        await self.reconciler.reconcile()
        statuses = self.reconciler.statuses or {}
        return {name: {nic.interface: nic for nic in status.nics} for name, status in statuses.items()}

    def numvfs(self, interface: str) -> Path:
        return self.state / "sys/bus/pci/devices" / ADDRESSES[interface] / "sriov_numvfs"

    def has(self, interface: str) -> tuple[int, int, bool]:
        """Its virtual functions, its MTU, and whether it is up."""
        link = netns.run("ip", "-netns", self.name, "-oneline", "link", "show", interface)
        mtu = int(link.partition(" mtu ")[2].split()[0])
        return int(self.numvfs(interface).read_text()), mtu, ",UP" in link.partition(">")[0]

    def make_vf(self, interface: str, number: int, address: str) -> None:
        """Let a virtual function be there, as the kernel shows it."""
        (self.numvfs(interface).parent / f"virtfn{number}").symlink_to(f"../{address}")


def policy(name: str = "fast", *interfaces: str, **says: Any) -> PlacedNicPolicy:
    selector = {"names": interfaces or ("ens1",)}
    return PlacedNicPolicy.model_validate({"name": name, "generation": 1, "nics": selector, **says})
