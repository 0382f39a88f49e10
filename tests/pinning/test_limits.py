"""What is as large, as long or as many as can be, and is taken."""

import pytest

from tests.pinning.conftest import Tenant, macs, pinned
from tests.pinning.inputs import LONG, Body, Change, asking, lan, nad, network, pod, subnet, vm
from tests.pinning.pods import attachments, launcher
from tests.pinning.test_refusals import write
from virtnet.api.names import ADDRESSES, pod_interface, port_name

VM, NETWORK, NAD, SUBNET = "v" * 253, "n" * 63, "d" * 253, "s" * 63
MANY = tuple((f"nic{n}", "blue-net") for n in range(32))


async def test_names_of_full_length(tenant: Tenant) -> None:
    await write(tenant, subnet(SUBNET, "10.7.0.0/24 fd07::/64"))
    await write(tenant, nad({"subnet": SUBNET}, NAD))
    made = await tenant.create(vm(VM, networks=((NETWORK, NAD),)))
    addresses = pinned(made)[NETWORK]
    assert len(addresses) == 2
    port = port_name(VM, NETWORK)
    assert len(port) <= 253
    assert await tenant.leases() == dict.fromkeys((*addresses, macs(made)[NETWORK]), port)
    (found,) = attachments(await tenant.pod(launcher(pod_interface(NETWORK), instance=VM, nad=NAD))).values()
    assert found["port"] == f"{tenant.namespace}/{port}"
    assert [one.split("/")[0] for one in found["addresses"]] == list(addresses)


async def test_a_vm_of_32_nics(tenant: Tenant) -> None:
    made = await tenant.create(vm(networks=MANY, annotations={ADDRESSES: '{"nic31": ["10.0.0.99"]}'}))
    nics = pinned(made)
    assert nics["nic31"] == ("10.0.0.99",)
    assert len(set(nics.values())) == len(set(macs(made).values())) == 32
    assert len(await tenant.leases()) == 64
    found = attachments(await tenant.pod(launcher(*(pod_interface(name) for name, _ in MANY))))
    assert {one["network"]: one["addresses"] for one in found.values()} == {
        name: [f"{address}/24"] for name, (address,) in nics.items()
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(vm(annotations={"notes": "x" * (LONG - 1000)}), id="VM with annotations of 255 KiB"),
        pytest.param(pod(name="p" * 253), id="pod with a name of 253 characters"),
        pytest.param(pod("blue-net@" + "i" * 15), id="interface of 15 characters"),
        pytest.param(lan(name="c" * 63, providerNetwork="p" * 63, vlan=4094), id="ClusterSubnet with a name of 63"),
        pytest.param(
            network("p" * 63, "e" * 15, customNics=[{"nic": "f" * 15, "nodes": ["n" * 253]}]),
            id="ProviderNetwork with names of 63, 15 and 253 characters",
        ),
    ],
)
async def test_it_is_taken(tenant: Tenant, body: Body) -> None:
    await write(tenant, body)


async def test_ranges_are_extended_in_use(tenant: Tenant) -> None:
    """The next VM has an address of the new range at once, and the first keeps its own."""
    await write(tenant, subnet("red", ranges=["10.5.0.10"]))
    await write(tenant, nad({"subnet": "red"}, "red-net"))
    nics = (("red", "red-net"),)
    assert pinned(await tenant.create(vm(networks=nics))) == {"red": ("10.5.0.10",)}
    await write(tenant, Change("Subnet", "red", {"spec": {"ranges": ["10.5.0.10", "10.5.0.20"]}}))
    assert pinned(await tenant.create(vm("web", networks=nics))) == {"red": ("10.5.0.20",)}


async def test_what_is_excluded_in_use_stays_with_its_holder(tenant: Tenant) -> None:
    await tenant.create(asking("10.0.0.5"))
    await write(tenant, Change("Subnet", "blue", {"spec": {"excludes": ["10.0.0.5"]}}))
    await write(tenant, Change("VirtualMachine", "db", {"spec": vm()["spec"]}))  # its interfaces without MACs again
    (found,) = attachments(await tenant.pod(launcher())).values()
    assert found["addresses"] == ["10.0.0.5/24"]
