"""No process of virtnet's has a right that it does not use, nor lacks one.

What they ask a real API server for while a lab does all that they serve, beside what manifests/rbac grants them.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.granted import Right, granted
from tests.lab.labs import running
from virtnet.api import AddressLease
from virtnet.kube import kinds
from virtnet.kube.errors import NotFound
from virtnet.lab import audit, manifests, migrate, netns
from virtnet.lab.demo.cluster import Demo, NotInTime, until
from virtnet.lab.demo.manifests import NAMESPACE, probe, vm
from virtnet.lab.lab import Lab

pytestmark = pytest.mark.lab

UNSEEN = {
    "virtnet-webhook get namespaces": "the lab's pod network is not virtnet's (tests/pinning/test_pod_network.py)",
    "virtnet-controller watch multi-networkpolicies.k8s.cni.cncf.io": "a lab has no such kind (tests/policies/world.py)",
    "virtnet-controller get ports.virtnet.dev": "where another made a Port of that name (tests/safety/test_names.py)",
}
"""What no lab shows, and what needs it."""

BY_CHANCE = {
    "virtnet-controller get addressleases.virtnet.dev": "where the news of a VM comes before that of its leases",
    "virtnet-node get nodenetworks.virtnet.dev": "while it is to let go of a port",
    "virtnet-controller patch nodenetworks.virtnet.dev/status": "where a chassis is missing (tests/lab/test_nodes.py)",
}
"""What a lab shows or does not: which of two watches tells first."""

HERE = Path(__file__).parent
LEASES = kinds.of(AddressLease)
GHOST, PHANTOM = "ghost", "phantom"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with running("usedrights", 2) as lab:
        documents = list(manifests.read(HERE / "used_rights.yaml"))
        lab.ask(lambda cluster: manifests.apply(cluster, documents))
        yield lab


class Commands:
    """The command line in a lab, with the rights of its own service account."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._environment = {**lab.environment(), "KUBECONFIG": str(lab.kubeconfig("virtnet-cli"))}

    def run(self, *words: str, fine: tuple[int, ...] = (0,)) -> None:
        ran = subprocess.run(
            self._lab.command([sys.executable, "-m", "virtnet.cli.main", *words]),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode in fine, f"{words}: {ran.stdout}{ran.stderr}"

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        command = self._lab.command([sys.executable, "-m", "virtnet.cli.main", *words])
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)


def asked(lab: Lab) -> set[audit.Request]:
    return audit.requests(lab.central.control_plane.state)


def unused(lab: Lab) -> list[Right]:
    requests = asked(lab)
    return [right for right in granted() if not any(map(right.covers, requests))]


def refused_by_the_schema(demo: Demo, name: str) -> None:
    """Admission has given it addresses by then."""
    body = vm(name)
    body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = "soon"
    assert "terminationGracePeriodSeconds" in demo.refusal(body)


def held_by(lab: Lab, vm: str) -> list[AddressLease]:
    items, _ = lab.ask(lambda cluster: cluster.list(LEASES))
    return [one for one in map(AddressLease.parse, items) if one.spec.holder.owner.name == vm]


def launcher(instance: str) -> dict[str, Any]:
    """A pod that says it runs a VM, with a NIC that the VM does not have."""
    owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": instance, "uid": "forged"}
    body = probe("node1", name=f"virt-launcher-{instance}")
    body["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    return body


def admission_is_asked(lab: Lab, demo: Demo) -> None:
    """What only manifests that are refused, or warned of, have the webhook look at."""
    address, _ = demo.pinned("db")
    networks = [{"name": one, "multus": {"networkName": f"{one}-net"}} for one in ("blue", "tiny")]
    interfaces: list[dict[str, Any]] = [{"name": one, "bridge": {}} for one in ("blue", "tiny")]
    two = vm("two", address="10.10.0.77")
    two["spec"]["template"]["spec"] |= {"networks": networks}
    two["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"] = interfaces
    assert "no IPv4 address is left" in demo.refusal(two)
    assert "is held by" in demo.refusal(vm("asks", address=address))
    for nad in ("nowhere", "nowhere-at-all"):
        body = vm("lost")
        body["spec"]["template"]["spec"]["networks"][0]["multus"]["networkName"] = nad
        assert "which does not exist" in demo.refusal(body)
    body["spec"]["template"]["spec"]["networks"][0]["multus"]["networkName"] = "no-nad"
    assert "does not exist" in demo.refusal(body)
    for instance in ("db", "nobody"):
        assert instance in demo.refusal(launcher(instance))


def what_is_lost_comes_back(lab: Lab) -> None:
    lease = next(one for one in held_by(lab, "db") if one.spec.address.startswith("10.10."))
    lab.ask(lambda cluster: cluster.delete(LEASES, lease.name))

    def back() -> bool:
        with suppress(NotFound):
            return bool(lab.ask(lambda cluster: cluster.get(LEASES, lease.name)))
        return False

    until(back, "the lease")


def lose_chassis(lab: Lab, node: str) -> None:
    """The controller says so of the node."""
    lab.daemon(f"{node}/ovn-controller").stop()
    names = lab.names
    southbound = f"--db={names.southbound}"
    netns.run("ovn-sbctl", southbound, "chassis-del", lab.nodes[node].names.chassis, netns=names.central)


def test_every_right_is_used_and_none_is_lacking(lab: Lab) -> None:
    demo, cli = Demo(lab), Commands(lab)
    for name in (GHOST, PHANTOM):
        refused_by_the_schema(demo, name)
    demo.apply(vm(GHOST))
    until(lambda: demo.node_of("db") and demo.pod_runs("kept"), "the VM and the pod")
    watching = cli.begin("migrations", "--watch")
    try:
        admission_is_asked(lab, demo)
        what_is_lost_comes_back(lab)
        to = "node2" if demo.node_of("db") == "node1" else "node1"
        lab.ask(lambda cluster: migrate.migrate(cluster, "db", NAMESPACE, to=to))
        for words in (("status",), ("ports",), ("migrations",)):
            cli.run(*words)
        databases = ("--northbound", lab.names.northbound, "--southbound", lab.names.southbound)
        cli.run("ovn", "diff", *databases, fine=(0, 1))
        demo.delete_vms("db", GHOST)
        lose_chassis(lab, "node2")
        until(lambda: not held_by(lab, PHANTOM), "what is held for nobody freed")
        with suppress(NotInTime):
            until(lambda: {str(right) for right in unused(lab)} <= UNSEEN.keys() | BY_CHANCE.keys(), "all rights used")
    finally:
        watching.terminate()
        watching.wait()
    rights, idle = granted(), {str(right) for right in unused(lab)}
    unneeded = sorted(idle - UNSEEN.keys() - BY_CHANCE.keys())
    assert not unneeded, "nobody has used:\n" + "\n".join(unneeded)
    needless = sorted((UNSEEN.keys() - idle) | (BY_CHANCE.keys() - set(map(str, rights))))
    assert not needless, "seen here after all, or granted no more:\n" + "\n".join(needless)
    lacking = sorted(str(one) for one in asked(lab) if not any(right.covers(one) for right in rights))
    assert not lacking, "asked for, and not granted:\n" + "\n".join(lacking)
