"""A whole lab: brought up, looked at, used, taken down. For the command line, for tests and for the demonstration."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

from virtnet.kube.client import Cluster
from virtnet.kube.errors import NotFound
from virtnet.kube.kinds import PODS, Kind
from virtnet.lab import contents, identities, netns, teardown
from virtnet.lab.central import Central
from virtnet.lab.certificates import Authority
from virtnet.lab.daemon import Daemon
from virtnet.lab.databases import wait
from virtnet.lab.dpdk import hold_pages
from virtnet.lab.image import Image, guest_image
from virtnet.lab.names import LabNames, NodeNames
from virtnet.lab.nodes import Node
from virtnet.lab.physical import Physical
from virtnet.lab.progress import Progress

T = TypeVar("T")

DEFAULT_NODES = 3
CLUSTER_VPCS = Kind("virtnet.dev", "v1alpha1", "clustervpcs", namespaced=False)
NODE_NETWORKS = Kind("virtnet.dev", "v1alpha1", "nodenetworks", namespaced=False)


class LabError(Exception):
    """The lab is not in the state that was asked for. The message says what to do."""


def silent(line: str) -> None:
    """For callers that want no progress lines."""


@dataclass(frozen=True)
class Lab:
    """One lab by its name, whether it is up or not."""

    name: str = "lab"
    say: Callable[[str], None] = field(default=silent, compare=False)

    @cached_property
    def names(self) -> LabNames:
        return LabNames(self.name)

    @property
    def central(self) -> Central:
        """Made anew each time: one that outlived ``down`` would believe in certificates that are gone."""
        return Central(self.names)

    @property
    def physical(self) -> Physical:
        """The physical network: what its switch has learned, and the machine outside."""
        return Physical(self.names)

    @property
    def is_up(self) -> bool:
        """Whether ``up`` has finished, and ``down`` has not begun."""
        return self.names.record.exists()

    @property
    def nodes(self) -> dict[str, Node]:
        """The nodes of a lab that is up. Raises LabError."""
        self._must_be_up()
        found = json.loads(self.names.record.read_text())["nodes"]
        return {name: Node(self.names.node(said["number"]), dpdk=said["dpdk"]) for name, said in found.items()}

    @property
    def daemons(self) -> dict[str, Daemon]:
        """All processes, other than guests: ``etcd``, ``apiserver``, ``nb``, ``sb``, ``northd``, ``webhook``,
        ``controller``, ``standin``, the physical switch's ``physical/ovs-vswitchd`` and ``physical/ovsdb-server``, and
        of each node for example ``node1/virtnet``, ``node1/ovn-controller``, ``node1/ovs-vswitchd``,
        ``node1/ovsdb-server``.
        """
        nodes = self.nodes  # first: without a lab, nothing may make certificates for it
        found = dict(self.central.daemons)
        found |= {f"physical/{name}": daemon for name, daemon in self.physical.daemons.items()}
        for node in nodes.values():
            found |= {f"{node.name}/{name}": daemon for name, daemon in node.daemons.items()}
        return found

    def daemon(self, name: str) -> Daemon:
        """One process, to be killed and started again. Raises LabError if there is none of this name."""
        found = self.daemons
        if name not in found:
            raise LabError(f"the lab has no daemon {name}; it has {', '.join(found)}")
        return found[name]

    def kubeconfig(self, identity: str = "admin") -> Path:
        """Of ``admin``, ``standin``, ``virtnet-controller``, ``virtnet-webhook``, ``virtnet-cli``,
        ``virtnet-node-NODE``.
        """
        return self.names.kubeconfig(identity)

    def ask(self, work: Callable[[Cluster], Awaitable[T]], *, identity: str = "admin") -> T:
        """The result of work with the API server, which is only reached from inside of the lab: a loop of its own."""

        async def connected() -> T:
            async with await Cluster.connect(str(self.kubeconfig(identity)), agent="virtnet-lab") as cluster:
                return await work(cluster)

        return netns.inside(self.names.central, lambda: asyncio.run(connected()))

    def command(self, words: Sequence[str], *, pod: str = "") -> list[str]:
        """A command that runs in the lab: centrally, or in the network namespace of a pod (``namespace/name``).

        Raises LabError for a pod that does not exist.
        """
        self._must_be_up()
        return [*(netns.prefix(self.pod_netns(pod)) if pod else self.central.prefix), *words]

    def environment(self) -> dict[str, str]:
        """The environment of commands that run in the lab: as administrator, with the right kubectl."""
        kubectl = Path(self.central.control_plane.binaries.kubectl).parent
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig()), "PATH": f"{kubectl}:{os.environ['PATH']}"}

    def pod_netns(self, pod: str) -> str:
        """The network namespace of a pod. Raises LabError."""
        namespace, _, name = pod.rpartition("/")
        try:
            found = self.ask(lambda cluster: cluster.get(PODS, name, namespace or "default"))
        except NotFound as error:
            raise LabError(f"there is no pod {name} in namespace {namespace or 'default'}") from error
        return self.names.pod(found["metadata"]["uid"])

    def down(self) -> bool:
        """Leave nothing. Whether there was anything: it may be repeated, and called after a crash of anything."""
        return teardown.tear_down(self.names)

    def up(self, nodes: int = DEFAULT_NODES, *, standin: bool = True, tls: bool = False, dpdk: int = 0) -> None:
        """Start everything and wait until it works; on any failure, take all of it down again.

        With ``tls``, everybody speaks TLS with OVN, and ovn-controllers may write only what is theirs. The switches of
        the first ``dpdk`` nodes have DPDK.

        Raises LabError if it is there already, else whatever failed, with the last words of the process.
        """
        if os.geteuid():
            raise LabError("a lab needs root, for network namespaces")
        if teardown.exists(self.names):
            raise LabError(f"lab {self.name} is there already: `virtnet lab down --name {self.name}` first")
        try:
            if tls:
                Authority(self.names.ovn_pki).root  # noqa: B018 - made by being asked for
            if dpdk:
                hold_pages(self.name, dpdk)
            self._up([Node(self.names.node(one), dpdk=one <= dpdk) for one in range(1, nodes + 1)], standin=standin)
        except BaseException:
            self.down()
            raise

    def _up(self, nodes: list[Node], *, standin: bool) -> None:
        progress = Progress(self.say)
        central, names = self.central, [node.names for node in nodes]
        with progress.step("guest image"):
            image = guest_image()
        with progress.step("networks"):
            self.names.central_state.mkdir(parents=True)
            central.wire()
            self.physical.wire()
            for node in nodes:
                node.wire()
                self.physical.plug(node.names)
            # Describing them makes the authority and the certificates, which two threads would do twice.
            central.daemons  # noqa: B018
        with ThreadPoolExecutor(max_workers=2) as others:
            with progress.step("control plane"):
                # Meanwhile: OVN waits for nobody.
                switches = others.submit(_start_switches, central, self.physical, nodes)
                central.control_plane.start()
            with progress.step("kinds and rights"):
                self.ask(contents.definitions)
                self.ask(lambda cluster: contents.nodes(cluster, nodes))
                self._write_identities(names)
            with progress.step("OVN and switches"):
                switches.result()
        with progress.step("virtnet: webhook, controller, node daemons"):
            self._start_virtnet(central, nodes)
        self._write_record(nodes, image)
        if standin:
            with progress.step("stand-in"):
                central.start_standin()
        self.say(f"lab {self.name} is up after {progress.total}")

    def _start_virtnet(self, central: Central, nodes: list[Node]) -> None:
        controller = central.daemons["controller"]
        for daemon in (controller, *(node.virtnet for node in nodes)):
            daemon.start()
        central.start_webhook()
        authority = central.control_plane.authority.root.certificate.read_bytes()
        self.ask(lambda cluster: contents.webhooks(cluster, authority))
        wait(controller, partial(self._there, CLUSTER_VPCS, "default"), "it leads", seconds=60)
        for node in nodes:
            node.wait_for_virtnet()
            wait(node.virtnet, partial(self._there, NODE_NETWORKS, node.name), "its NodeNetwork is there", seconds=60)

    def _there(self, kind: Kind, name: str) -> bool:
        try:
            self.ask(lambda cluster: cluster.get(kind, name))
        except NotFound:
            return False
        return True

    def _write_identities(self, names: list[NodeNames]) -> None:
        plane = self.central.control_plane
        accounts = [(account, account, "") for account in identities.ACCOUNTS]
        accounts += [(node.identity, identities.NODE_ACCOUNT, node.name) for node in names]
        with ThreadPoolExecutor(max_workers=4) as pool:
            tokens = pool.map(lambda who: identities.token(plane, who[1], node=who[2]), accounts)
            for (name, _, _), token in zip(accounts, tokens, strict=True):
                identities.write_kubeconfig(plane, name, token)

    def _write_record(self, nodes: list[Node], image: Image) -> None:
        kubeconfigs = {path.stem: str(path) for path in sorted(self.names.kubeconfig().parent.glob("*.yaml"))}
        record = {
            "name": self.name,
            "nodes": {
                node.name: {
                    "number": node.names.number,
                    "netns": node.netns,
                    "cni_bin": str(node.names.cni_bin),
                    "kubelet": str(node.names.kubelet),
                    "chassis": node.names.chassis,
                    "dpdk": node.dpdk,
                }
                for node in nodes
            },
            "kubeconfigs": kubeconfigs,
            "image": {"kernel": str(image.kernel), "initrd": str(image.initrd)},
        }
        self.names.record.write_text(json.dumps(record, indent=2) + "\n")

    def _must_be_up(self) -> None:
        if not self.is_up:
            raise LabError(f"lab {self.name} is not up: `virtnet lab up --name {self.name}`")


def _start_switches(central: Central, physical: Physical, nodes: list[Node]) -> None:
    central.ovn.start()
    physical.start([node.names for node in nodes])
    for node in nodes:
        node.start_switch()
