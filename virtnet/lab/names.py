"""What everything of a lab is called and where it is, for the lab and for the stand-in that lives in it.

Two labs never meet: each has its own network namespaces, in which the same addresses mean different things, and its own
state directory. Nothing is in the root network namespace.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/run/virtnet-lab")
NETNS = Path("/run/netns")

CENTRAL_ADDRESS = "172.31.0.1"
MANAGEMENT_PREFIX = 24
TUNNEL_PREFIX = 24
API_PORT = 6443
NORTHBOUND_PORT = 6641
SOUTHBOUND_PORT = 6642
UNRESTRICTED_SOUTHBOUND_PORT = 16642
"""Where OVN speaks TLS, 6642 is for ovn-controllers alone."""
WEBHOOK_PORT = 9443

MAX_NODES = 200

OTHER_MAKE = 3
"""The node whose NIC on the physical network has another name."""

NAMESPACE = "virtnet"
"""The Kubernetes namespace of the product's service accounts and Lease."""


class InvalidName(Exception):  # noqa: N818 - says what is wrong
    """A lab cannot have this name. The message says which it can."""


@dataclass(frozen=True)
class NodeNames:
    """One node of a lab."""

    lab: "LabNames"
    name: str
    number: int

    @property
    def netns(self) -> str:
        return f"{self.lab.prefix}{self.name}"

    @property
    def chassis(self) -> str:
        """Deliberately not the node's name: what confuses the two fails in the lab."""
        return f"chassis-{self.name}"

    @property
    def management_address(self) -> str:
        return f"172.31.0.{10 + self.number}"

    @property
    def tunnel_address(self) -> str:
        """The encap IP, on ``br-phy``."""
        return f"172.31.1.{10 + self.number}"

    @property
    def physical_nic(self) -> str:
        """The NIC on the physical network: one node's has another name, as on machines of another make."""
        return "enp9s0" if self.number == OTHER_MAKE else "phys1"

    @property
    def physical_addresses(self) -> tuple[str, ...]:
        """The node's own on the physical network, with their prefixes."""
        return f"172.31.2.{10 + self.number}/24", f"fd31:2::{10 + self.number}/64"

    @property
    def state(self) -> Path:
        """Pid files and logs of the node's processes."""
        return self.lab.state / self.name

    @property
    def rundir(self) -> Path:
        """OVS_RUNDIR and OVN_RUNDIR."""
        return self.state / "run"

    @property
    def ovsdb_socket(self) -> Path:
        return self.rundir / "db.sock"

    @property
    def ovsdb(self) -> str:
        """The local Open vSwitch database, as OVSDB clients name it."""
        return f"unix:{self.ovsdb_socket}"

    @property
    def cni_socket(self) -> Path:
        return self.state / "cni.sock"

    @property
    def cni_bin(self) -> Path:
        """The directory of CNI plugins; the one that is there is ``virtnet-cni``."""
        return self.state / "cni-bin"

    @property
    def kubelet(self) -> Path:
        """Where the kubelet keeps the volumes of pods."""
        return self.state / "kubelet"

    @property
    def journal(self) -> Path:
        """The node daemon's own state."""
        return self.state / "journal"

    @property
    def identity(self) -> str:
        """The name of the node daemon's kubeconfig."""
        return f"virtnet-node-{self.name}"


@dataclass(frozen=True)
class LabNames:
    """One lab. Raises InvalidName: a name has no hyphen, so that no lab's names begin like another's."""

    name: str = "lab"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,15}", self.name):
            raise InvalidName(f"a lab's name has 1 to 16 of a-z and 0-9 and begins with a letter, not {self.name!r}")

    @property
    def prefix(self) -> str:
        """How the names of all its network namespaces begin."""
        return f"vn-{self.name}-"

    @property
    def central(self) -> str:
        """The network namespace of everything that is not on a node."""
        return f"{self.prefix}central"

    @property
    def outside(self) -> str:
        """The network namespace of a machine on the physical network that is not of the cluster."""
        return f"{self.prefix}outside"

    def pod(self, uid: str) -> str:
        """The network namespace of a pod."""
        return f"{self.prefix}pod-{uid[:8]}"

    def node(self, number: int) -> NodeNames:
        """Nodes count from 1."""
        if not 1 <= number <= MAX_NODES:
            raise InvalidName(f"a lab has at most {MAX_NODES} nodes, not {number}")
        return NodeNames(self, f"node{number}", number)

    def existing_namespaces(self) -> Iterator[str]:
        """The network namespaces that are there."""
        for path in sorted(NETNS.glob(f"{self.prefix}*")):
            yield path.name

    @property
    def state(self) -> Path:
        return ROOT / self.name

    @property
    def record(self) -> Path:
        """``lab.json``: what a lab that is up consists of, for whoever finds it."""
        return self.state / "lab.json"

    @property
    def control_plane(self) -> Path:
        """State of etcd and kube-apiserver, with ``kubeconfigs/IDENTITY.yaml``."""
        return self.state / "control-plane"

    @property
    def central_state(self) -> Path:
        """Pid files, logs and databases of OVN central, the controller, the webhook and the stand-in."""
        return self.state / "central"

    @property
    def physical_state(self) -> Path:
        """Of the physical network's switch."""
        return self.state / "physical"

    def kubeconfig(self, identity: str = "admin") -> Path:
        return self.control_plane / "kubeconfigs" / f"{identity}.yaml"

    @property
    def ovn_pki(self) -> Path:
        """The authority of OVN's certificates. A lab has one exactly if its OVN speaks TLS."""
        return self.state / "ovn-pki"

    @property
    def tls(self) -> bool:
        return self.ovn_pki.is_dir()

    @property
    def northbound(self) -> str:
        return f"{self._scheme}:{CENTRAL_ADDRESS}:{NORTHBOUND_PORT}"

    @property
    def southbound(self) -> str:
        """For whoever is no ovn-controller."""
        port = UNRESTRICTED_SOUTHBOUND_PORT if self.tls else SOUTHBOUND_PORT
        return f"{self._scheme}:{CENTRAL_ADDRESS}:{port}"

    @property
    def chassis_southbound(self) -> str:
        """For ovn-controllers: with TLS they may do there what OVN's role of this name may, and nothing else."""
        return f"{self._scheme}:{CENTRAL_ADDRESS}:{SOUTHBOUND_PORT}"

    @property
    def _scheme(self) -> str:
        return "ssl" if self.tls else "tcp"
