"""A virtual address as a real OVN keeps it: who may send from it, and who gets what is sent to it."""

import asyncio
import socket
import subprocess
from collections.abc import Mapping, Sequence

import pytest

from tests.attach.real_pods import attached, commit
from tests.attach.rig import Node, eventually
from tests.topology.samples import VPC, Range, port, subnet
from virtnet.handoff.options import ChassisOptions
from virtnet.lab import netns
from virtnet.lab.ovn_central import OvnCentral
from virtnet.topology.compile import port_rows, subnet_rows, vpc_rows

PODS = {"one": 11, "two": 12, "peer": 13}
BLUE = subnet("vips")
VIP = "10.10.0.250"


async def written(ovn: OvnCentral, allowed: Mapping[str, Sequence[str]]) -> None:
    rows = [*vpc_rows(VPC), *subnet_rows(BLUE, Range.of(BLUE))]
    for name, number in PODS.items():
        rows += port_rows(port(BLUE, number, f"{name}.blue"), BLUE, ChassisOptions(), allowed.get(name, ()))
    await commit(ovn, rows)


@pytest.fixture
def pods(node: Node, real_ovn: OvnCentral) -> dict[str, str]:
    """The pods' network namespaces."""
    asyncio.run(written(real_ovn, {}))
    return attached(node, BLUE, PODS)


def ip(where: str, *words: str) -> None:
    subprocess.run(["ip", "-n", where, *words], check=True)


def answers(pods: Mapping[str, str], owner: str) -> bool:
    """Whether the peer gets an answer from the virtual address, which one of the others has."""
    (interface,) = [name for _, name in netns.inside(pods[owner], socket.if_nameindex) if name != "lo"]
    ip(pods[owner], "address", "add", f"{VIP}/32", "dev", interface)
    ip(pods["peer"], "neighbour", "flush", "all")
    try:
        command = ["ip", "netns", "exec", pods["peer"], "ping", "-c", "1", "-W", "1", VIP]
        return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    finally:
        ip(pods[owner], "address", "del", f"{VIP}/32", "dev", interface)


def test_who_is_allowed_a_virtual_address_may_have_it_and_nobody_else(
    real_ovn: OvnCentral, pods: dict[str, str]
) -> None:
    assert not answers(pods, "one")
    asyncio.run(written(real_ovn, {"one": [f"{VIP}/32"], "two": ["10.10.0.240/28"]}))
    eventually(lambda: answers(pods, "one"), "it may have the address")
    eventually(lambda: answers(pods, "two"), "it moves to another, which may have its network")
    asyncio.run(written(real_ovn, {"one": [f"{VIP}/32"]}))
    assert not answers(pods, "two")
    eventually(lambda: answers(pods, "one"), "the first has it still")
