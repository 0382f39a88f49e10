"""Names that look like others' Ports: a pod and a VM of one name, and networks called as our names end."""

from typing import Any

import pytest
import yaml

from tests.controllers.conftest import until
from tests.safety.tenants import ATTACKER, Body, Scene, marks_of, record_of, vm
from virtnet.api import Port
from virtnet.api.names import OWNER_LABEL
from virtnet.api.records import PinnedRecord, read_attachments
from virtnet.kube import kinds
from virtnet.kube.kinds import PODS, VMS

COLLIDING = """
# Pod "peer", interface net1, has the Port peer.net1-pod-76f04770ef (a hash is added, because net1@pod is no DNS label).
# VM "peer" with a network of just that name has the same Port, and so "its own" leases: one address, two NICs.
apiVersion: v1
kind: Pod
metadata: {name: peer, namespace: tenant-a, annotations: {k8s.v1.cni.cncf.io/networks: shared-net}}
spec: {nodeSelector: {kubernetes.io/hostname: node1}, containers: [{name: c, image: c}]}
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: peer, namespace: tenant-a}
spec:
  runStrategy: Halted
  template:
    spec:
      domain:
        devices: {interfaces: [{name: net1-pod-76f04770ef, bridge: {}}]}
        memory: {guest: 128Mi}
      networks: [{name: net1-pod-76f04770ef, multus: {networkName: shared-net}}]
"""


def on(network: str, name: str) -> Body:
    """A VM whose one network has this name."""
    body = vm(name)
    spec = body["spec"]["template"]["spec"]
    spec["networks"][0]["name"] = spec["domain"]["devices"]["interfaces"][0]["name"] = network
    return body


async def ports_of(scene: Scene, owner: str, count: int) -> dict[str, Port]:
    async def found() -> dict[str, Port] | None:
        items, _ = await scene.admin.list(kinds.of(Port), ATTACKER, labels=f"{OWNER_LABEL}={owner}")
        ports = {one.key: one for one in map(Port.parse, items)}
        return ports if len(ports) == count else None

    found_ports: dict[str, Port] = await until(found, f"{count} Ports of {owner}")
    return found_ports


async def test_a_pod_and_a_vm_of_one_name_share_nothing(scene: Scene) -> None:
    before = scene.security()
    pod, colliding = yaml.safe_load_all(COLLIDING)
    made = await scene.attacker.create(PODS, pod, ATTACKER)
    (attachment,) = read_attachments(marks_of(made)).values()
    record = PinnedRecord.read(record_of(await scene.attacker.create(VMS, colliding, ATTACKER)))
    assert record is not None
    (nic,) = record.nics.values()
    assert not {nic.mac, *nic.addresses} & {attachment.mac, *attachment.bare_addresses}
    ports = await ports_of(scene, "peer", 2)
    for port in ports:
        await scene.in_ovn(port)
    assert {one.spec.mac_address for one in ports.values()} == {nic.mac, attachment.mac}
    await scene.harmless(before)


NAMES = ["_blue", "blue_", "__", "-", "Blue", "BLUE_1", "a" * 63]


@pytest.mark.parametrize("network", NAMES)
async def test_every_name_that_kubevirt_takes_gets_a_port(scene: Scene, network: str) -> None:
    owner = f"under-{NAMES.index(network)}"
    record = PinnedRecord.read(record_of(await scene.attacker.create(VMS, on(network, owner), ATTACKER)))
    assert record is not None
    ((key, port),) = (await ports_of(scene, owner, 1)).items()
    assert port.spec.network == network
    assert set((await scene.in_ovn(key)).split()) == {record.nics[network].mac, *record.nics[network].addresses}


async def test_a_name_that_another_has_is_its_own(scene: Scene) -> None:
    """Somebody else's Port has the name that a VM's NIC gets: it is not taken over, and the VM's comes when it is gone."""
    other: dict[str, Any] = {
        "apiVersion": "virtnet.dev/v1alpha1",
        "kind": "Port",
        "metadata": {"name": "late.shared", "namespace": ATTACKER},
        "spec": {
            "owner": {"kind": "Pod", "name": "other"},
            "network": "net1",
            "networkAttachmentDefinition": f"{ATTACKER}/shared-net",
            "subnet": {"kind": "ClusterSubnet", "name": "shared"},
            "macAddress": "02:00:00:00:77:01",
            "addresses": ["10.50.0.77"],
        },
    }
    await scene.admin.create(kinds.of(Port), other, ATTACKER)
    await scene.attacker.create(VMS, vm("late"), ATTACKER)

    async def its_own() -> bool:
        found = (await scene.ports(ATTACKER)).get(f"{ATTACKER}/late.shared")
        return found is not None and found.spec.owner.name == "late"

    await until(its_own, "the Port is the VM's, once the other's is gone")
