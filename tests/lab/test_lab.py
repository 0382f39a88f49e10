"""Labs come up whole, stay apart, and leave nothing behind, whatever they died of."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import yaml

from tests.lab.labs import leftovers
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import NODES, VMIS
from virtnet.lab import manifests, netns, teardown
from virtnet.lab.daemon import DaemonError
from virtnet.lab.lab import Lab, LabError
from virtnet.lab.names import InvalidName, LabNames

system = pytest.mark.system

ONE, OTHER = "testone", "testother"

GUEST = """
apiVersion: virtnet.dev/v1alpha1
kind: Subnet
metadata: {name: blue}
spec: {cidrs: [10.0.0.0/24]}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: blue}
spec:
  config: '{"cniVersion": "1.1.0", "name": "blue", "type": "virtnet-cni", "subnet": "blue"}'
---
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: db}
spec:
  runStrategy: Always
  template:
    spec:
      domain:
        devices: {interfaces: [{name: blue, bridge: {}}]}
        memory: {guest: 128Mi}
      networks: [{name: blue, multus: {networkName: blue}}]
"""


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    for name in (ONE, OTHER):
        Lab(name).down()


def links() -> str:
    """The root namespace's own."""
    return netns.run("ip", "-oneline", "link")


async def running(cluster: Cluster, name: str) -> None:
    """Until the VM runs. Raises TimeoutError."""
    async with asyncio.timeout(90), aclosing(cluster.watch(VMIS, "default")) as changes:
        async for change, found in changes:
            if change == "SYNC":
                continue
            for vmi in found["items"] if change == "LISTED" else (found,):
                if vmi["metadata"]["name"] == name and vmi.get("status", {}).get("phase") == "Running":
                    return


def alive(pid: int) -> bool:
    """A process that nobody has waited for yet has ended all the same."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def cli(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "virtnet.cli.main", "lab", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["", "Lab", "a-b", "1lab", "a" * 17, "../x"])
def test_names_that_could_meet_another_labs_are_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="letter"):
        LabNames(name)


def test_what_is_not_up_says_how_to_bring_it_up() -> None:
    with pytest.raises(LabError, match="virtnet lab up --name testone"):
        Lab(ONE).daemon("controller")


def test_down_without_a_lab_is_nothing() -> None:
    assert not Lab(ONE).down()


@system
def test_two_labs_side_by_side() -> None:
    before = links()
    one, other = Lab(ONE), Lab(OTHER)
    one.up(2)
    other.up(1)
    assert cli("status", "--name", ONE).returncode == 0
    assert cli("status", "--name", OTHER).returncode == 0
    assert set(one.nodes) == {"node1", "node2"}
    assert set(other.nodes) == {"node1"}
    listed = cli("run", "--name", ONE, "--", "kubectl", "get", "nodes", "-o", "name")
    assert listed.stdout.split() == ["node/node1", "node/node2"]
    assert links() == before
    with pytest.raises(LabError, match="there already"):
        one.up(1)

    assert one.down()
    assert leftovers(ONE) == []
    assert cli("status", "--name", ONE).returncode == 1
    assert len(other.ask(lambda cluster: cluster.list(NODES))[0]) == 1

    one.up(1)
    assert set(one.nodes) == {"node1"}
    assert one.down()
    assert other.down()
    assert leftovers(ONE) + leftovers(OTHER) == []
    assert links() == before


@system
def test_down_after_everything_was_killed() -> None:
    lab = Lab(ONE)
    lab.up(2)
    for daemon in lab.daemons.values():
        daemon.kill()
    status = cli("status", "--name", ONE)
    assert status.returncode == 1
    assert "ended" in status.stdout
    assert lab.down()
    assert leftovers(ONE) == []
    assert not lab.down()


@pytest.mark.lab
@system
def test_down_with_a_guest_that_outlived_its_stand_in() -> None:
    lab = Lab(ONE)
    lab.up(1)
    lab.ask(lambda cluster: manifests.apply(cluster, yaml.safe_load_all(GUEST)))
    lab.ask(lambda cluster: running(cluster, "db"))
    lab.daemon("standin").kill()
    guests = netns.processes(name for name in lab.names.existing_namespaces() if "-pod-" in name)
    assert guests
    assert lab.down()
    assert leftovers(ONE) == []
    assert not [pid for pid in guests if alive(pid)]


@system
def test_down_after_its_files_were_lost() -> None:
    lab = Lab(ONE)
    lab.up(1)
    shutil.rmtree(lab.names.state)
    assert lab.down()
    assert leftovers(ONE) == []


@system
def test_down_after_up_was_killed_on_the_way() -> None:
    command = [sys.executable, "-m", "virtnet.cli.main", "lab", "up", "--name", ONE, "--nodes", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "networks" in line:
                up.send_signal(signal.SIGKILL)
    assert teardown.exists(LabNames(ONE))
    assert Lab(ONE).down()
    assert leftovers(ONE) == []


@system
def test_up_that_is_told_to_end_takes_down_what_it_began() -> None:
    command = [sys.executable, "-m", "virtnet.cli.main", "lab", "up", "--name", ONE, "--nodes", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "networks" in line:
                up.send_signal(signal.SIGTERM)
    assert up.returncode
    assert leftovers(ONE) == []


@system
def test_up_that_fails_says_why_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that ends at once, and has something to say."""
    broken = tmp_path / "kube-apiserver"
    broken.write_text("#!/bin/sh\necho no etcd in this house\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(DaemonError, match="no etcd in this house"):
        Lab(ONE).up(1)
    assert leftovers(ONE) == []
