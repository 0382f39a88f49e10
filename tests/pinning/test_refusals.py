"""What is refused, and that the refusal says what, where, and what to do. Nothing stays claimed for it."""

import json
from typing import Any

import pytest

from tests.pinning.conftest import Tenant, macs, pinned, vm
from virtnet.api.names import PINNED
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import VMS

ASK = "virtnet.dev/addresses"
KUBEVIRT_ASK = "network.kubevirt.io/addresses"
DENIED = 'admission webhook "pin-vm.virtnet.dev" denied the request: '
TWO = (("a", "blue-net"), ("b", "blue-net"))
JSON = 'must be JSON like {"blue": ["10.0.0.5"]}'


def asking(text: str) -> dict[str, Any]:
    return vm(annotations={ASK: text})


def bringing(**nic: Any) -> dict[str, Any]:
    """A VM that says what it would have been pinned to. NS stands for its namespace."""
    subnet = {"kind": "Subnet", "namespace": "NS", "name": "blue"}
    whole = {"nad": "NS/blue-net", "subnet": subnet, "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.5"], **nic}
    return vm(annotations={PINNED: json.dumps({"vm": "NS/db", "nics": {"blue": whole}})})


@pytest.mark.parametrize(
    ("manifest", "code", "message"),
    [
        pytest.param(
            asking('{"blue": ["10.0.1.5"]}'),
            422,
            "Subnet NS/blue: NIC blue: 10.0.1.5 is outside 10.0.0.0/24; choose an address of that network",
            id="outside",
        ),
        pytest.param(
            asking('{"blue": ["10.0.0.1"]}'),
            422,
            "Subnet NS/blue: NIC blue: 10.0.0.1 is the gateway; choose another",
            id="gateway",
        ),
        pytest.param(
            asking('{"blue": ["10.0.0.0"]}'),
            422,
            "Subnet NS/blue: NIC blue: 10.0.0.0 is the network address; choose another",
            id="network address",
        ),
        pytest.param(
            asking('{"blue": ["10.0.0.255"]}'),
            422,
            "Subnet NS/blue: NIC blue: 10.0.0.255 is the broadcast address; choose another",
            id="broadcast address",
        ),
        pytest.param(
            asking('{"blue": ["ten"]}'),
            422,
            "Subnet NS/blue: NIC blue: ten is not an IPv4 address; write it like 10.0.0.10",
            id="malformed",
        ),
        pytest.param(
            asking('{"blue": ["fd00::5"]}'),
            422,
            "Subnet NS/blue: NIC blue: fd00::5 is not an IPv4 address; write it like 10.0.0.10",
            id="other family",
        ),
        pytest.param(
            asking('{"blue": ["10.0.0.5", "10.0.0.6"]}'),
            422,
            "Subnet NS/blue: NIC blue: 10.0.0.5 and 10.0.0.6 are both IPv4; a NIC has one address of each family",
            id="wrong count",
        ),
        pytest.param(
            asking('{"green": ["10.0.0.5"]}'),
            422,
            f"annotation {ASK}: the VM has no network green; it has blue",
            id="unknown network",
        ),
        pytest.param(
            asking("blue=10.0.0.5"),
            422,
            f"annotation {ASK} {JSON}: Expecting value: line 1 column 1 (char 0)",
            id="annotation not JSON",
        ),
        pytest.param(
            asking("[" * 10_000),
            422,
            f"annotation {ASK} {JSON}: maximum recursion depth exceeded while decoding a JSON array from a unicode string",
            id="annotation of endless depth",
        ),
        pytest.param(asking('["10.0.0.5"]'), 422, f"annotation {ASK} {JSON}", id="annotation of another form"),
        pytest.param(
            asking('{"blue": "10.0.0.5"}'),
            422,
            f"annotation {ASK} {JSON}: blue has no list of addresses",
            id="no list",
        ),
        pytest.param(
            vm(annotations={ASK: '{"blue": ["10.0.0.5"]}'}, template={KUBEVIRT_ASK: '{"blue": ["10.0.0.6"]}'}),
            422,
            f"NIC blue: {ASK} asks for 10.0.0.5, and {KUBEVIRT_ASK} of the template for 10.0.0.6; keep one of them",
            id="contradiction",
        ),
        pytest.param(
            vm(macs={"blue": "01:00:5e:00:00:01"}),
            422,
            "Subnet NS/blue: NIC blue: 01:00:5e:00:00:01 is a multicast address; its first byte must be even",
            id="multicast MAC",
        ),
        pytest.param(
            vm(macs={"blue": "00:00:00:00:00:00"}),
            422,
            "Subnet NS/blue: NIC blue: 00:00:00:00:00:00 is no NIC's address; remove it, or choose another",
            id="zero MAC",
        ),
        pytest.param(
            vm(macs={"blue": "2:0:0:0:0:1"}),
            422,
            "Subnet NS/blue: NIC blue: 2:0:0:0:0:1 is not a MAC address; write it like 02:00:00:00:00:01",
            id="malformed MAC",
        ),
        pytest.param(
            vm(networks=(("blue", "nowhere"),)),
            422,
            "NetworkAttachmentDefinition NS/nowhere does not exist; create it first",
            id="NAD missing",
        ),
        pytest.param(
            vm(networks=(("blue", "a/b/c"),)),
            422,
            "a/b/c is no name of a NetworkAttachmentDefinition; write name, or namespace/name",
            id="no NAD's name",
        ),
        pytest.param(
            vm(networks=TWO, annotations={ASK: '{"a": ["10.0.0.5"], "b": ["10.0.0.5"]}'}),
            422,
            "Subnet NS/blue: NICs a and b both ask for 10.0.0.5; give them different ones",
            id="two NICs, one address",
        ),
        pytest.param(
            vm(networks=TWO, macs={"a": "02:00:00:00:00:01", "b": "02-00-00-00-00-01"}),
            422,
            "Subnet NS/blue: NICs a and b both ask for 02:00:00:00:00:01; give them different ones",
            id="two NICs, one MAC",
        ),
        pytest.param(
            bringing(addresses=["10.0.0.1"]),
            422,
            f"Subnet NS/blue: annotation {PINNED}, NIC blue: 10.0.0.1 is the gateway; choose another, "
            "or remove the annotation",
            id="forged record: gateway",
        ),
        pytest.param(
            bringing(addresses=["../pods"]),
            422,
            f"Subnet NS/blue: annotation {PINNED}, NIC blue: ../pods is not an IPv4 address; write it like 10.0.0.10, "
            "or remove the annotation",
            id="forged record: no address",
        ),
        pytest.param(
            bringing(addresses=[]),
            422,
            f"annotation {PINNED}, NIC blue: 0 addresses; remove the annotation",
            id="forged record: none",
        ),
        pytest.param(
            bringing(mac="ff:ff:ff:ff:ff:ff"),
            422,
            "Subnet NS/blue: NIC blue: ff:ff:ff:ff:ff:ff is a multicast address; its first byte must be even",
            id="forged record: broadcast MAC",
        ),
    ],
)
async def test_a_request_that_cannot_be_granted(
    tenant: Tenant, manifest: dict[str, Any], code: int, message: str
) -> None:
    written = json.loads(
        json.dumps(manifest).replace("NS/", f"{tenant.namespace}/").replace('\\"NS\\"', f'\\"{tenant.namespace}\\"')
    )
    with pytest.raises(Rejected) as refusal:
        await tenant.create(written)
    assert str(refusal.value) == DENIED + message.replace("NS/", f"{tenant.namespace}/")
    assert refusal.value.code == code
    assert await tenant.leases() == {}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param(
            '{"type":"virtnet-cni"}',
            'spec.config must name one Subnet, as "subnet" or "clusterSubnet"',
            id="no Subnet",
        ),
        pytest.param(
            '{"type":"virtnet-cni","subnet":"blue","clusterSubnet":"blue"}',
            'spec.config must name one Subnet, as "subnet" or "clusterSubnet"',
            id="two Subnets",
        ),
        pytest.param(
            '{"type":"virtnet-cni","subnet":["blue"]}',
            "spec.config: subnet ['blue'] cannot be a Subnet's name",
            id="no name",
        ),
        pytest.param(
            '{"type":"virtnet-cni",',
            "spec.config is not JSON (Expecting property name enclosed in double quotes: line 1 column 23 (char 22))",
            id="not JSON",
        ),
    ],
)
async def test_a_nad_that_cannot_be_followed(tenant: Tenant, config: str, message: str) -> None:
    await tenant.nad("odd", config)
    with pytest.raises(Rejected) as refusal:
        await tenant.create(vm(networks=(("odd", "odd"),)))
    assert str(refusal.value) == f"{DENIED}NetworkAttachmentDefinition {tenant.namespace}/odd: {message}"


async def test_a_nad_whose_subnet_is_missing(tenant: Tenant) -> None:
    await tenant.nad("odd", '{"type":"virtnet-cni","subnet":"gone"}')
    with pytest.raises(Rejected) as refusal:
        await tenant.create(vm(networks=(("odd", "odd"),)))
    ns = tenant.namespace
    assert str(refusal.value) == (
        f"{DENIED}NetworkAttachmentDefinition {ns}/odd names Subnet {ns}/gone, which does not exist; create it first"
    )


async def test_a_subnet_of_others(tenant: Tenant) -> None:
    lan = await tenant.cluster_subnet("10.8.0.0/24", allowedNamespaces=["elsewhere"])
    await tenant.nad("lan", json.dumps({"type": "virtnet-cni", "clusterSubnet": lan}))
    with pytest.raises(Rejected) as refusal:
        await tenant.create(vm(networks=(("lan", "lan"),)))
    assert refusal.value.code == 403
    assert str(refusal.value) == (
        f"{DENIED}ClusterSubnet {lan} may not be used from namespace {tenant.namespace}; ask its owner to allow it"
    )


async def test_what_is_kept_for_others(tenant: Tenant) -> None:
    reservations = [{"address": "10.1.0.5", "vm": "web"}]
    await tenant.subnet("red", "10.1.0.0/24", reservations=reservations, excludes=["10.1.0.6-10.1.0.9"])
    await tenant.nad("red-net", '{"type":"virtnet-cni","subnet":"red"}')
    for address, why in (("10.1.0.5", f"is reserved for VM {tenant.namespace}/web"), ("10.1.0.7", "is excluded")):
        asked = vm(networks=(("red", "red-net"),), annotations={ASK: json.dumps({"red": [address]})})
        with pytest.raises(Rejected) as refusal:
            await tenant.create(asked)
        assert str(refusal.value) == (
            f"{DENIED}Subnet {tenant.namespace}/red: NIC red: {address} {why}; choose another"
        )


async def test_what_another_vm_holds(tenant: Tenant) -> None:
    ask = {ASK: '{"blue": ["10.0.0.5"]}'}
    await tenant.create(vm(annotations=ask, macs={"blue": "02:00:00:00:00:05"}))
    for manifest, what in (
        (vm("web", annotations=ask), "10.0.0.5"),
        (vm("web", macs={"blue": "02:00:00:00:00:05"}), "02:00:00:00:00:05"),
    ):
        with pytest.raises(Rejected) as refusal:
            await tenant.create(manifest)
        assert refusal.value.code == 409
        assert str(refusal.value) == (
            f"{DENIED}Subnet {tenant.namespace}/blue: {what} is held by VM {tenant.namespace}/db, NIC blue; "
            "choose another or remove the request"
        )
    assert set((await tenant.leases()).values()) == {"db.blue"}


async def test_an_update_that_is_refused_changes_nothing(tenant: Tenant) -> None:
    await tenant.create(vm("db", annotations={ASK: '{"blue": ["10.0.0.5"]}'}))
    web = await tenant.create(vm("web"))
    leases = await tenant.leases()
    spec = vm("web", networks=(("blue", "blue-net"), ("new", "blue-net")))["spec"]
    patch = {"metadata": {"annotations": {ASK: '{"new": ["10.0.0.5"]}'}}, "spec": spec}
    with pytest.raises(Rejected, match=r"10\.0\.0\.5 is held by VM"):
        await tenant.cluster.patch(VMS, "web", patch, tenant.namespace)
    now = await tenant.cluster.get(VMS, "web", tenant.namespace)
    assert (pinned(now), macs(now)) == (pinned(web), macs(web))
    assert await tenant.leases() == leases


async def test_a_full_subnet(tenant: Tenant) -> None:
    await tenant.subnet("tiny", "10.2.0.0/30")
    await tenant.nad("tiny-net", '{"type":"virtnet-cni","subnet":"tiny"}')
    await tenant.create(vm(networks=(("tiny", "tiny-net"),)))
    with pytest.raises(Rejected) as refusal:
        await tenant.create(vm("web", networks=(("blue", "blue-net"), ("tiny", "tiny-net"))))
    assert refusal.value.code == 409
    assert str(refusal.value) == (
        f"{DENIED}Subnet {tenant.namespace}/tiny: no IPv4 address is left for NIC tiny of its 1; "
        "delete VMs that are not needed, or extend the Subnet's ranges"
    )
    assert set((await tenant.leases()).values()) == {"db.tiny"}
