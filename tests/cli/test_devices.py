"""``virtnet node devices``: what people see."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.devices.sysfs import PF, Sysfs, bus_addresses, read
from virtnet.api.node_devices import HugePages, NodeDevices, SwitchDpdk, VdpaManagementDevice
from virtnet.cli.devices import show
from virtnet.cli.main import app


def shown(found: NodeDevices) -> list[str]:
    out = StringIO()
    show(found, Console(file=out, width=150))
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_a_table_and_what_is_wrong(tmp_path: Path) -> None:
    kernel = Sysfs(tmp_path / "sys")
    kernel.nic(PF, "ens1f0", total=8, operstate="down")
    kernel.vfs(PF, bus_addresses(0x3B, 3, first=16))
    found = NodeDevices(
        nics=read(kernel, {f"pci/{PF}": "legacy"}, "on").nics,
        vdpa_management_devices=(VdpaManagementDevice(name="vduse", max_virtqueues=2),),
        huge_pages=(HugePages(numa_node=0, size_kib=2048, total=576),),
        left_out=2,
        dpdk=SwitchDpdk(reason="NoDpdk", message="Open vSwitch is built without DPDK here"),
    )
    assert shown(found) == [
        "DEVICE INTERFACE DRIVER NUMA IOMMU LINK ESWITCH OFFLOAD VFS HEALTH",
        "0000:3b:00.0 ens1f0 ice 0 59 NoCarrier legacy on 3 of 8 NoCarrier",
        "0000:3b:02.0-0000:3b:02.2 iavf 1000-1002 0-2 UplinkDown",
        "0000:3b:00.0: ens1f0 has no carrier; look at its cable and at the port of the switch",
        "0000:3b:00.0 VF 0-2: the link of ens1f0 is down, so they reach nobody outside of this node",
        "vDPA management device vduse: 2 virtqueues at most",
        "Huge pages of 2048 KiB on NUMA node 0: 576",
        "vhost-user NICs: not served: Open vSwitch is built without DPDK here",
        "2 more NICs are left out.",
    ]


def test_a_switch_that_serves_vhost_user() -> None:
    served = NodeDevices(dpdk=SwitchDpdk(healthy=True, version="22.11.11", initialized=True))
    assert shown(served)[-1] == "vhost-user NICs: served, by DPDK 22.11.11"


def test_this_machine_as_json() -> None:
    ended = CliRunner().invoke(app, ["node", "devices", "-o", "json", "--ovsdb", "unix:/nowhere/db.sock"])
    assert ended.exit_code == 0
    assert NodeDevices.model_validate(json.loads(ended.stdout)).dpdk.reason == "OpenVSwitchAway"


@pytest.mark.parametrize("words", [["node"], ["node", "--node", ""]])
def test_a_daemon_without_a_node_says_what_to_name(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NODE_NAME", raising=False)
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 2
    assert "name the Kubernetes node, or set NODE_NAME" in ended.stderr
