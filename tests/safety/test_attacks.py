"""Attacks that once led somewhere, as they were written: the manifests as such, and what becomes of them."""

import json

import pytest
import yaml

from tests.safety.tenants import ATTACKER, PRIVATE, SHARED, Body, Scene, marks_of, record_of
from virtnet.api import Subnet
from virtnet.api.names import PINNED
from virtnet.kube import kinds
from virtnet.kube.errors import Rejected
from virtnet.kube.kinds import NADS, PODS, VMS

KINDS = {"Subnet": kinds.of(Subnet), "NetworkAttachmentDefinition": NADS, "Pod": PODS, "VirtualMachine": VMS}

DOMAIN = """
# dns.domain goes into OVN's DHCP_Options within quotes, and northd writes it into an action as it is: the quote ends the
# string, the bracket the option list; what follows are OVN actions, and "//" hides the rest.
apiVersion: virtnet.dev/v1alpha1
kind: Subnet
metadata: {name: inj, namespace: tenant-a}
spec:
  cidrs: [10.61.0.0/24]
  dns: {domain: 'x"); reg0[3] = 0; eth.dst = 0a:d8:1d:c4:27:56; ip4.src = 10.50.0.133; ip4.dst = 10.50.0.195; next; //'}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: inj-net, namespace: tenant-a}
spec: {config: '{"cniVersion":"1.1.0","name":"inj-net","type":"virtnet-cni","subnet":"inj"}'}
---
apiVersion: v1
kind: Pod
metadata: {name: inj, namespace: tenant-a, annotations: {k8s.v1.cni.cncf.io/networks: inj-net}}
spec: {nodeSelector: {kubernetes.io/hostname: node1}, containers: [{name: c, image: c}]}
"""

HELD = """
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: evil, namespace: tenant-a, finalizers: [tenant.example/hold]}
spec:
  runStrategy: Halted
  template:
    spec:
      domain:
        devices: {interfaces: [{name: shared, bridge: {}}]}
        memory: {guest: 128Mi}
      networks: [{name: shared, multus: {networkName: shared-net}}]
---
# The tenant's own pod, which says that it runs the VM. Its interface is the one that KubeVirt would name for network "shared".
apiVersion: v1
kind: Pod
metadata:
  name: launcher
  namespace: tenant-a
  annotations:
    k8s.v1.cni.cncf.io/networks: '[{"name":"shared-net","interface":"poda4d26868017"}]'
  ownerReferences:
  - {apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, name: evil, uid: 00000000-0000-0000-0000-000000000001, controller: true}
spec: {nodeSelector: {kubernetes.io/hostname: node2}, containers: [{name: c, image: c}]}
"""

BORN_DYING = """
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: evil2
  namespace: tenant-a
  deletionTimestamp: "2020-01-01T00:00:00Z"
  annotations:
    virtnet.dev/pinned: '{"vm":"tenant-a/evil2","nics":{"shared":{"nad":"tenant-a/shared-net","subnet":{"kind":"Subnet","namespace":"tenant-b","name":"private"},"mac":"02:00:00:00:00:67","addresses":["10.70.0.1"]}}}'
spec:
  runStrategy: Halted
  template:
    spec:
      domain:
        devices: {interfaces: [{name: shared, bridge: {}}]}
        memory: {guest: 128Mi}
      networks: [{name: shared, multus: {networkName: shared-net}}]
"""


def documents(text: str) -> list[Body]:
    return list(yaml.safe_load_all(text))


async def create(scene: Scene, body: Body) -> Body:
    return await scene.attacker.create(KINDS[body["kind"]], body, ATTACKER)


async def test_actions_of_ovn_in_a_search_domain(scene: Scene) -> None:
    """The Subnet is refused, and the pod for want of it."""
    before = scene.security()
    subnet, nad, pod = documents(DOMAIN)
    with pytest.raises(Rejected, match=r"spec.dns.domain: Invalid value: .*: must be a domain name such as"):
        await create(scene, subnet)
    await create(scene, nad)
    with pytest.raises(Rejected, match="inj-net names Subnet tenant-a/inj, which does not exist; create it first"):
        await create(scene, pod)
    await scene.harmless(before)
    assert "reg0[3]" not in scene.ovn.nbctl("list", "DHCP_Options")
    assert "inj" not in scene.ovn.nbctl("--bare", "--columns=name", "list", "Logical_Switch")
    assert f"{ATTACKER}/inj.net1" not in scene.security()


async def test_a_record_on_a_vm_that_is_held_from_deletion(scene: Scene) -> None:
    """The record stays what was granted, and the tenant's own launcher gets that and nothing else."""
    before = scene.security()
    vm, launcher = documents(HELD)
    made = await create(scene, vm)
    granted = await scene.in_ovn(f"{ATTACKER}/evil.shared")
    await scene.attacker.delete(VMS, "evil", ATTACKER)
    forged = json.loads(record_of(made))
    forged["nics"]["shared"] |= {"subnet": PRIVATE, "mac": "02:00:00:00:00:66", "addresses": ["10.70.0.1"]}
    patch: Body = {"metadata": {"annotations": {PINNED: json.dumps(forged)}}}
    assert record_of(await scene.attacker.patch(VMS, "evil", patch, ATTACKER)) == record_of(made)
    (nic,) = json.loads(marks_of(await create(scene, launcher))).values()
    assert " ".join((nic["mac"], *(one.partition("/")[0] for one in nic["addresses"]))) == granted
    await scene.harmless(before)
    assert scene.security()[f"{ATTACKER}/evil.shared"] == granted


async def test_a_record_on_a_vm_that_is_born_dying(scene: Scene) -> None:
    """It is admitted as any new VM: what it gets is of the network that it names, and not what its record says."""
    before = scene.security()
    (vm,) = documents(BORN_DYING)
    made = await scene.attacker.apply(VMS, "evil2", vm, ATTACKER, manager="evil", force=True)
    granted = json.loads(record_of(made))["nics"]["shared"]
    assert granted["subnet"] == SHARED
    security = await scene.in_ovn(f"{ATTACKER}/evil2.shared")
    assert set(security.split()) == {granted["mac"], *granted["addresses"]}
    assert "10.70.0.1" not in security
    await scene.harmless(before)
