"""What a namespace's people may do by the cluster's own roles, and what the manifests leave to whoever deletes them."""

import asyncio
import subprocess
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.pinning.conftest import Admission, Tenant
from virtnet.kube.kinds import Kind
from virtnet.lab import manifests

REVIEWS = Kind("authorization.k8s.io", "v1", "localsubjectaccessreviews")
BINDINGS = Kind("rbac.authorization.k8s.io", "v1", "rolebindings")
TENANTS = REPOSITORY / "manifests" / "rbac" / "tenants.yaml"
READ, WRITE = ("get", "list", "watch"), ("create", "update", "patch", "delete")
NAMESPACED = ("subnets", "vpcs", "qospolicies", "securitygroups")


def aggregated(role: str) -> list[str]:
    """Those of the ClusterRoles that a role of the cluster includes."""
    label = f"rbac.authorization.k8s.io/aggregate-to-{role}"
    return [one["metadata"]["name"] for one in manifests.read(TENANTS) if label in one["metadata"].get("labels", {})]


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("view", {*((verb, plural) for verb in READ for plural in (*NAMESPACED, "ports"))}),
        ("edit", {*((v, p) for v in (*READ, *WRITE) for p in NAMESPACED), *((verb, "ports") for verb in READ)}),
        ("admin", {*((v, p) for v in (*READ, *WRITE) for p in NAMESPACED), *((verb, "ports") for verb in READ)}),
    ],
)
async def test_the_clusters_roles_reach_virtnets_kinds(tenant: Tenant, role: str, may: set[tuple[str, str]]) -> None:
    """As the controller manager aggregates them, which the lab does without."""
    await manifests.apply(tenant.cluster, manifests.read(TENANTS))
    group = "rbac.authorization.k8s.io"
    for name in aggregated(role):
        body = {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": "ann"}],
        }
        await tenant.cluster.create(BINDINGS, body, tenant.namespace)

    async def allowed(verb: str, plural: str) -> bool:
        attributes = {"namespace": tenant.namespace, "verb": verb, "group": "virtnet.dev", "resource": plural}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "LocalSubjectAccessReview",
            "metadata": {"namespace": tenant.namespace},
            "spec": {"user": "ann", "resourceAttributes": attributes},
        }
        answer = await tenant.cluster.create(REVIEWS, review, tenant.namespace)
        return bool(answer["status"]["allowed"])

    rights = [(verb, plural) for verb in (*READ, *WRITE) for plural in (*NAMESPACED, "ports", "addressleases")]
    async with asyncio.timeout(60):
        while not may <= (found := {one for one in rights if await allowed(*one)}):
            pass  # the authorizer hears of the roles by a watch
    assert found == may


def rendered(admission: Admission, name: str) -> list[dict[str, Any]]:
    command = [admission.server.binaries.kubectl, "kustomize", str(REPOSITORY / "manifests" / name)]
    return list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def test_who_deletes_the_program_keeps_the_kinds(admission: Admission) -> None:
    assert "CustomResourceDefinition" not in {body["kind"] for body in rendered(admission, "base")}


def test_an_administrator_may_have_tenants_share_one_vpc(admission: Admission) -> None:
    (crd,) = [one for one in rendered(admission, "shared-vpc") if one["metadata"]["name"] == "subnets.virtnet.dev"]
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert spec["properties"]["vpc"]["default"] == {"kind": "ClusterVpc"}
