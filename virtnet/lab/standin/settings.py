"""What the stand-in knows of the lab it lives in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from virtnet.lab.names import LabNames


@dataclass(frozen=True)
class StandinNode:
    """Where a node's pods get their NICs from."""

    name: str
    number: int
    netns: str
    cni_bin: Path
    kubelet: Path
    """Where its kubelet keeps the volumes of pods."""

    @property
    def address(self) -> str:
        """What pods of this node have as their hostIP."""
        return f"172.31.0.{10 + self.number}"


@dataclass(frozen=True)
class StandinSettings:
    """Read once at the start."""

    lab: LabNames
    state: Path
    kubeconfig: str
    nodes: dict[str, StandinNode]
    kernel: Path
    initrd: Path
    cmdline: str

    @classmethod
    def load(cls, lab: str, state: Path) -> Self:
        """From the record that the lab keeps in its state directory. Raises OSError, KeyError when it is not there."""
        record = json.loads((state / "lab.json").read_text())
        nodes = {
            name: StandinNode(name, node["number"], node["netns"], Path(node["cni_bin"]), Path(node["kubelet"]))
            for name, node in record["nodes"].items()
        }
        image, kubeconfigs = record["image"], record["kubeconfigs"]
        return cls(
            lab=LabNames(lab),
            state=state,
            kubeconfig=kubeconfigs.get("standin") or kubeconfigs["admin"],
            nodes=nodes,
            kernel=Path(image["kernel"]),
            initrd=Path(image["initrd"]),
            cmdline=image.get("cmdline") or "console=ttyS0 quiet panic=-1 random.trust_cpu=on",
        )

    def empty_dir(self, node: str, uid: str, name: str) -> Path:
        """A volume of a pod, as its node sees it."""
        return self.pod_volumes(node, uid) / "volumes/kubernetes.io~empty-dir" / name

    def pod_volumes(self, node: str, uid: str) -> Path:
        """What a node's kubelet keeps of a pod."""
        return self.nodes[node].kubelet / "pods" / uid

    def pod_state(self, uid: str) -> Path:
        """What is kept of a pod: its sandbox, its QEMU's sockets and logs."""
        return self.state / "pods" / uid

    def migration_record(self, uid: str) -> Path:
        return self.state / "migrations" / f"{uid}.json"
