"""Two tenants on real servers: API server, webhook and controller with the rights that the manifests give them, and OVN.

The tenants have what a namespace's admin has (tenants.yaml), and KubeVirt's, Multus' and virtnet's kinds besides.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import REPOSITORY
from tests.controllers.conftest import until
from tests.pinning.conftest import Replica, running_admission
from virtnet.api import AddressLease, ClusterVpc, Port
from virtnet.api.names import ATTACHMENTS, PINNED
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import PODS, VMS
from virtnet.lab import identities, manifests
from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.daemon import Daemon
from virtnet.lab.ovn_central import OvnCentral

HERE = Path(__file__).parent
CONTROLLER = "virtnet-controller"
ATTACKER, VICTIM = "tenant-a", "tenant-b"
OF_TENANTS = (VMS, PODS, kinds.of(Port))

FORBIDDEN = ("10.50.0.0", "10.50.0.1", "fd50::", "fd50::1", "10.70.0.1", "10.70.0.99", "10.99.0.5")
"""Addresses that no Port may ever have a lease of here."""

Body = dict[str, Any]


@dataclass(frozen=True)
class Servers:
    """What runs for all tests of a module."""

    api: ControlPlane
    ovn: OvnCentral
    webhook: Replica


@dataclass(frozen=True)
class Scene:
    """Who takes part in an attack."""

    admin: Cluster
    attacker: Cluster
    ovn: OvnCentral

    async def ports(self, namespace: str = "") -> dict[str, Port]:
        """Key -> Port."""
        items, _ = await self.admin.list(kinds.of(Port), namespace)
        return {one.key: one for one in map(Port.parse, items)}

    async def port_of(self, pod: str) -> str:
        """The key of a Port of one of the victim's pods; empty while it has none."""
        return next((key for key in await self.ports(VICTIM) if key.startswith(f"{VICTIM}/{pod}.")), "")

    async def leases(self) -> dict[str, str]:
        """``address of Subnet`` -> the Port that holds it."""
        items, _ = await self.admin.list(kinds.of(AddressLease))
        specs = [AddressLease.parse(item).spec for item in items]
        return {f"{one.address} of {one.subnet}": one.holder.key for one in specs}

    def security(self) -> dict[str, str]:
        """Logical switch port of a NIC -> its port security."""
        text = self.ovn.nbctl(
            "--format=json", "--columns=name,port_security,addresses", "find", "Logical_Switch_Port", 'type=""'
        )
        found = {}
        for name, security, addresses in json.loads(text)["data"]:
            assert security == addresses, f"{name} receives what it may not send from"
            found[name] = security
        return found

    async def in_ovn(self, port: str) -> str:
        """The port security of a Port, as soon as it is there."""

        async def there() -> str:
            return self.security().get(port, "")

        return str(await until(there, f"{port} in OVN"))

    async def harmless(self, before: dict[str, str]) -> None:
        """Every row has what is leased to its Port and no more, and those of others are as they were.

        By then a VM that was made after the attack is in OVN: what the attack led to has been looked at.
        """
        last = f"w{uuid4().hex[:8]}"
        await self.attacker.create(VMS, vm(last), ATTACKER)
        await self.in_ovn(f"{ATTACKER}/{last}.shared")
        held = {f"{key.partition(' of ')[0]} {port}" for key, port in (await self.leases()).items()}
        now = self.security()
        for name, security in now.items():
            assert {f"{address} {name}" for address in security.split()} <= held, f"{name}: {security} without a lease"
        assert {name: security for name, security in now.items() if not name.startswith(f"{ATTACKER}/")} == {
            name: security for name, security in before.items() if not name.startswith(f"{ATTACKER}/")
        }
        for key, port in (await self.leases()).items():
            assert key.partition(" of ")[0] not in FORBIDDEN, f"{port} has a lease of {key}"


def vm(name: str, record: Any = None, nad: str = "shared-net", **metadata: Any) -> Body:
    """A VM with one NIC, "shared", and what it says that was pinned."""
    text = record if isinstance(record, str) else json.dumps(record)
    annotations = {"annotations": {PINNED: text}} if record else {}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, **annotations, **metadata},
        "spec": {
            "runStrategy": "Halted",
            "template": {
                "spec": {
                    "domain": {
                        "devices": {"interfaces": [{"name": "shared", "bridge": {}}]},
                        "memory": {"guest": "128Mi"},
                    },
                    "networks": [{"name": "shared", "multus": {"networkName": nad}}],
                }
            },
        },
    }


SHARED = {"kind": "ClusterSubnet", "name": "shared"}
PRIVATE = {"kind": "Subnet", "namespace": VICTIM, "name": "private"}


def record(name: str, *addresses: str, subnet: Body = SHARED, mac: str = "") -> Body:
    """What an attacker would like to have been pinned."""
    mac = mac or f"02:00:{secrets.token_bytes(4).hex(':')}"
    nic = {"nad": f"{ATTACKER}/shared-net", "subnet": subnet, "mac": mac, "addresses": addresses}
    return {"vm": f"{ATTACKER}/{name}", "nics": {"shared": nic}}


def record_of(body: Body) -> str:
    return str((body["metadata"].get("annotations") or {}).get(PINNED, ""))


def marks_of(body: Body) -> str:
    return str((body["metadata"].get("annotations") or {}).get(ATTACHMENTS, ""))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    state = tmp_path_factory.mktemp("safety")
    ovn = OvnCentral(tmp_path_factory.mktemp("ovn"))
    with running_admission(state) as admission:
        server = admission.server
        asyncio.run(_begin(server))
        for namespace, account in (("virtnet", CONTROLLER), (ATTACKER, "user"), (VICTIM, "user")):
            name = account if namespace == "virtnet" else namespace
            identities.write_kubeconfig(server, name, identities.token(server, account, namespace=namespace))
        ovn.start()
        command = [*server.prefix, sys.executable, "-m", "virtnet.cli.main", "controller", "--metrics-port", "0",
                   "--northbound", ovn.remote("nb"), "--southbound", ovn.remote("sb")]  # fmt: skip
        controller = Daemon("controller", command, state, {"KUBECONFIG": str(server.kubeconfig_of(CONTROLLER))})
        controller.start()
        try:
            asyncio.run(_settle(server))
            yield Servers(server, ovn, admission.replicas["a"])
        finally:
            controller.stop()
            ovn.destroy()


async def _begin(server: ControlPlane) -> None:
    rights = manifests.read(REPOSITORY / "manifests" / "rbac", HERE / "tenants.yaml")
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:
        await manifests.apply(cluster, rights)


async def _settle(server: ControlPlane) -> None:
    """What the tenants have, once the controller leads: ClusterVpc ``default`` is its."""
    async with await Cluster.connect(str(server.kubeconfig)) as cluster:

        async def there() -> bool:
            try:
                await cluster.get(kinds.of(ClusterVpc), "default")
            except NotFound:
                return False
            return True

        await until(there, "ClusterVpc default")
        await manifests.apply(cluster, manifests.read(HERE / "base.yaml", HERE / "victims.yaml"))


@pytest.fixture
async def scene(servers: Servers) -> AsyncIterator[Scene]:
    api = servers.api
    async with (
        await Cluster.connect(str(api.kubeconfig)) as admin,
        await Cluster.connect(str(api.kubeconfig_of(ATTACKER))) as attacker,
    ):
        found = Scene(admin, attacker, servers.ovn)
        for port in ("secret1", "secret2", "shop", "client"):
            await found.in_ovn(await until(partial(found.port_of, port), f"a Port of {port}"))
        await found.in_ovn(f"{VICTIM}/victim.shared")
        yield found
