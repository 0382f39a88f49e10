"""The real controller process, on a real API server and real OVN databases; a tenant whose VMs are admitted by hand."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from virtnet.api import AddressLease, NodeNetwork, Port, Subnet, Vpc
from virtnet.api.lease import lease_name
from virtnet.api.multus import NETWORKS
from virtnet.api.names import ATTACHED_LABEL, ATTACHMENTS, PINNED, port_name
from virtnet.api.records import Attachment, PinnedNic, PinnedRecord
from virtnet.api.references import SubnetRef
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import AlreadyExists
from virtnet.kube.kinds import NAMESPACES, PODS, STATEFUL_SETS, VMS, Kind
from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.daemon import Daemon
from virtnet.lab.ovn_central import OvnCentral

LEASES, PORTS, SUBNETS = kinds.of(AddressLease), kinds.of(Port), kinds.of(Subnet)
BOUND = {"10.0.0.5": "Bound", "02:76:6e:00:00:05": "Bound"}
SECONDS = 20.0


async def until(holds: Callable[[], Awaitable[Any]], what: str, seconds: float = SECONDS) -> Any:
    """Wait for a condition; fails with what it waited for, and the last answer."""
    end = asyncio.get_running_loop().time() + seconds
    while not (answer := await holds()):
        assert asyncio.get_running_loop().time() < end, f"{what}: still {answer!r} after {seconds:g} s"
        await asyncio.sleep(0.02)
    return answer


async def until_gone(cluster: Cluster, kind: Kind, name: str, namespace: str = "") -> None:
    """Wait until an object that has been deleted is not there any more."""

    async def so() -> bool:
        return not await cluster.exists(kind, name, namespace)

    await until(so, f"{kind} {name} gone")


@dataclass(frozen=True)
class World:
    """What a test of the controller has."""

    cluster: Cluster
    ovn: OvnCentral
    controller: Daemon
    namespace: str

    @property
    def blue(self) -> SubnetRef:
        return SubnetRef(kind="Subnet", namespace=self.namespace, name="blue")

    async def subnet(self, **spec: Any) -> None:
        api, vpc = {"apiVersion": "virtnet.dev/v1alpha1"}, {"kind": "Vpc", "name": "own"}
        await self.cluster.create(kinds.of(Vpc), {**api, "kind": "Vpc", "metadata": {"name": "own"}}, self.namespace)
        body = {**api, "kind": "Subnet", "metadata": {"name": "blue"}}
        await self.cluster.create(
            SUBNETS, {**body, "spec": {"cidrs": ["10.0.0.0/24"], "vpc": vpc, **spec}}, self.namespace
        )

    async def lease(self, name: str, address: str) -> None:
        holder = {"namespace": self.namespace, "port": port_name(name, "blue"), "network": "blue"}
        holder["owner"] = {"kind": "VirtualMachine", "name": name}  # type: ignore[assignment]
        subnet = self.blue.model_dump(by_alias=True)
        body = {
            "apiVersion": "virtnet.dev/v1alpha1",
            "kind": "AddressLease",
            "metadata": {"name": lease_name(address, self.blue)},
        }
        await self.cluster.create(LEASES, {**body, "spec": {"address": address, "subnet": subnet, "holder": holder}})

    async def vm(
        self,
        name: str = "db",
        address: str = "10.0.0.5",
        mac: str = "02:76:6e:00:00:05",
        *,
        leased: bool = True,
        **more: Any,
    ) -> None:
        """A VM as admission lets it in. ``more``: as in ``manifest``."""
        if leased:
            await self.lease(name, address)
            await self.lease(name, mac)
        await self.cluster.create(VMS, self.manifest(name, address, mac, **more), self.namespace)

    def manifest(self, name: str, address: str, mac: str, **more: Any) -> dict[str, Any]:
        """``more``: further fields of its PinnedNic."""
        says = {"nad": f"{self.namespace}/blue-net", "subnet": self.blue, "mac": mac, "addresses": (address,), **more}
        nic = PinnedNic.model_validate(says)
        record = PinnedRecord(vm=f"{self.namespace}/{name}", nics={"blue": nic})
        return {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": name, "annotations": {PINNED: record.annotation()}},
            "spec": {"runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}}}}},
        }

    async def launcher(
        self,
        name: str,
        vm: str = "db",
        *,
        node: str = "node1",
        labels: dict[str, str] | None = None,
        claim: str = "",
        nic: str = "veth",
    ) -> None:
        """A virt-launcher pod as admission marks it."""
        owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": vm, "uid": "u"}
        place = {"port": port_name(vm, "blue"), "network": "blue", "interface": "pod16477688c0e"}
        place |= {"claim": claim, "nic": nic}
        await self._pod(name, owner, node=node, labels={"kubevirt.io": "virt-launcher", **(labels or {})}, **place)

    async def member(self, stateful_set: str, ordinal: int) -> None:
        """A pod of a StatefulSet as its controller makes it and admission marks it; on no node, so it goes at once."""
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": stateful_set, "uid": "u"}
        name = f"{stateful_set}-{ordinal}"
        await self._pod(name, owner, node="", labels={}, port=f"{name}.net1", network="net1", interface="net1")

    async def stateful_set(self, name: str, *, replicas: int) -> None:
        labels = {"app": name}
        metadata = {"labels": labels, "annotations": {NETWORKS: "blue-net"}}
        template = {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "x"}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        body = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name}, "spec": spec}
        await self.cluster.create(STATEFUL_SETS, body, self.namespace)

    async def _pod(
        self,
        name: str,
        owner: Any,
        *,
        node: str,
        labels: Any,
        port: str,
        network: str,
        interface: str,
        claim: str = "",
        nic: str = "veth",
    ) -> None:
        attachment = Attachment(
            port=f"{self.namespace}/{port}",
            network=network,
            nad=f"{self.namespace}/blue-net",
            subnet=self.blue,
            mac="02:76:6e:00:00:05",
            addresses=("10.0.0.5/24",),
            mtu=1442,
            ipam_claim=claim,
            nic=nic,
        )
        annotation = f'{{"{interface}":{attachment.model_dump_json(by_alias=True)}}}'
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "annotations": {ATTACHMENTS: annotation},
                "labels": {ATTACHED_LABEL: "true", **labels},
                "ownerReferences": [{**owner, "controller": True}],
            },
            "spec": {"nodeName": node, "containers": [{"name": "compute", "image": "x"}]},
        }
        await self.cluster.create(PODS, body, self.namespace)

    async def leases(self) -> dict[str, str]:
        """Address -> phase, of this namespace."""
        items, _ = await self.cluster.list(LEASES)
        parsed = [AddressLease.parse(item) for item in items]
        return {one.spec.address: one.status.phase for one in parsed if one.spec.holder.namespace == self.namespace}

    async def ports(self) -> dict[str, Port]:
        items, _ = await self.cluster.list(PORTS, self.namespace)
        return {one.name: one for one in map(Port.parse, items)}

    def lsps(self) -> dict[str, str]:
        """Logical switch port -> addresses, of this namespace, as OVN has them."""
        lines = self.ovn.nbctl(
            "--bare", "--columns=name,addresses", "--format=csv", "--no-headings", "list", "Logical_Switch_Port"
        )
        rows = (line.split(",", 1) for line in lines.splitlines() if line)
        return {
            name.strip('"'): addresses.strip('"')
            for name, addresses in rows
            if name.strip('"').startswith(f"{self.namespace}/")
        }

    def column(self, port: str, column: str) -> str:
        return self.ovn.nbctl("get", "Logical_Switch_Port", f"{self.namespace}/{port}", column).strip()

    def option(self, port: str, key: str) -> str:
        text = self.ovn.nbctl("--if-exists", "get", "Logical_Switch_Port", f"{self.namespace}/{port}", f"options:{key}")
        return text.strip().strip('"')


async def settled(world: World) -> None:
    async def there() -> bool:
        return (
            world.lsps() == {f"{world.namespace}/db.blue": "02:76:6e:00:00:05 10.0.0.5"}
            and await world.leases() == BOUND
        )

    await until(there, "the VM's port in OVN and its leases bound")


async def gone(world: World) -> None:
    async def nothing() -> bool:
        return world.lsps() == {} and await world.leases() == {} and await world.ports() == {}

    await until(nothing, "nothing left of the VM")


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OvnCentral]:
    ovn = OvnCentral(tmp_path_factory.mktemp("ovn"))
    ovn.start()
    yield ovn
    ovn.destroy()


@pytest.fixture(scope="module")
def controller(
    api_server: ControlPlane, central: OvnCentral, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    state: Path = tmp_path_factory.mktemp("controller")
    command = [sys.executable, "-m", "virtnet.cli.main", "controller", "--no-leader-elect", "--metrics-port", "0",
               "--northbound", central.remote("nb"), "--southbound", central.remote("sb")]  # fmt: skip
    daemon = Daemon("controller", command, state, {"KUBECONFIG": str(api_server.kubeconfig)})
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
async def world(api_server: ControlPlane, central: OvnCentral, controller: Daemon) -> AsyncIterator[World]:
    async with await Cluster.connect(str(api_server.kubeconfig)) as cluster:
        name = f"c{uuid4().hex[:8]}"
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for number in (1, 2):
            body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "NodeNetwork", "metadata": {"name": f"node{number}"}}
            try:
                await cluster.create(kinds.of(NodeNetwork), body)
            except AlreadyExists:
                continue
            status = {"status": {"chassis": f"ch{number}"}}
            await cluster.patch(kinds.of(NodeNetwork), f"node{number}", status, subresource="status")
        if controller.pid is None:
            controller.start()
        yield World(cluster, central, controller, name)
