"""Another tenant, in the same Subnet, who does what it may and tries what it may not, all the while: nobody notices."""

import asyncio
import json
import random
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import yaml

from virtnet.api import AddressLease, NodeNetwork, Port
from virtnet.api.lease import lease_name
from virtnet.api.names import ATTACHMENTS, PINNED
from virtnet.api.references import SubnetRef
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, Rejected
from virtnet.kube.kinds import NAMESPACES, PODS, VMS
from virtnet.lab import identities, manifests, netns
from virtnet.lab.demo.manifests import NAMESPACE as VICTIM
from virtnet.lab.demo.manifests import nad, probe, vm
from virtnet.lab.lab import Lab
from virtnet.node import frames

NAMESPACE = "rival"
PEER = "peer"
VMS_OF_ITS = ("mine", "forged", "asking")
SECONDS_BETWEEN = 0.1

RIGHTS = """
apiVersion: v1
kind: Namespace
metadata: {name: rival}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: user, namespace: rival}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: everything, namespace: rival}
rules:
- {apiGroups: [kubevirt.io, k8s.cni.cncf.io], resources: ["*"], verbs: ["*"]}
- {apiGroups: [""], resources: [pods, pods/status], verbs: ["*"]}
- {apiGroups: [virtnet.dev], resources: [subnets, vpcs, qospolicies, securitygroups], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: everything, namespace: rival}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: everything}
subjects: [{kind: ServiceAccount, name: user, namespace: rival}]
"""

Object = dict[str, Any]
Act = Callable[[Cluster], Awaitable[object]]


@dataclass
class Tenant:
    """What it does comes from dice of its own: when, depends on how fast it is answered."""

    lab: Lab
    dice: random.Random
    network: str
    """Of the VMs whose tenant must notice nothing."""
    taken: list[str] = field(default_factory=list)
    """What it was allowed and must not be, each in a sentence."""
    done: int = 0
    refused: int = 0

    def furnish(self) -> None:
        """Its account, with every right in its own namespace, and a pod on the Subnet of the others."""
        self.lab.ask(lambda cluster: manifests.apply(cluster, yaml.safe_load_all(RIGHTS)))
        server = self.lab.central.control_plane
        identities.write_kubeconfig(server, NAMESPACE, identities.token(server, "user", namespace=NAMESPACE))
        network = nad(f"{self.network}-net", clusterSubnet=self.network)
        for kind, body in ((kinds.NADS, network), (PODS, probe("node3", name=PEER, network=self.network))):
            self._do(lambda cluster, kind=kind, body=body: cluster.create(kind, _own(body), NAMESPACE))  # type: ignore[misc]

    @contextmanager
    def acting(self, victims: dict[str, list[str]]) -> Iterator[None]:
        """It is busy until the end. ``victims``: MAC -> addresses of those who must notice nothing."""
        end = threading.Event()
        act = partial(self._do, lambda cluster: self._act(cluster, end, victims))
        thread = threading.Thread(target=act, name=NAMESPACE)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()

    async def _act(self, cluster: Cluster, end: threading.Event, victims: dict[str, list[str]]) -> None:
        """One thing after the other, each once in a round."""
        while not end.is_set():
            acts = [*self._allowed(victims), *self._forbidden(victims)]
            for what, act, allowed in self.dice.sample(acts, len(acts)):
                self._spoof(victims)
                await self._try(cluster, what, act, allowed=allowed)
                if end.is_set():
                    return
                await asyncio.sleep(SECONDS_BETWEEN)

    async def _try(self, cluster: Cluster, what: str, act: Act, *, allowed: bool) -> None:
        try:
            await act(cluster)
        except Rejected:
            self.refused += 1
        except (ApiError, OSError):
            return  # whom it asks is away, or what it asks for
        else:
            self.done += 1
            if not allowed:
                self.taken.append(f"the other tenant was let {what}")

    def _allowed(self, victims: dict[str, list[str]]) -> Iterable[tuple[str, Act, bool]]:
        """What it may do, or what it is let do in another way than it asks."""
        mac, addresses = self.dice.choice(sorted(victims.items()))
        nic: Object = {"nad": f"{NAMESPACE}/{self.network}-net", "mac": mac, "addresses": addresses}
        nic["subnet"] = {"kind": "ClusterSubnet", "name": self.network}
        record = json.dumps({"vm": f"{NAMESPACE}/forged", "nics": {self.network: nic}})
        attachment = json.dumps({"net1": {**nic, "port": f"{VICTIM}/one.{self.network}", "network": self.network}})
        for name in VMS_OF_ITS:
            address = addresses[0] if name == "asking" else ""
            body = vm(name, network=self.network, address=address)
            body["spec"]["runStrategy"] = "Halted"
            if name == "forged":
                body["metadata"]["annotations"] = {PINNED: record}
            yield f"create VM {name}", _create(VMS, body), True
            yield f"delete VM {name}", _delete(VMS, name), True
        patch = {"metadata": {"annotations": {ATTACHMENTS: attachment}}}
        yield "forge an attachment", lambda cluster: cluster.patch(PODS, PEER, patch, NAMESPACE), True

    def _forbidden(self, victims: dict[str, list[str]]) -> Iterable[tuple[str, Act, bool]]:
        label = {"metadata": {"labels": {"rival": "was-here"}}}
        subnet = SubnetRef(kind="ClusterSubnet", name=self.network)
        port, lease = f"one.{self.network}", lease_name(self.dice.choice(sorted(victims)), subnet)
        of_ports, of_leases, of_nodes = map(kinds.of, (Port, AddressLease, NodeNetwork))
        yield "delete another's Port", lambda cluster: cluster.delete(of_ports, port, VICTIM), False
        yield "patch another's Port", lambda cluster: cluster.patch(of_ports, port, label, VICTIM), False
        yield "delete a lease", lambda cluster: cluster.delete(of_leases, lease), False
        yield "list all leases", lambda cluster: cluster.list(of_leases), False
        yield "patch a node", lambda cluster: cluster.patch(of_nodes, "node1", label), False
        yield "delete another's VM", lambda cluster: cluster.delete(VMS, "one", VICTIM), False
        yield "make a namespace", _create(NAMESPACES, {"metadata": {"name": "more"}}, namespace=""), False

    def _spoof(self, victims: dict[str, list[str]]) -> None:
        """Say by ARP and ND that the others' addresses are here, under its own MAC and under theirs."""
        with suppress(netns.NetnsError, OSError):  # its pod's node may be away
            (link,) = json.loads(netns.run("ip", "-json", "link", "show", "net1", netns=self._netns))
            lies = [
                frame
                for mac, addresses in victims.items()
                for sender in (mac, link["address"])
                for frame in frames.announcements(sender, addresses, 0)
            ]
            netns.inside(self._netns, lambda: _send("net1", lies))

    @cached_property
    def _netns(self) -> str:
        """Of its pod."""
        return self.lab.pod_netns(f"{NAMESPACE}/{PEER}")

    def _do(self, act: Act) -> None:
        self.lab.ask(act, identity=NAMESPACE)


def _own(body: Object) -> Object:
    return {**body, "metadata": {**body["metadata"], "namespace": NAMESPACE}}


def _create(kind: kinds.Kind, body: Object, namespace: str = NAMESPACE) -> Act:
    body = _own(body) if namespace else body
    return lambda cluster: cluster.create(kind, body, namespace)


def _delete(kind: kinds.Kind, name: str) -> Act:
    return lambda cluster: cluster.delete(kind, name, NAMESPACE)


def _send(link: str, lies: list[bytes]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((link, 0))
        for frame in lies:
            out.send(frame)
