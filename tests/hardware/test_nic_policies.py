"""Policies on real drivers: igb and netdevsim; iproute2 and sysfs say what they have."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attach.kubelet import Kubelet
from tests.attach.samples import journaled
from tests.hardware.igb import PCI, Igb
from tests.hardware.netdevsim import DEVICE, netdevsim, set_mode
from tests.nic_policies.rig import no_switch
from virtnet.api import ConfiguredNic, PlacedNicPolicy
from virtnet.lab.netns import run
from virtnet.node.allocations import Allocations
from virtnet.node.devices.reading import SYSFS, read
from virtnet.node.journal import Journal
from virtnet.node.netns import inside
from virtnet.node.nic_policies.connectivity import Connectivity
from virtnet.node.nic_policies.kernel import NicKernel
from virtnet.node.nic_policies.plan import PfNow, PfStep
from virtnet.node.nic_policies.reconciler import NicPolicyReconciler, Surroundings
from virtnet.node.nic_policies.records import NicRecords

HERE = "/proc/self/ns/net"


def part_of_daemon(state: Path) -> NicPolicyReconciler:
    surroundings = Surroundings(
        NicKernel(HERE, SYSFS),
        Journal(state / "attachments"),
        Allocations(state / "kubelet.sock"),
        Connectivity(HERE, lambda _: "", lambda: (), "127.0.0.1"),
        no_switch,
    )
    return NicPolicyReconciler(surroundings, NicRecords(state / "nic-policies"), lambda: None)


@asynccontextmanager
async def daemon(state: Path) -> AsyncIterator[NicPolicyReconciler]:
    """It, and a kubelet that has given nothing to anybody unless ``allotted.json`` says so."""
    allotted, kubelet = state / "allotted.json", state / "kubelet.sock"
    if not allotted.exists():
        allotted.write_text("{}")
    kubelet.unlink(missing_ok=True)
    policies = part_of_daemon(state)
    async with Kubelet(allotted).serving(kubelet):
        yield policies
    policies.records.close()
    policies.around.journal.close()


async def told(policies: NicPolicyReconciler, *wanted: PlacedNicPolicy) -> dict[str, ConfiguredNic]:
    """What is said of the NICs of policies, by their addresses, once these have been followed."""
    found = await inside(HERE, lambda _: read())
    policies.found = lambda: found
    policies.want(wanted)
    await policies.reconcile()
    return {nic.address: nic for status in (policies.statuses or {}).values() for nic in status.nics}


def policy(pf: Igb, **says: Any) -> PlacedNicPolicy:
    return PlacedNicPolicy.model_validate({"name": "fast", "nics": {"addresses": [pf.address]}, **says})


def has(pf: Igb) -> tuple[int, int, bool]:
    """Its virtual functions, its MTU, and whether it is up."""
    (shown,) = json.loads(run("ip", "-details", "-json", "link", "show", pf.interface))
    return len(shown.get("vfinfo_list", ())), shown["mtu"], "UP" in shown["flags"]


async def test_a_nic_becomes_what_its_policy_says_and_what_it_was(pf: Igb, tmp_path: Path) -> None:
    run("ip", "link", "set", pf.interface, "down")
    async with daemon(tmp_path) as policies:
        assert (await told(policies, policy(pf, vfs=1, mtu=2000)))[pf.address].ready
        assert has(pf) == (1, 2000, True)
        assert (await told(policies, policy(pf, vfs=2)))[pf.address].ready
        assert has(pf) == (2, 1500, True)
    async with daemon(tmp_path) as policies:
        assert await told(policies) == {}
        assert has(pf) == (0, 1500, False)


def vf_drivers(pf: Igb) -> list[str]:
    """Of each virtual function."""
    return [(PCI / "devices" / pf.vf(number) / "driver").resolve().name for number in range(pf.vfs)]


async def test_virtual_functions_have_the_driver_that_is_said(pf: Igb, tmp_path: Path) -> None:
    async with daemon(tmp_path) as policies:
        nic = (await told(policies, policy(pf, vfs=2, vf_driver="vfio-pci")))[pf.address]
        assert (nic.ready, nic.vf_driver, vf_drivers(pf)) == (True, "vfio-pci", ["vfio-pci"] * 2)
        assert await told(policies) == {}
        assert pf.vfs == 0
        pf.set_vfs(2)
        assert (await told(policies, policy(pf, vf_driver="vfio-pci")))[pf.address].ready
        assert vf_drivers(pf) == ["vfio-pci"] * 2
        assert await told(policies) == {}
        assert vf_drivers(pf) == ["igbvf"] * 2
        nic = (await told(policies, policy(pf, vf_driver="nosuch")))[pf.address]
        assert (nic.reason, "the kernel has no driver nosuch: load its module" in nic.message) == ("Refused", True)
        assert vf_drivers(pf) == ["igbvf"] * 2
    pf.set_vfs(0)


@pytest.mark.parametrize(
    ("says", "reason", "part"),
    [
        ({"vfs": 8}, "TooManyVfs", "can have 7 VFs, not 8;"),
        ({"eswitch_mode": "switchdev"}, "NoEswitch", "driver igb of "),
        ({"mtu": 20000}, "MtuOutOfRange", "not 20000;"),
        ({"vfs": 2, "externally_managed": True}, "Differs", "has 0 VFs, not 2;"),
    ],
)
async def test_what_cannot_be_is_said_and_nothing_is_done(
    pf: Igb, tmp_path: Path, says: dict[str, Any], reason: str, part: str
) -> None:
    before = has(pf)
    async with daemon(tmp_path) as policies:
        nic = (await told(policies, policy(pf, **says)))[pf.address]
        assert (nic.reason, part in nic.message) == (reason, True), nic.message
        assert has(pf) == before


async def test_a_virtual_function_in_use_is_not_reset(pf: Igb, tmp_path: Path) -> None:
    async with daemon(tmp_path) as policies:
        await told(policies, policy(pf, vfs=2))
        device = pf.vf(1)
        (tmp_path / "allotted.json").write_text(json.dumps({"demo/db": [device]}))
        nic = (await told(policies, policy(pf, vfs=3)))[pf.address]
        assert (nic.reason, f"VF 1 of {pf.interface} ({device}) is pod demo/db's" in nic.message) == ("VfInUse", True)
        (tmp_path / "allotted.json").write_text("{}")
        entry = await policies.around.journal.write(journaled(device=device, pod_name="web"))
        nic = (await told(policies))[pf.address]
        assert (nic.reason, "pod demo/web's" in nic.message) == ("VfInUse", True)
        assert has(pf)[0] == 2
        await policies.around.journal.remove(entry.id)
        assert await told(policies) == {}
        assert has(pf)[0] == 0


async def test_the_nodes_own_nic_is_left_alone(pf: Igb, tmp_path: Path) -> None:
    run("ip", "address", "add", "10.77.0.2/24", "dev", pf.interface)
    run("ip", "route", "add", "default", "via", "10.77.0.1", "dev", pf.interface, "metric", "5000")
    try:
        async with daemon(tmp_path) as policies:
            nic = (await told(policies, policy(pf, vfs=3)))[pf.address]
            assert (nic.reason, "has a default route of the node" in nic.message) == ("CarriesNode", True)
            assert has(pf)[0] == 0
    finally:
        run("ip", "address", "flush", "dev", pf.interface)


@pytest.mark.parametrize("death", range(3))
def test_killed_between_any_two_steps(pf: Igb, tmp_path: Path, death: int) -> None:
    """A process that is killed before a step leaves all that the next one needs to put the NIC back."""
    run("ip", "link", "set", pf.interface, "down")
    before = has(pf)
    child = os.fork()
    if not child:
        try:
            asyncio.run(_die(pf, tmp_path, death))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert (has(pf) == before) == (death == 0)

    async def undo() -> None:
        async with daemon(tmp_path) as policies:
            assert await told(policies) == {}
            assert (has(pf), len(policies.records)) == (before, 0)

    asyncio.run(undo())


async def _die(pf: Igb, state: Path, death: int) -> None:
    do = NicKernel._do
    done: list[PfStep] = []

    def dying(kernel: NicKernel, netlink: object, now: PfNow, step: PfStep) -> None:
        if len(done) == death:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(step)
        do(kernel, netlink, now, step)

    NicKernel._do = dying  # type: ignore[method-assign, assignment]
    await told(part_of_daemon(state), policy(pf, vfs=1, mtu=2000))


@pytest.mark.parametrize(("before", "vfs"), [("legacy", 0), ("switchdev", 2)])
async def test_the_mode_of_an_eswitch(tmp_path: Path, before: str, vfs: int) -> None:
    """By devlink's word; representors are there for as many virtual functions as are asked for."""
    with netdevsim(vfs):
        set_mode(before)
        found = shown()
        async with daemon(tmp_path) as policies:
            for says in ({"vfs": 3}, {"vfs": 4, "eswitchMode": "switchdev"}, {"eswitchMode": "legacy"}):
                wanted = {"name": "fast", "nics": {"drivers": ["netdevsim"]}, **says}
                nic = (await told(policies, PlacedNicPolicy.model_validate(wanted)))[DEVICE]
                assert nic.ready, (says, nic.message)
                mode, count, representors = shown()
                assert (nic.eswitch_mode, nic.vfs) == (mode, count)
                assert (mode, count) == (says.get("eswitchMode", before), says.get("vfs", vfs))
                assert representors == (count if mode == "switchdev" else 0)
        async with daemon(tmp_path) as policies:
            assert await told(policies) == {}
        assert shown() == found


def shown() -> tuple[str, int, int]:
    """The eswitch's mode, and how many virtual functions and representors there are."""
    mode = json.loads(run("devlink", "--json", "dev", "eswitch", "show", DEVICE))["dev"][DEVICE]["mode"]
    ports = json.loads(run("devlink", "--json", "port", "show"))["port"]
    numvfs = (Path("/sys/bus") / DEVICE.replace("/", "/devices/") / "sriov_numvfs").read_text()
    return (
        mode,
        int(numvfs),
        sum(name.startswith(f"{DEVICE}/") and one["flavour"] == "pcivf" for name, one in ports.items()),
    )
