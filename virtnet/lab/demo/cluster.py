"""What the demonstration does with the cluster: apply, wait, look."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from virtnet.api import AddressLease, ClusterSubnet, ProviderNetwork
from virtnet.api.names import ATTACHMENTS, PINNED
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound, Rejected
from virtnet.kube.kinds import NADS, NAMESPACES, PODS, VMIMS, VMIS, VMS
from virtnet.lab import migrate
from virtnet.lab.demo.manifests import NAMESPACE, Body
from virtnet.lab.lab import Lab

PROVIDER_NETWORKS = kinds.of(ProviderNetwork)
SUBNETS = kinds.Kind("virtnet.dev", "v1alpha1", "subnets")
KINDS = {
    "Namespace": NAMESPACES,
    "Subnet": SUBNETS,
    "ClusterSubnet": kinds.of(ClusterSubnet),
    "ProviderNetwork": PROVIDER_NETWORKS,
    "NetworkAttachmentDefinition": NADS,
    "VirtualMachine": VMS,
    "Pod": PODS,
}

T = TypeVar("T")


class NotInTime(Exception):  # noqa: N818 - says what happened
    """A condition that the demonstration waits for did not come true."""


def until(look: Callable[[], T | None], what: str, seconds: float = 90) -> T:
    """The first answer that is one. Raises NotInTime."""
    end = time.monotonic() + seconds
    while not (answer := look()):
        if time.monotonic() > end:
            raise NotInTime(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
    return answer


@dataclass(frozen=True)
class Demo:
    """The cluster of a lab."""

    lab: Lab

    def apply(self, body: Body) -> Body:
        """Create an object. Raises Rejected with admission's own words."""
        kind, namespace = KINDS[body["kind"]], body["metadata"].get("namespace", "")
        return self.lab.ask(lambda cluster: cluster.create(kind, body, namespace))

    def refusal(self, body: Body) -> str:
        """What admission says to a manifest that it must refuse; empty when it does not."""
        try:
            self.apply(body)
        except Rejected as refused:
            return str(refused)
        return ""

    def get(self, kind: kinds.Kind, name: str) -> Body | None:
        async def find(cluster: Cluster) -> Body | None:
            try:
                return await cluster.get(kind, name, NAMESPACE)
            except NotFound:
                return None

        return self.lab.ask(find)

    def set_run(self, vm: str, strategy: str, *, node: str = "") -> None:
        """Stop or start a VM as virtctl does, on another node if one is named."""
        spec: dict[str, Any] = {"runStrategy": strategy}
        if node:
            spec["template"] = {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}
        self.lab.ask(lambda cluster: cluster.patch(VMS, vm, {"spec": spec}, NAMESPACE))

    def pinned(self, vm: str) -> tuple[str, str]:
        """Address and MAC that admission has written."""
        nic = self._nic(vm)
        return nic["addresses"][0], nic["mac"]

    def addresses(self, vm: str) -> list[str]:
        """All that admission has written, of each family."""
        return list(self._nic(vm)["addresses"])

    def _nic(self, vm: str) -> Body:
        """What the one NIC of a VM holds."""
        body = self.get(VMS, vm) or {}
        (nic,) = json.loads(body["metadata"]["annotations"][PINNED])["nics"].values()
        return dict(nic)

    def plugged(self, network: str) -> list[str]:
        """The nodes on which a ProviderNetwork is ready."""
        body = self.lab.ask(lambda cluster: cluster.get(PROVIDER_NETWORKS, network))
        return list(body.get("status", {}).get("readyNodes", ()))

    def node_of(self, vm: str) -> str:
        status = (self.get(VMIS, vm) or {}).get("status", {})
        return str(status.get("nodeName", "")) if status.get("phase") == "Running" else ""

    def pod_runs(self, name: str) -> bool:
        return bool((self.get(PODS, name) or {}).get("status", {}).get("phase") == "Running")

    def address_of_pod(self, name: str) -> str:
        """The address of an ordinary pod's NIC."""
        body = self.get(PODS, name) or {}
        (nic,) = json.loads(body["metadata"]["annotations"][ATTACHMENTS]).values()
        return str(nic["addresses"][0].partition("/")[0])

    def target(self) -> tuple[str, str] | None:
        """UID of the migration in course, and its target pod once that has a node."""
        migrations, _ = self.lab.ask(lambda cluster: cluster.list(VMIMS, NAMESPACE))
        for one in migrations:
            if one.get("status", {}).get("phase") in migrate.ENDED:
                continue
            uid = one["metadata"]["uid"]
            label = f"kubevirt.io/migrationJobUID={uid}"
            pods, _ = self.lab.ask(lambda cluster, label=label: cluster.list(PODS, NAMESPACE, labels=label))  # type: ignore[misc]
            if pods and pods[0]["spec"].get("nodeName"):
                return uid, f"{NAMESPACE}/{pods[0]['metadata']['name']}"
        return None

    def delete_vms(self, *names: str) -> None:
        for name in names:
            self.lab.ask(lambda cluster, name=name: cluster.delete(VMS, name, NAMESPACE))  # type: ignore[misc]
        until(lambda: not any(self.get(VMS, name) for name in names), "the VMs gone")

    def delete_pod(self, name: str) -> None:
        self.lab.ask(lambda cluster: cluster.delete(PODS, name, NAMESPACE))
        until(lambda: self.get(PODS, name) is None, "the pod gone")

    def leases(self) -> int:
        items, _ = self.lab.ask(lambda cluster: cluster.list(kinds.of(AddressLease)))
        return len(items)
