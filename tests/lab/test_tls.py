"""A lab in which OVN speaks TLS, and each ovn-controller may write only what is its own: VMs run and move as ever."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.lab import labs
from tests.lab.test_lab import GUEST, running
from virtnet.kube.client import Cluster
from virtnet.kube.kinds import VMIS
from virtnet.lab import manifests, netns
from virtnet.lab.databases import wait
from virtnet.lab.lab import Lab
from virtnet.lab.migrate import migrate

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.running("testtls", 2, tls=True) as up:
        yield up


def chassis_of(lab: Lab, port: str) -> list[str]:
    """All that have it, by their names."""
    rows = lab.central.ovn.sbctl(
        *("--bare", "--columns=chassis,additional_chassis", "find", "Port_Binding", f"logical_port={port}")
    ).split()
    return [lab.central.ovn.sbctl("get", "Chassis", row, "name").strip().strip('"') for row in rows]


def bound_to(lab: Lab, chassis: str) -> bool:
    return chassis_of(lab, "default/db.blue") == [chassis]


def test_a_vm_is_migrated(lab: Lab, tmp_path: Path) -> None:
    """Both directions, so that the chassis of both nodes give up what they had and take what they had not."""
    (tmp_path / "vm.yaml").write_text(GUEST)
    lab.ask(lambda cluster: manifests.apply(cluster, manifests.read(tmp_path)))
    lab.ask(lambda cluster: running(cluster, "db"))

    async def node(cluster: Cluster) -> str:
        return str((await cluster.get(VMIS, "db", "default"))["status"]["nodeName"])

    for _ in range(2):
        before = lab.ask(node)
        lab.ask(lambda cluster: migrate(cluster, "db", "default"))
        after = lab.ask(node)
        assert after != before
        wait(lab.daemon("controller"), partial(bound_to, lab, f"chassis-{after}"), "it commits the handoff")
    for one in lab.nodes.values():
        assert "permission" not in one.daemons["ovn-controller"].log.read_text()


def test_nobody_comes_without_a_certificate(lab: Lab) -> None:
    for remote in (lab.names.northbound, lab.names.southbound, lab.names.chassis_southbound):
        with pytest.raises(netns.NetnsError):
            netns.run(
                *("ovsdb-client", "--timeout=3", "list-dbs", remote.replace("ssl:", "tcp:")), netns=lab.names.central
            )
