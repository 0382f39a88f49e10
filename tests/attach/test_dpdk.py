"""What keeps a node from serving vhost-user NICs: the first thing that is to go, with what to do; each is in the docs."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.attach.rig import REPOSITORY
from tests.attach.samples import attachment, journaled
from virtnet.api.node_devices import SwitchDpdk
from virtnet.node.dpdk import judged
from virtnet.node.nics.vhostuser import VhostUser
from virtnet.node.request import CniError
from virtnet.ovn.vswitch import Dpdk

SERVES = Dpdk("22.11.11", asked_for=True, initialized=True, serves_vhost_user=True)


@pytest.mark.parametrize(
    ("dpdk", "datapath", "huge_pages", "reason"),
    [
        (SERVES, "netdev", True, ""),
        (SERVES, "netdev", False, ""),  # it has what it needs, whatever is left
        (Dpdk(), "netdev", True, "NoDpdk"),
        (replace(SERVES, asked_for=False, initialized=False), "netdev", False, "DpdkOff"),
        (replace(SERVES, asked_for=False), "netdev", True, ""),  # until its next start
        (replace(SERVES, initialized=False), "netdev", False, "NoHugePages"),
        (replace(SERVES, initialized=False), "netdev", True, "DpdkNotInitialized"),
        (replace(SERVES, serves_vhost_user=False), "netdev", True, "NoVhostUser"),
        (SERVES, "system", True, "KernelDatapath"),
    ],
)
def test_what_is_missing(dpdk: Dpdk, datapath: str, huge_pages: bool, reason: str) -> None:
    found = judged(dpdk, datapath, huge_pages=huge_pages)
    assert (found.healthy, found.reason) == (not reason, reason)
    assert found.message in (REPOSITORY / "docs/vhostuser.md").read_text()


def driver(tmp_path: Path, problem: str = "") -> VhostUser:
    switch = SwitchDpdk(healthy=not problem, message=problem)
    return VhostUser(lambda: switch, os.getpid, tmp_path / "vhost", tmp_path / "pods")


async def refusal(of: VhostUser) -> CniError:
    (step,) = of.plan(entry := journaled(attachment=attachment(nic="vhostuser")))
    with pytest.raises(CniError) as refused:
        await step.do(entry)
    await step.undo(entry)
    assert not list(of.sockets.glob("*"))
    return refused.value


async def test_a_node_that_cannot(tmp_path: Path) -> None:
    told = await refusal(driver(tmp_path, "buy one"))
    assert (told.code, str(told)) == (11, "port demo/db.blue: this node serves no vhost-user NICs: buy one")


async def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    told = await refusal(driver(tmp_path / ("x" * 100)))
    assert told.code == 4
    assert "bytes, and no more than 107 are taken" in str(told)
