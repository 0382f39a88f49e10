"""A NIC whose addresses the site gives: its row in OVN, and what its Port says of what its guest has."""

from typing import Any

import pytest

from tests.controllers.conftest import World, until
from virtnet.api import ClusterSubnet, NodeNetwork, ProviderNetwork, SubnetRef
from virtnet.api.addresses import MOST_SEEN, seen
from virtnet.api.kubevirt_status import guest_addresses
from virtnet.api.names import PINNED
from virtnet.api.records import PinnedNic, PinnedRecord
from virtnet.kube import kinds
from virtnet.kube.kinds import VMIS, VMS

MAC = "02:76:6e:00:00:77"
API = "virtnet.dev/v1alpha1"


@pytest.mark.parametrize(
    ("interfaces", "told"),
    [
        pytest.param([{"name": "lan", "ipAddress": "10.5.0.7"}], {"lan": ("10.5.0.7",)}, id="one"),
        pytest.param(
            [{"name": "lan", "ipAddress": "10.5.0.7", "ipAddresses": ["fd05::0:7", "10.5.0.7", "fe80::1"]}],
            {"lan": ("10.5.0.7", "fd05::7")},
            id="of both families, and no link-local one",
        ),
        pytest.param([{"name": "lan"}, {"ipAddress": "10.5.0.7"}], {}, id="none, and of no network"),
        pytest.param([{"name": "lan", "ipAddresses": None}], {}, id="null"),
        pytest.param(
            [{"name": "lan", "ipAddresses": ["10.5.0.7/24", "; reboot", "", "10.5.0.7\n", "224.0.0.1", "::", 5]}],
            {},
            id="what is no host's address",
        ),
    ],
)
def test_what_a_guests_agent_says(interfaces: list[dict[str, Any]], told: dict[str, tuple[str, ...]]) -> None:
    assert guest_addresses({"status": {"interfaces": interfaces}}) == told


def test_no_guest_says_more_than_is_kept() -> None:
    assert len(seen(f"10.0.0.{number}" for number in range(1, 200))) == MOST_SEEN


@pytest.mark.system
async def test_what_the_guest_has_is_told_on_the_port(world: World) -> None:
    name, ref = world.namespace, SubnetRef(kind="ClusterSubnet", name=world.namespace)
    rack = {
        "apiVersion": API,
        "kind": "ProviderNetwork",
        "metadata": {"name": name},
        "spec": {"defaultNic": "eth1", "nodeSelector": {"site": name}},
    }
    await world.cluster.create(kinds.of(ProviderNetwork), rack)
    spec = {"providerNetwork": name, "vlan": 200, "dhcp": {"enabled": False}}
    site = {"apiVersion": API, "kind": "ClusterSubnet", "metadata": {"name": name}, "spec": spec}
    await world.cluster.create(kinds.of(ClusterSubnet), site)
    nic = PinnedNic(network_attachment_definition=f"{name}/site-net", subnet=ref, mac=MAC, addresses=())
    vm = world.manifest("db", "10.0.0.5", MAC)
    vm["metadata"]["annotations"][PINNED] = PinnedRecord(vm=f"{name}/db", nics={"blue": nic}).annotation()
    await world.cluster.create(VMS, vm, name)
    port = f"{name}/db.blue"

    async def written() -> bool:
        return world.lsps() == {port: MAC}

    await until(written, "its row, which has its MAC alone")
    assert world.column("db.blue", "port_security") == f'["{MAC}", "{MAC} 0.0.0.0/0 ::/0"]'
    assert world.column("db.blue", "dhcpv4_options") == "[]"
    assert list(await world.leases()) == [MAC]

    async def shows(*addresses: str) -> bool:
        return (await world.ports())["db.blue"].status.seen_addresses == addresses

    async def heard(*addresses: str) -> None:
        patch = {"status": {"seenAddresses": {port: addresses or None}}}
        await world.cluster.patch(kinds.of(NodeNetwork), "node1", patch, subresource="status")

    async def say(*addresses: str) -> None:
        interfaces = [{"name": "blue", "ipAddresses": addresses}] if addresses else []
        await world.cluster.patch(VMIS, "db", {"status": {"interfaces": interfaces}}, name)

    kind = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "db"}}
    await heard("10.5.0.9")
    await world.cluster.create(VMIS, {**kind, "spec": {"domain": {"devices": {}}}}, name)
    await until(lambda: shows("10.5.0.9"), "what its node has heard")
    await say("10.5.0.7", "fd05::7")
    await until(lambda: shows("10.5.0.7", "fd05::7"), "its agent's word, before that")
    await say()
    await until(lambda: shows("10.5.0.9"), "what its node has heard, when its agent is silent")
    await heard()
    await say("10.5.0.8")
    await until(lambda: shows("10.5.0.8"), "its agent's word alone")
    await world.cluster.delete(VMIS, "db", name)
    await until(shows, "nothing of a guest that does not run")
