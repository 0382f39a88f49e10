"""virtnet as pod network on an empty cluster: what has to run first waits for nothing that it serves itself.

The overlay is rendered and applied as it is, and its pods are made and run as controllers and kubelet do it: refused
where admission refuses them, and with the arguments, files and environment that they name. Pods on a pod network would
not be: nobody could give them a NIC.
"""

import asyncio
import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import pytest
import yaml

from tests.conftest import REPOSITORY
from tests.pinning.pods import attachments, pod
from virtnet.api import ClusterSubnet, Port
from virtnet.kube import kinds
from virtnet.kube.client import Cluster
from virtnet.kube.errors import ApiError, NotFound
from virtnet.kube.kinds import NADS, NAMESPACES, PODS, Kind
from virtnet.lab import identities, manifests, netns
from virtnet.lab.control_plane import ControlPlane
from virtnet.lab.daemon import Daemon
from virtnet.lab.databases import wait
from virtnet.lab.ovn_central import OvnCentral

pytestmark = pytest.mark.system

NETNS = "vn-fresh-install"
ADDRESS = "172.31.9.1"
"""Of the one node, where everything is that has to be on its node's network."""

SLICES = Kind("discovery.k8s.io", "v1", "endpointslices")
WORKLOADS = ("Deployment", "DaemonSet")


@dataclass
class Node:
    """The API server of an empty cluster, and a kubelet for pods on the network of its one node."""

    state: Path
    ovn: OvnCentral
    server: ControlPlane
    overlay: list[dict[str, Any]] = field(default_factory=list)
    running: dict[str, Daemon] = field(default_factory=dict)

    def render(self) -> None:
        """``kubectl kustomize``, after what the overlay's head says."""
        manifests_ = self.state / "tree" / "manifests"
        shutil.copytree(REPOSITORY / "manifests", manifests_)
        shutil.copytree(REPOSITORY / "crds", self.state / "tree" / "crds")
        subprocess.run([manifests_ / "pod-network" / "certificate"], check=True, capture_output=True)
        rendered = subprocess.run(
            [self.server.binaries.kubectl, "kustomize", manifests_ / "pod-network"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        self.overlay = list(yaml.safe_load_all(rendered))

    def one(self, kind: str, name: str) -> dict[str, Any]:
        return next(body for body in self.overlay if (body["kind"], body["metadata"]["name"]) == (kind, name))

    def pods(self) -> dict[str, dict[str, Any]]:
        """A new pod of each workload, by the workload's name."""
        found = {}
        for body in self.overlay:
            if body["kind"] in WORKLOADS:
                name, template = body["metadata"]["name"], body["spec"]["template"]
                metadata = {**template["metadata"], "name": f"{name}-{uuid4().hex[:5]}", "namespace": "virtnet"}
                found[name] = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        return found

    def run(self, name: str, body: dict[str, Any]) -> Daemon:
        """Run a pod's container, as a kubelet would on a node that has no pod network yet."""
        spec = body["spec"]
        assert spec["hostNetwork"]
        assert spec["dnsPolicy"] == "Default"
        assert {"node.kubernetes.io/not-ready", "node.kubernetes.io/network-unavailable"} <= {
            one["key"] for one in spec["tolerations"]
        }
        (container,) = spec["containers"]
        environment = self._environment(container)
        words = [
            re.sub(r"\$\((\w+)\)", lambda found: environment[found[1]], argument) for argument in container["args"]
        ]
        for mount in container.get("volumeMounts", ()):
            volume = next(one for one in spec["volumes"] if one["name"] == mount["name"])
            there = self._mounted(volume["secret"])
            words = [argument.replace(mount["mountPath"], str(there)) for argument in words]
        kubeconfig = self.server.kubeconfig_of(spec["serviceAccountName"])
        command = [*netns.plain_prefix(NETNS), sys.executable, "-m", "virtnet.cli.main", *words]
        daemon = Daemon(name, command, self.state, {**environment, "KUBECONFIG": str(kubeconfig)})
        daemon.start()
        self.running[name] = daemon
        return daemon

    def _environment(self, container: dict[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            found |= self.one("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.get("env", ()):
            assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
            found[variable["name"]] = ADDRESS
        return found

    def _mounted(self, secret: dict[str, Any]) -> Path:
        there = self.state / "secrets" / str(secret["secretName"])
        if not (secret.get("optional") or there.exists()):
            there.mkdir(parents=True)
            for key, value in self.one("Secret", secret["secretName"])["data"].items():
                (there / key).write_bytes(base64.b64decode(value))
        return there

    def ready(self, daemon: Daemon, port: int) -> None:
        """Until its readiness probe succeeds."""

        def probe() -> bool:
            with suppress(OSError), urlopen(f"http://{ADDRESS}:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
            return False

        wait(daemon, partial(netns.inside, NETNS, probe), "it is ready", seconds=60)

    def start_all(self) -> None:
        """Make the pods of both workloads, and run them. Raises ApiError where one is refused."""
        made = self.pods()
        for name, port in (("virtnet-controller", 9402), ("virtnet-webhook", 9403)):
            self.ask(made[name])
            self.ready(self.run(name, made[name]), port)
        self.ask(made["virtnet-node"])

    def lose_all(self) -> None:
        for daemon in self.running.values():
            daemon.kill()

    def ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make a pod. Raises ApiError."""

        async def create() -> dict[str, Any]:
            async with await Cluster.connect(str(self.server.kubeconfig)) as cluster:
                return await cluster.create(PODS, body, body["metadata"]["namespace"])

        return netns.inside(NETNS, lambda: asyncio.run(create()))


async def install(node: Node) -> None:
    async with await Cluster.connect(str(node.server.kubeconfig)) as cluster:
        await manifests.apply(cluster, [*manifests.read(manifests.FOREIGN_CRDS, REPOSITORY / "crds"), *node.overlay])
        await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
        # What controllers of the cluster make of a Service and the pods behind it.
        labels = {"kubernetes.io/service-name": "virtnet-webhook"}
        await cluster.create(
            SLICES,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": "virtnet-webhook", "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
                "ports": [{"name": "https", "port": 9443, "protocol": "TCP"}],
            },
            "virtnet",
        )


async def subnet(node: Node) -> None:
    async with await Cluster.connect(str(node.server.kubeconfig)) as cluster:
        body = {"apiVersion": "virtnet.dev/v1alpha1", "kind": "ClusterSubnet", "metadata": {"name": "pods"}}
        await cluster.create(kinds.of(ClusterSubnet), {**body, "spec": {"cidrs": ["10.244.0.0/16"]}})
        nad = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition"}
        config = '{"cniVersion":"1.1.0","name":"pod-network","type":"virtnet-cni","clusterSubnet":"pods"}'
        await cluster.create(NADS, {**nad, "metadata": {"name": "pod-network"}, "spec": {"config": config}}, "virtnet")


async def port(node: Node, name: str) -> None:
    """Until the controller has made the Port of a pod's first NIC. Raises TimeoutError."""
    async with asyncio.timeout(90), await Cluster.connect(str(node.server.kubeconfig)) as cluster:
        while True:
            ports, _ = await cluster.list(kinds.of(Port), "demo")
            if any(one["metadata"]["name"].startswith(name) for one in ports):
                return
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    state = tmp_path_factory.mktemp("fresh")
    prefix = netns.plain_prefix(NETNS)
    netns.create(NETNS)
    netns.ip(NETNS, "link set lo up", f"address add {ADDRESS}/24 dev lo")
    # kube-proxy is not here: the API server itself goes to a Service's pods.
    flags = ("--enable-aggregator-routing=true",)
    server = ControlPlane(state=state / "control-plane", address=ADDRESS, prefix=prefix, flags=flags)
    ovn = OvnCentral(state / "ovn", prefix)
    ovn.state.mkdir()
    found = Node(state, ovn, server)
    try:
        found.render()
        remotes = {"OVN_NORTHBOUND": ovn.remote("nb"), "OVN_SOUTHBOUND": ovn.remote("sb")}
        found.one("ConfigMap", "virtnet-ovn")["data"] = remotes
        ovn.start()
        server.start()
        netns.inside(NETNS, lambda: asyncio.run(install(found)))
        for account in ("virtnet-controller", "virtnet-webhook"):
            identities.write_kubeconfig(server, account, identities.token(server, account))
        yield found
    finally:
        found.lose_all()
        ovn.destroy()
        server.stop()
        netns.run("ip", "netns", "delete", NETNS)


def ordinary(name: str) -> dict[str, Any]:
    body = pod(name, networks="")
    body["metadata"]["namespace"] = "demo"
    return body


def test_it_comes_up_from_nothing_and_again_after_everything_was_lost(node: Node) -> None:
    with pytest.raises(ApiError, match="virtnet-webhook"):
        node.ask(ordinary("too-early"))
    node.start_all()
    netns.inside(NETNS, lambda: asyncio.run(subnet(node)))
    for name in ("first", "again"):
        wait(
            node.running["virtnet-webhook"],
            partial(pinned_by_pod_network, node, name),
            "it serves the pod network",
            seconds=60,
        )
        netns.inside(NETNS, partial(asyncio.run, port(node, name)))
        node.lose_all()
        with pytest.raises(ApiError, match="virtnet-webhook"):
            node.ask(ordinary("meanwhile"))
        node.start_all()


def pinned_by_pod_network(node: Node, name: str) -> bool:
    """Whether a pod is made with a NIC; before the webhook knows of the network it is refused."""
    try:
        made = node.ask(ordinary(name))
    except (ApiError, NotFound):
        return False
    return str(attachments(made)["eth0"]["addresses"][0]).startswith("10.244.")


def test_nothing_of_it_asks_for_what_runs_in_pods(node: Node) -> None:
    assert not [body["kind"] for body in node.overlay if "cert-manager" in yaml.safe_dump(body)]
    for body in node.pods().values():
        assert body["spec"]["hostNetwork"]
