"""NICs of a ClusterSubnet without cidrs: their MACs are pinned and leased, and the site gives them their addresses."""

import json
from typing import Any

import pytest

from tests.pinning.conftest import Tenant, macs, pinned
from tests.pinning.inputs import pod, vm
from tests.pinning.pods import attachments, launcher
from virtnet.api.names import PINNED, ROUTES, pod_interface
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMS

SITE = {"vlan": 200, "dhcp": {"enabled": False}}


async def site(tenant: Tenant, nad: str = "site-net", **spec: Any) -> str:
    """A ClusterSubnet of its own physical network, and a NAD of it; its name."""
    name = await tenant.cluster_subnet("", **{"providerNetwork": tenant.namespace, **SITE, **spec})
    await tenant.nad(nad, json.dumps({"type": "virtnet-cni", "clusterSubnet": name}))
    return name


async def test_a_vm_gets_a_mac_and_keeps_it(tenant: Tenant) -> None:
    await site(tenant)
    made = await tenant.create(vm(networks=(("lan", "site-net"), ("blue", "blue-net"))))
    mac = macs(made)["lan"]
    assert pinned(made)["lan"] == ()
    assert pinned(made)["blue"]
    assert (await tenant.leases())[mac] == "db.lan"
    assert [one for one, port in (await tenant.leases()).items() if port == "db.lan"] == [mac]
    again = await tenant.cluster.patch(VMS, "db", {"spec": {"runStrategy": "Always"}}, tenant.namespace)
    assert (macs(again)["lan"], pinned(again)["lan"]) == (mac, ())


async def test_its_pod_is_marked_without_addresses(tenant: Tenant) -> None:
    await site(tenant)
    made = await tenant.create(vm(networks=(("lan", "site-net"),)))
    marked = attachments(await tenant.pod(launcher(pod_interface("lan"), nad="site-net")))
    (found,) = marked.values()
    assert (found["mac"], found["addresses"]) == (macs(made)["lan"], [])
    assert not found.keys() & {"gateways", "routes", "ipamClaim"}


async def test_a_pod_has_its_mac_and_is_configured_by_nobody(tenant: Tenant) -> None:
    await site(tenant)
    (found,) = attachments(await tenant.pod(pod("site-net"))).values()
    assert found["addresses"] == []
    assert found["underlay"]["vlan"] == 200


async def test_a_mac_is_unique_on_the_vlan(tenant: Tenant) -> None:
    await site(tenant)
    await site(tenant, "twin-net")
    mac = {"lan": "02:00:00:00:00:0a"}
    await tenant.create(vm("db", networks=(("lan", "site-net"),), macs=mac))
    with pytest.raises(Rejected, match=r"02:00:00:00:00:0a is held by VM .*/db, NIC lan"):
        await tenant.create(vm("web", networks=(("lan", "twin-net"),), macs=mac))


async def test_it_may_have_the_default_route_which_the_site_tells(tenant: Tenant) -> None:
    await site(tenant)
    ask = {ROUTES: json.dumps({"lan": [{"destination": "0.0.0.0/0"}]})}
    made = await tenant.create(vm(networks=(("blue", "blue-net"), ("lan", "site-net")), annotations=ask))
    record = json.loads(made["metadata"]["annotations"][PINNED])["nics"]
    assert record["blue"]["defaultRoute"] is False
    assert not record["lan"].keys() & {"routes", "defaultRoute"}
