"""KubeVirt's layout in a launcher pod's network namespace."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from virtnet.lab.standin.binding import bind
from virtnet.lab.standin.command import CommandError

pytestmark = pytest.mark.system

NETNS = f"vn-bindtest{os.getpid()}"
INTERFACE, GUEST = "pod16477688c0e", "02:00:00:00:00:01"


@pytest.fixture
def pod() -> Iterator[str]:
    """With a NIC that a CNI plugin has made: it has the guest's MAC and is up."""
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    try:
        ip("link", "add", "host", "mtu", "1342", "type", "veth", "peer", "name", INTERFACE, "address", GUEST)
        ip("link", "set", INTERFACE, "mtu", "1342", "up")
        yield NETNS
    finally:
        subprocess.run(["ip", "netns", "delete", NETNS], check=True)


def ip(*words: str) -> None:
    subprocess.run(["ip", "-n", NETNS, *words], check=True)


def links() -> dict[str, dict[str, Any]]:
    out = subprocess.run(["ip", "-n", NETNS, "-json", "-details", "link", "show"], check=True, capture_output=True)
    return {link["ifname"]: link for link in json.loads(out.stdout)}


async def test_the_nic_and_the_tap_are_in_a_bridge(pod: str) -> None:
    wire = await bind(pod, INTERFACE, "blue", GUEST)
    assert (wire.tap, wire.mac, wire.mtu, wire.network) == ("tap16477688c0e", GUEST, 1342, "blue")
    made = links()
    nic, tap, bridge = made["16477688c0e-nic"], made["tap16477688c0e"], made["k6t-16477688c0e"]
    assert nic["master"] == tap["master"] == "k6t-16477688c0e"
    assert nic["address"] == bridge["address"] != GUEST
    assert {nic["mtu"], tap["mtu"], bridge["mtu"]} == {1342}
    assert not nic["linkinfo"]["info_slave_data"]["learning"]
    assert tap["linkinfo"]["info_slave_data"]["learning"]
    assert all("UP" in link["flags"] for link in (nic, tap, bridge))
    assert bridge["linkinfo"]["info_data"]["stp_state"] == 0


async def test_the_name_and_the_mac_stay_on_a_link_that_is_silent(pod: str) -> None:
    await bind(pod, INTERFACE, "blue", GUEST)
    left = links()[INTERFACE]
    assert left["address"] == GUEST
    assert "UP" not in left["flags"]


async def test_it_can_begin_anew(pod: str) -> None:
    await bind(pod, INTERFACE, "blue", GUEST)
    before = set(links())
    await bind(pod, INTERFACE, "blue", GUEST)
    assert set(links()) == before
    ip("link", "delete", INTERFACE)
    await bind(pod, INTERFACE, "blue", GUEST)
    assert set(links()) == before


async def test_a_missing_nic_is_named(pod: str) -> None:
    ip("link", "delete", INTERFACE)
    with pytest.raises(CommandError, match=f"pod link {INTERFACE} is missing"):
        await bind(pod, INTERFACE, "blue", GUEST)
