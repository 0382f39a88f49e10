"""``virtnet node`` itself, as its pod runs it, on a node whose API server is away."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attach import away
from tests.attach.rig import REPOSITORY, Node, eventually, run


@pytest.fixture
def product(node_of_module: Node) -> Iterator[Node]:
    """The node with the product's own process."""
    node = node_of_module
    start(node)
    yield node
    node.daemon.stop()


def start(node: Node) -> None:
    run("ip", "-n", node.name, "link", "set", "lo", "up")
    for path in (node.state / "bin").iterdir():
        path.unlink()
    node.socket.unlink(missing_ok=True)
    node.background(
        "virtnet",
        *("ip", "netns", "exec", node.name, sys.executable, "-m", "virtnet.cli.main", "node"),
        *("--node", node.name, "--socket", str(node.socket), "--state-dir", str(node.state / "journal")),
        *("--ovsdb", node.ovsdb, "--cni-bin-dir", str(node.state / "bin"), "--metrics-port", "9404"),
        KUBECONFIG=away.kubeconfig(node.state),
        PYTHONPATH=str(REPOSITORY),
    )
    eventually(lambda: node.socket.exists() and (node.state / "bin/virtnet-cni").exists(), "it serves")


def metrics(node: Node) -> str:
    ask = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9404/metrics').read().decode())"
    return run("ip", "netns", "exec", node.name, "python3", "-c", ask)


def probe(node: Node, path: str) -> tuple[int, str]:
    """What the kubelet gets to hear."""
    ask = (
        "import urllib.request, urllib.error\n"
        f"try: answer = urllib.request.urlopen('http://127.0.0.1:9404/{path}', timeout=5)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status, answer.read().decode())"
    )
    status, _, text = run("ip", "netns", "exec", node.name, "python3", "-c", ask).partition(" ")
    return int(status), text


def test_its_probes_say_what_it_lacks(product: Node) -> None:
    """It lives though nothing answers, for a restart would mend nothing; and it is not ready."""
    assert probe(product, "livez")[0] == 200
    status, text = probe(product, "readyz")
    assert status == 503
    assert "API server" in text
    assert "ovn-controller does not answer; is it running?" in text
    assert "the CNI plugin" not in text
    product.socket.unlink()
    assert f"the CNI plugin is not answered at {product.socket}" in probe(product, "readyz")[1]


def test_a_daemon_that_hangs_is_not_alive(product: Node) -> None:
    product.daemon.freeze()
    try:
        with pytest.raises(subprocess.CalledProcessError):
            probe(product, "livez")
    finally:
        product.daemon.thaw()
    assert probe(product, "livez")[0] == 200


def test_it_serves_without_the_api_server(product: Node) -> None:
    assert product.cni("STATUS") == (0, None)
    assert product.cni("DEL") == (0, None)
    product.pod()
    answer = product.refused(netns=product.sandbox())
    assert (answer["code"], "cannot be looked up now" in answer["msg"]) == (11, True)
    assert product.nothing_left
    assert 'virtnet_cni_operation_duration_seconds_count{op="ADD",result="error"} 1.0' in metrics(product)


def test_it_ends_when_told_to(product: Node) -> None:
    product.daemon.stop(grace=5)
    assert product.daemon.pid is None
    assert "told to end" in (product.state / "virtnet.log").read_text()
    assert Path(product.state / "bin/virtnet-cni").stat().st_mode & 0o777 == 0o755
    assert product.refused("STATUS")["code"] == 50


def test_killed_it_leaves_a_socket_that_the_next_one_replaces(product: Node) -> None:
    product.daemon.kill()
    assert product.socket.exists()
    assert product.refused("STATUS")["code"] == 50


def test_it_serves_though_its_port_for_metrics_is_taken(product: Node) -> None:
    """The port is the node's, and another daemon's of it may be quicker."""
    product.daemon.stop()
    listen = "import socket; s = socket.create_server(('', 9404)); print(flush=True); s.accept()"
    command = ["ip", "netns", "exec", product.name, sys.executable, "-c", listen]
    other = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        start(product)
    finally:
        other.kill()
        other.wait()
    assert product.cni("STATUS") == (0, None)
    assert "no metrics" in (product.state / "virtnet.log").read_text()
