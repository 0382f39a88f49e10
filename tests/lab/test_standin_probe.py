"""The prober against a peer in another network namespace that loses what the test wants."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attach.rig import eventually
from virtnet.lab.probe import Echoes

pytestmark = pytest.mark.system

NEAR, FAR = "vn-probetest-near", "vn-probetest-far"
ADDRESS, ADDRESS6 = "192.0.2.2", "2001:db8::2"

ECHO = f"""
import socket
server = socket.create_server(("{ADDRESS}", 7))
print("up", flush=True)
link, _ = server.accept()
received = 0
while data := link.recv(65536):
    link.sendall(data)
    received += len(data)
    if received >= 260 and received - len(data) < 260:
        print("twenty lines", flush=True)
"""

LOST = 100
"""How many echo requests go out while the link is down."""


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@pytest.fixture
def peers() -> Iterator[None]:
    for netns in (NEAR, FAR):
        run("ip", "netns", "add", netns)
    try:
        run("ip", "-n", NEAR, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", FAR)
        for netns, name, address in ((NEAR, "near", "192.0.2.1"), (FAR, "far", ADDRESS)):
            run("ip", "-n", netns, "address", "add", f"{address}/24", "dev", name)
            run("ip", "-n", netns, "address", "add", f"2001:db8::{address[-1]}/64", "dev", name, "nodad")
            run("ip", "-n", netns, "link", "set", name, "address", f"02:00:00:00:00:0{address[-1]}", "up")
        for address in (ADDRESS, ADDRESS6):
            # One that is asked for while a link comes up may be asked for again only after a second.
            neighbour = ("neighbour", "replace", address, "lladdr", f"02:00:00:00:00:0{address[-1]}", "dev", "near")
            run("ip", "-n", NEAR, *neighbour, "nud", "permanent")
            run("ip", "netns", "exec", NEAR, "ping", "-q", "-c", "1", "-w", "10", address)
        yield
    finally:
        for netns in (NEAR, FAR):
            run("ip", "netns", "delete", netns)


def start(netns: str, *arguments: str) -> subprocess.Popen[str]:
    command = ["ip", "netns", "exec", netns, sys.executable, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def probe(*arguments: str) -> subprocess.Popen[str]:
    return start(NEAR, "-m", "virtnet.lab.probe", *arguments)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(process.communicate(timeout=10)[0])
    return found


def echoes(address: str = ADDRESS, netns: str = FAR, counter: str = "InEchos") -> int:
    """How many echo requests the far end's kernel has had; or what else the kernel of a namespace has counted."""
    table = "/proc/net/snmp6" if ":" in address else "/proc/net/snmp"
    command = ["ip", "netns", "exec", netns, "cat", table]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    if ":" in address:
        return next(int(line.split()[1]) for line in lines if line.startswith(f"Icmp6{counter} "))
    names, values = (line.split() for line in lines if line.startswith("Icmp:"))
    return int(values[names.index(counter)])


def more_echoes(count: int, address: str = ADDRESS) -> None:
    """Until the far end has had so many more."""
    before = echoes(address)
    eventually(lambda: echoes(address) - before >= count, f"{count} more echo requests")


def more_sent(count: int) -> None:
    """Until the near end has sent so many more, wherever they went."""
    before = echoes(netns=NEAR, counter="OutEchos")
    eventually(lambda: echoes(netns=NEAR, counter="OutEchos") - before >= count, f"{count} echo requests sent")


def test_a_gap_is_seen_as_long_as_it_was(peers: None) -> None:
    process = probe("icmp", ADDRESS, "--interval-ms", "2")
    more_echoes(100)
    run("ip", "-n", FAR, "link", "set", "far", "down")
    downed = time.time()
    more_sent(LOST)
    upped = time.time()
    run("ip", "-n", FAR, "link", "set", "far", "up")
    more_echoes(700)  # a probe of the last second does not count as lost yet
    found = result(process)
    assert found["gap_ms"] >= (upped - downed) * 1000
    assert found["lost"] >= LOST
    assert found["lost"] == pytest.approx(found["gap_ms"] / 2, rel=0.15, abs=10)  # one probe every 2 ms
    assert found["duplicates"] == 0
    assert found["sent"] > found["lost"]
    assert found["gap_at"] <= downed
    assert found["gap_at"] + found["gap_ms"] / 1000 >= upped


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6])
def test_nothing_is_lost_on_a_good_link(peers: None, address: str) -> None:
    process = probe("icmp", address, "--interval-ms", "1")
    more_echoes(1600, address)  # those of the last second do not count as lost yet
    process.terminate()
    found = result(process)
    assert found["lost"] == found["duplicates"] == 0
    assert found["sent"] >= 1600


def test_a_stream_comes_back_in_order_and_dies_with_its_peer(peers: None) -> None:
    server = start(FAR, "-c", ECHO)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    process = probe("tcp", ADDRESS, "--port", "7")
    assert server.stdout.readline() == "twenty lines\n"
    found = result(process)
    assert found["survived"]
    assert found["lines"] >= 20
    assert found["bytes"] == found["lines"] * 13
    server.communicate()

    server = start(FAR, "-c", ECHO)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    process = probe("tcp", ADDRESS)
    assert server.stdout.readline() == "twenty lines\n"
    server.kill()
    server.communicate()
    assert not result(process)["survived"]


def listens(netns: str) -> bool:
    """Whether somebody has a packet socket there."""
    command = ["ip", "netns", "exec", netns, "cat", "/proc/net/packet"]
    return len(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()) > 1


def test_frames_have_the_time_at_which_they_went_out(peers: None) -> None:
    process = start(FAR, "-m", "virtnet.lab.probe", "frames", "--interface", "far", "--source-ip", ADDRESS)
    eventually(lambda: listens(FAR), "the frames watched")
    began = time.time()
    other = probe("icmp", ADDRESS, "--interval-ms", "50")
    more_echoes(10)
    result(other)
    frames = result(process)
    times = frames["times"]
    assert len(times) >= 5
    assert began <= times[0] <= times[-1] <= time.time()
    assert len(frames["sent"]) >= len(times), "and the answers, which go the other way"


def test_what_counts_as_lost() -> None:
    echoes = Echoes()
    for number in range(4):
        echoes.send(number, float(number))
    echoes.answer(0, 0.1)
    echoes.answer(2, 2.1)
    echoes.answer(2, 2.2)
    found = echoes.result(3.5)  # 3 was sent half a second before the end
    assert (found["sent"], found["lost"], found["duplicates"], found["gap_ms"]) == (4, 1, 1, 2000.0)
