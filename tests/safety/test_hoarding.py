"""A tenant makes VMs that are refused after admission, say for want of quota: their addresses are held for nobody.

The attack empties a network that other tenants use.
"""

from collections.abc import AsyncIterator

import pytest

from tests.controllers.conftest import until
from tests.safety.tenants import ATTACKER, Body, Scene, record_of, vm
from virtnet.addressing.pools import LEAST_RESERVED
from virtnet.api import AddressLease
from virtnet.kube import kinds
from virtnet.kube.errors import ApiError, Rejected
from virtnet.kube.kinds import VMS, Kind

POLICIES = Kind("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", namespaced=False)
BINDINGS = Kind("admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", namespaced=False)
NICS = 8


def many(name: str) -> Body:
    """A VM with several NICs on the shared network."""
    body = vm(name)
    spec = body["spec"]["template"]["spec"]
    spec["networks"] = [{"name": f"n{n}", "multus": {"networkName": "shared-net"}} for n in range(NICS)]
    spec["domain"]["devices"]["interfaces"] = [{"name": f"n{n}", "bridge": {}} for n in range(NICS)]
    return body


@pytest.fixture
async def quota(scene: Scene) -> AsyncIterator[None]:
    """Something that refuses the attacker's VMs after they have been pinned, as a ResourceQuota does."""
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "no-quota"}}
    rule = {"apiGroups": ["kubevirt.io"], "apiVersions": ["v1"], "resources": ["virtualmachines"], "operations": ["*"]}
    validations = [{"expression": "!object.metadata.name.startsWith('hoard')", "message": "exceeded quota"}]
    spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]}, "validations": validations}
    await scene.admin.create(POLICIES, {**api, "kind": "ValidatingAdmissionPolicy", "spec": spec})
    binding = {"policyName": "no-quota", "validationActions": ["Deny"]}
    await scene.admin.create(BINDINGS, {**api, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding})

    async def refuses() -> bool:
        try:
            await scene.attacker.create(VMS, vm("hoard-probe"), ATTACKER, dry_run=True)
        except Rejected as error:
            return "exceeded quota" in str(error)
        return False

    await until(refuses, "the policy")
    yield
    await scene.admin.delete(BINDINGS, "no-quota")
    await scene.admin.delete(POLICIES, "no-quota")


async def reserved(scene: Scene) -> int:
    """How many IPv4 addresses the attacker holds for VMs that are not there."""
    items, _ = await scene.admin.list(kinds.of(AddressLease))
    leases = map(AddressLease.parse, items)
    return sum(
        one.status.phase == "Reserved" and "." in one.spec.address and one.spec.holder.namespace == ATTACKER
        for one in leases
    )


@pytest.mark.usefixtures("quota")
async def test_refused_vms_hold_no_more_than_a_part_of_a_shared_network(scene: Scene) -> None:
    said = []
    for number in range(2 * LEAST_RESERVED // NICS):
        with pytest.raises(ApiError) as refused:
            await scene.attacker.create(VMS, many(f"hoard{number}"), ATTACKER)
        said.append(refused.value)
    assert "exceeded quota" in str(said[0])
    assert said[-1].code == 429
    assert f"ClusterSubnet shared: namespace {ATTACKER} holds {LEAST_RESERVED} addresses for VMs and pods" in str(
        said[-1]
    )
    assert await reserved(scene) <= LEAST_RESERVED + NICS
    other = vm("unhurt", nad="tenant-b/shared-net")
    assert record_of(await scene.admin.create(VMS, other, "tenant-b"))
