"""What keeps a node from serving vhost-user NICs: the first thing that is to go, with what to do; each is in the docs."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.attach.rig import REPOSITORY
from tests.attach.samples import attachment, journaled
from virtnet.api.node_devices import SwitchDpdk
from virtnet.node.devices.switch import has_mempools
from virtnet.node.dpdk import judged
from virtnet.node.nics.vhostuser import VhostUser
from virtnet.node.request import CniError
from virtnet.ovn.vswitch import Dpdk

SERVES = Dpdk("22.11.11", asked_for=True, initialized=True, serves_vhost_user=True)


@pytest.mark.parametrize(
    ("dpdk", "datapath", "there", "reason"),
    [
        (SERVES, "netdev", "huge_pages mempools", ""),
        (SERVES, "netdev", "huge_pages", "NoMempools"),
        (SERVES, "netdev", "mempools", ""),  # it has what it needs, whatever is left
        (Dpdk(), "netdev", "huge_pages mempools", "NoDpdk"),
        (replace(SERVES, asked_for=False, initialized=False), "netdev", "mempools", "DpdkOff"),
        (replace(SERVES, asked_for=False), "netdev", "huge_pages mempools", ""),  # until its next start
        (replace(SERVES, initialized=False), "netdev", "mempools", "NoHugePages"),
        (replace(SERVES, initialized=False), "netdev", "huge_pages mempools", "DpdkNotInitialized"),
        (replace(SERVES, serves_vhost_user=False), "netdev", "huge_pages mempools", "NoVhostUser"),
        (SERVES, "system", "huge_pages mempools", "KernelDatapath"),
    ],
)
def test_what_is_missing(dpdk: Dpdk, datapath: str, there: str, reason: str) -> None:
    found = judged(dpdk, datapath, huge_pages="huge_pages" in there, mempools="mempools" in there)
    assert (found.healthy, found.reason) == (not reason, reason)
    assert found.message in (REPOSITORY / "docs/vhostuser.md").read_text()


@pytest.mark.parametrize(
    ("loaded", "found"),
    [
        ("librte_eal.so.23.0 librte_mempool_ring.so.23.0", True),
        ("librte_eal.so.23.0 librte_mempool_stack.so.23.0", False),
        ("ovs-vswitchd", True),
    ],
)
def test_what_a_process_has_loaded(loaded: str, found: bool) -> None:
    maps = (f"7f2d-7f2e r--p 0 fe:00 7 /usr/lib/x86_64-linux-gnu/{name}" for name in loaded.split())
    assert has_mempools("\n".join(maps)) is found


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
