"""The prober against a peer in another network namespace that loses what the test wants."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from virtnet.lab.probe import Echoes

pytestmark = pytest.mark.system

NEAR, FAR = "vn-probetest-near", "vn-probetest-far"
ADDRESS, ADDRESS6 = "192.0.2.2", "2001:db8::2"

ECHO = f"""
import socket
server = socket.create_server(("{ADDRESS}", 7))
print("up", flush=True)
link, _ = server.accept()
while data := link.recv(65536):
    link.sendall(data)
"""


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


def test_a_gap_is_seen_as_long_as_it_was(peers: None):
    process = probe("icmp", ADDRESS, "--interval-ms", "2")
    time.sleep(0.7)
    began = time.time()
    run("ip", "-n", FAR, "link", "set", "far", "down")
    downed = time.time()
    time.sleep(0.2)
    run("ip", "-n", FAR, "link", "set", "far", "up")
    time.sleep(1.5)
    found = result(process)
    assert found["gap_ms"] > 150
    assert found["lost"] == pytest.approx(found["gap_ms"] / 2, rel=0.15, abs=10)  # one probe every 2 ms
    assert found["duplicates"] == 0
    assert found["sent"] > found["lost"]
    assert began - 0.1 <= found["gap_at"] <= downed


@pytest.mark.parametrize("address", [ADDRESS, ADDRESS6])
def test_nothing_is_lost_on_a_good_link(peers: None, address: str):
    process = probe("icmp", address, "--interval-ms", "1")
    time.sleep(1.6)
    process.terminate()
    found = result(process)
    assert found["lost"] == found["duplicates"] == 0
    assert found["sent"] >= 1000


def test_a_stream_comes_back_in_order_and_dies_with_its_peer(peers: None):
    server = start(FAR, "-c", ECHO)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    process = probe("tcp", ADDRESS, "--port", "7")
    time.sleep(0.6)
    found = result(process)
    assert found["survived"]
    assert found["lines"] >= 20
    assert found["bytes"] == found["lines"] * 13
    server.communicate()

    server = start(FAR, "-c", ECHO)
    assert server.stdout is not None
    assert server.stdout.readline() == "up\n"
    process = probe("tcp", ADDRESS)
    time.sleep(0.5)
    server.kill()
    server.communicate()
    assert not result(process)["survived"]


def test_frames_have_the_time_at_which_they_went_out(peers: None):
    process = start(FAR, "-m", "virtnet.lab.probe", "frames", "--interface", "far", "--source-ip", ADDRESS)
    time.sleep(0.4)
    began = time.time()
    other = probe("icmp", ADDRESS, "--interval-ms", "50")
    time.sleep(0.5)
    result(other)
    frames = result(process)
    times = frames["times"]
    assert len(times) >= 5
    assert began <= times[0] <= times[-1] <= time.time()
    assert len(frames["sent"]) >= len(times), "and the answers, which go the other way"


def test_what_counts_as_lost():
    echoes = Echoes()
    for number in range(4):
        echoes.send(number, float(number))
    echoes.answer(0, 0.1)
    echoes.answer(2, 2.1)
    echoes.answer(2, 2.2)
    found = echoes.result(3.5)  # 3 was sent half a second before the end
    assert (found["sent"], found["lost"], found["duplicates"], found["gap_ms"]) == (4, 1, 1, 2000.0)
