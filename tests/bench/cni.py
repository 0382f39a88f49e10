"""How long CNI takes: the plugin alone, the daemon without OVN, and many pods at once. Run it alone on the machine:

    python tests/bench/cni.py [--runs RUNS]

The daemon works on a real Open vSwitch and in real namespaces.
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.attach.rig import Node
from tests.bench.figures import begin, publish
from virtnet.node.daemon import install_plugin

CONFIG = '{"cniVersion":"1.1.0","name":"blue-net","type":"virtnet-cni","subnet":"blue"}'


def main() -> None:
    begin()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as directory:
        found = plugin_alone(Path(directory), runs)
        with Node.running(Path(directory)) as node:
            found |= daemon(node, runs)
            found |= at_once(node, 64)
    publish("CNI", {f"cni.{name}": value for name, value in found.items()})


def report(what: str, seconds: Sequence[float]) -> dict[str, float]:
    """Median and p95 in milliseconds."""
    cuts = statistics.quantiles((1000 * one for one in seconds), n=20, method="inclusive")
    return {f"{what}_p50_ms": cuts[9], f"{what}_p95_ms": cuts[18]}


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plugin_alone(directory: Path, runs: int) -> dict[str, float]:
    """What a runtime waits for beyond the daemon's own work."""
    install_plugin(directory / "bin", directory / "noop.sock")
    plugin = directory / "bin/virtnet-cni"
    with noop_server(directory / "noop.sock"):
        cases = {
            "spawn": (["/bin/true"], ""),
            "python": (["/usr/bin/python3", "-IS", "-c", "pass"], ""),
            "version": ([str(plugin)], "VERSION"),
            "shim": ([str(plugin)], "ADD"),
        }
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(runs):  # in turn, so that what else the machine does falls on all alike
            for name, (command, verb) in cases.items():
                taken[name].append(timed(lambda c=command, v=verb: execute(c, v)))  # type: ignore[misc]
    return {name: value for what, seconds in taken.items() for name, value in report(what, seconds).items()}


def execute(command: list[str], verb: str) -> None:
    subprocess.run(
        command,
        input=CONFIG,
        env={"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_IFNAME": "pod1", "CNI_NETNS": "/run/netns/x"},
        text=True,
        check=True,
        capture_output=True,
    )


@contextmanager
def noop_server(path: Path) -> Iterator[None]:
    reply = b"\0" + json.dumps({"cniVersion": "1.1.0", "interfaces": [], "ips": [], "dns": {}}).encode()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(128)

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(len(reply).to_bytes(4) + reply)

        threading.Thread(target=serve, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)


def daemon(node: Node, runs: int) -> dict[str, float]:
    """ADD and DEL as the daemon does them, one after the other, without the plugin and without waiting for OVN."""
    node.start_daemon(OVN="absent")
    netns = node.sandbox()
    node.pod()
    adds, dels = in_turns(node, runs, netns)
    found = report("daemon", adds) | report("daemon_del", dels)
    adds = []
    for n in range(runs):
        adds.append(timed(lambda n=n: node.add(f"c{n}", netns=netns)))  # type: ignore[misc]
        ask(node, "DEL", f"c{n}", netns)
    return found | report("whole", adds)


def in_turns(node: Node, runs: int, netns: str, config: str = CONFIG) -> tuple[list[float], list[float]]:
    """Seconds of ADDs and of DELs of one NIC."""
    adds, dels = [], []
    for _ in range(runs):
        adds.append(timed(lambda: ask(node, "ADD", "c1", netns, config)))
        dels.append(timed(lambda: ask(node, "DEL", "c1", netns, config)))
    return adds, dels


def ask(node: Node, command: str, container: str, netns: str, config: str = CONFIG) -> None:
    uid = node.pods["demo/launcher"]["metadata"]["uid"]
    env = {
        "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_IFNAME": "pod1", "CNI_NETNS": netns,
        "CNI_ARGS": f"K8S_POD_NAMESPACE=demo;K8S_POD_NAME=launcher;K8S_POD_UID={uid}",
    }  # fmt: skip
    body = json.dumps({"env": env, "config": config}).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(node.socket))
        client.sendall(len(body).to_bytes(4) + body)
        size = int.from_bytes(client.recv(4, socket.MSG_WAITALL))
        reply = client.recv(size, socket.MSG_WAITALL)
    if reply[0]:
        raise SystemExit(reply[1:].decode())


def at_once(node: Node, pods: int) -> dict[str, float]:
    """ADDs through the plugin, all started together, of as many pods; OVN is played and answers at once."""
    node.restart_daemon(OVN="works")
    spaces = [node.sandbox() for _ in range(pods)]
    for n in range(pods):
        node.pod(f"p{n}", port=f"demo/vm{n}.blue")
    with ThreadPoolExecutor(pods) as pool:
        began = time.perf_counter()
        taken = list(pool.map(lambda n: timed(lambda: node.add(f"c{n}", netns=spaces[n], pod=f"p{n}")), range(pods)))
        whole = time.perf_counter() - began
    node.clean()
    return report(f"at_once_{pods}", taken) | {f"at_once_{pods}_all_ms": 1000 * whole}


if __name__ == "__main__":
    main()
