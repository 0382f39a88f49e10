"""What the kubelet hears from the product's processes in a lab, while their surroundings come and go."""

import time
from collections.abc import Callable, Iterator
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.lab import labs
from virtnet.lab import netns
from virtnet.lab.daemon import Daemon
from virtnet.lab.lab import Lab

pytestmark = pytest.mark.lab

CONTROLLER, STANDBY, NODE = 9402, 9412, 9404


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with labs.running("testprobes", 1) as up:
        standby = up.central.controller("standby", "--metrics-port", str(STANDBY))
        standby.start()
        try:
            yield up
        finally:
            standby.stop()


def said(lab: Lab, port: int, path: str = "readyz") -> tuple[int, str]:
    """Status and text; 0 where nobody answers."""
    where = lab.nodes["node1"].netns if port == NODE else lab.names.central

    def ask() -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except (URLError, OSError) as error:
            return 0, str(error)

    return netns.inside(where, ask)


def until(lab: Lab, port: int, holds: Callable[[int, str], bool]) -> None:
    end = time.monotonic() + 90
    while not holds(*(answer := said(lab, port))):
        assert time.monotonic() < end, f"{port}: {answer}"
        time.sleep(0.2)


def ready(status: int, text: str) -> bool:
    return status == 200


def lacks(what: str) -> Callable[[int, str], bool]:
    return lambda status, text: status == 503 and what in text


def all_ready(lab: Lab) -> None:
    for port in (CONTROLLER, STANDBY, NODE):
        until(lab, port, ready)


@pytest.mark.parametrize(
    ("killed", "unhealthy"),
    [
        pytest.param("apiserver", {CONTROLLER: "API server", STANDBY: "API server", NODE: "API server"}, id="api"),
        pytest.param("nb", {CONTROLLER: "OVN_Northbound", STANDBY: "OVN_Northbound"}, id="northbound"),
        pytest.param(
            "sb",
            {CONTROLLER: "OVN_Southbound", STANDBY: "OVN_Southbound", NODE: "ovn-controller says"},
            id="southbound",
        ),
        pytest.param("node1/ovn-controller", {NODE: "ovn-controller does not answer"}, id="ovn-controller"),
        pytest.param("node1/ovsdb-server", {NODE: "Open vSwitch does not answer"}, id="ovs"),
    ],
)
def test_who_cannot_serve_says_why_and_lives(lab: Lab, killed: str, unhealthy: dict[int, str]) -> None:
    all_ready(lab)
    daemon = lab.daemon(killed)
    daemon.kill()
    try:
        for port, what in unhealthy.items():
            until(lab, port, lacks(what))
            assert said(lab, port, "livez") == (200, "ok\n")
        for port in {CONTROLLER, STANDBY, NODE} - unhealthy.keys():
            assert said(lab, port)[0] == 200
    finally:
        restart(lab, daemon)
    all_ready(lab)


def restart(lab: Lab, daemon: Daemon) -> None:
    daemon.start()
    if daemon.name == "kube-apiserver":
        lab.central.control_plane.wait_until_ready()


def test_a_standby_that_would_not_reach_ovn_is_not_ready(lab: Lab) -> None:
    """So that a rolling update to wrong settings stops before it has replaced who leads."""
    port = STANDBY + 1
    wrong = lab.central.controller("wrong", "--metrics-port", str(port), "--northbound", "tcp:172.31.0.1:1")
    wrong.start()
    try:
        until(lab, port, lacks("no schema of OVN_Northbound from tcp:172.31.0.1:1: Connection refused"))
        assert said(lab, port, "livez")[0] == 200
    finally:
        wrong.stop()
