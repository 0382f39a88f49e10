"""What a live migration costs the network, in several ways, in the same lab and the same run:

    python -m tests.bench.handoff [--rounds ROUNDS] [--only PART...]

A VM goes back and forth between two nodes; a pod on a third one sends echo requests at exact times and holds a TCP
stream that the guest sends back. Parts:

- ways: what virtnet does, beside OVN's rarp strategy as Kube-OVN and Neutron use it, and beside one chassis that is
  switched when the migration is reported done. In these two virtnet's controller is stopped: this program writes.
- underlay: a VM on a VLAN of the physical network.
- guarded: all NICs in a stateful security group that lets TCP and ICMP in, and established TCP by its flags.
- near: peers on the node that the guest leaves, on the one that it goes to, and on a third, on both networks.
- rate: 1,000 and 5,000 datagrams a second, which the guest only counts, and as many as it can read at most.
- ports: 2,000 more Ports in OVN.
- crowd: 20 VMs at the same moment.
- vhostuser: a VM with a vhost-user NIC between two nodes whose switches have DPDK, on an overlay and on an underlay; in
  a lab of its own, 10 rounds at most. Its first two moves stand by themselves, too: the first one to either node.

Before them, how many frames a source's queue keeps and how fast they are carried over, without any guest.

JSON goes to $BENCH_JSON, and all figures of each round beside it. Run it alone on the machine, as root.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench import figures
from tests.bench.handoff.arena import Arena
from tests.bench.handoff.crowd import crowd
from tests.bench.handoff.drain import drain
from tests.bench.handoff.flood import flood, line_rate
from tests.bench.handoff.near import near
from tests.bench.handoff.rounds import Round, summary
from tests.bench.handoff.ways import WAYS, Way
from virtnet.api import Port, Subnet
from virtnet.api.meta import API_VERSION
from virtnet.api.security_group import SecurityGroup
from virtnet.kube import kinds
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.dpdk import NoDpdk
from virtnet.lab.hugepages import NoHugePages
from virtnet.lab.lab import Lab

ROUNDS = 50
PART = 5
"""What virtnet is compared with, and under what load, takes this part of the rounds."""
RATES = (1000, 5000)
CROWD = 20
PORTS = 2000
WRITERS = 8
VHOST_USER_ROUNDS = 10
GUARD = {
    "ingress": [{"ports": [{"protocol": "TCP"}, {"protocol": "ICMP"}]}],
    "egress": [{}],
    "establishedByFlags": True,
}
GUARDED = f'external_ids:"virtnet/id"="SecurityGroup/{manifests.NAMESPACE}/guard"'
DPDK_NODES = 2

Found = dict[str, list[Round]]


class Run:
    """The parts, in one lab."""

    def __init__(self, lab: Lab, rounds: int) -> None:
        self._lab, self._rounds, self._few = lab, rounds, max(1, rounds // PART)
        self._arenas: dict[str, Arena] = {}

    def ways(self) -> Found:
        counts = {name: self._rounds if name == "virtnet" else self._few for name in WAYS}
        return {f"ways.{name}": self._arena("blue").run(name, way, counts[name]) for name, way in WAYS.items()}

    def underlay(self) -> Found:
        return {"underlay": self._arena("lan").run("underlay", WAYS["virtnet"], self._rounds)}

    def guarded(self) -> Found:
        arena = self._arena("blue")
        body = {"apiVersion": API_VERSION, "kind": "SecurityGroup", "metadata": {"name": "guard"}, "spec": GUARD}
        self._lab.ask(lambda cluster: cluster.create(kinds.of(SecurityGroup), body, manifests.NAMESPACE))
        self._name_groups("guard")
        until(self._is_guarded, "NICs in their group")
        try:
            return {"guarded": arena.run("in a security group", WAYS["virtnet"], self._rounds)}
        finally:
            self._name_groups()

    def _is_guarded(self) -> bool:
        words = ("ovn-nbctl", f"--db={self._lab.names.northbound}", "--bare", "--columns=ports", "find", "Port_Group")
        asked = subprocess.run(self._lab.command([*words, GUARDED]), capture_output=True, text=True, check=True)
        return bool(asked.stdout.strip())

    def _name_groups(self, *names: str) -> None:
        spec = {"spec": {"securityGroups": list(names)}}
        self._lab.ask(lambda cluster: cluster.patch(kinds.of(Subnet), "blue", spec, manifests.NAMESPACE))

    def near(self) -> Found:
        networks = {"overlay": "blue", "underlay": "lan"}
        return {
            f"near.{name}.{place}": found
            for name, network in networks.items()
            for place, found in near(self._arena(network), self._few).items()
        }

    def rate(self) -> Found:
        line = line_rate(self._arena("blue"))
        figures.publish("Datagrams a second of which a guest that stays reads every one", {"rate.line": line})
        for rate in sorted({*RATES, line}):
            figures.publish(f"At {rate} datagrams a second", flood(self._arena("blue"), rate, self._few))
        return {}

    def ports(self) -> Found:
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(self._halted, range(PORTS)))
        ports = kinds.of(Port)
        there = lambda: len(self._lab.ask(lambda cluster: cluster.list(ports))[0]) >= PORTS  # noqa: E731
        until(there, f"{PORTS} Ports", seconds=300)
        return {"ports": self._arena("blue").run(f"beside {PORTS} Ports", WAYS["virtnet"], self._few)}

    def crowd(self) -> Found:
        return {"crowd": crowd(self._lab, CROWD)}

    def vhostuser(self) -> Found:
        count = min(self._rounds, VHOST_USER_ROUNDS)
        networks = {"overlay": "blue", "underlay": "lan"}
        found = {
            f"vhostuser.{name}": self._arena(network, vhost_user=True).run(f"vhost-user, {name}", Way(), count)
            for name, network in networks.items()
        }
        moves = ("vhostuser.first_move", "vhostuser.second_move")
        return found | {name: [one] for name, one in zip(moves, found["vhostuser.overlay"], strict=False)}

    def _arena(self, network: str, *, vhost_user: bool = False) -> Arena:
        self._lab.daemon("controller").start()
        if network not in self._arenas:
            self._arenas[network] = Arena.prepared(self._lab, network, vhost_user=vhost_user)
        return self._arenas[network]

    def _halted(self, number: int) -> None:
        body = manifests.vm(f"halted{number}", network="wide")
        body["spec"]["runStrategy"] = "Halted"
        Demo(self._lab).apply(body)


PARTS: dict[str, Callable[[Run], Found]] = {
    "ways": Run.ways,
    "underlay": Run.underlay,
    "guarded": Run.guarded,
    "near": Run.near,
    "rate": Run.rate,
    "crowd": Run.crowd,
    "ports": Run.ports,
}
DPDK_PARTS: dict[str, Callable[[Run], Found]] = {"vhostuser": Run.vhostuser}
"""Those in a lab with DPDK, which the switches of the others do without."""


def prepare(lab: Lab, dpdk: int) -> None:
    """The networks of all parts. ``dpdk``: how many nodes have it in their switches."""
    demo = Demo(lab)
    lab.down()
    lab.up(nodes=3, dpdk=dpdk)
    wide = manifests.subnet()
    wide["metadata"]["name"], wide["spec"] = "wide", {"cidrs": ["10.20.0.0/20"]}
    bodies = [
        manifests.namespace(),
        manifests.subnet(),
        manifests.nad(),
        wide,
        manifests.nad("wide-net", subnet="wide"),
    ]
    for body in (*bodies, manifests.provider_network(), manifests.lan(), manifests.nad("lan-net", clusterSubnet="lan")):
        demo.apply(body)
    until(lambda: len(demo.plugged("rack")) == len(lab.nodes), "NICs plugged in")


def measure(lab: Lab, parts: Sequence[Callable[[Run], Found]], rounds: int, found: Found, *, dpdk: int = 0) -> None:
    """Parts that share a lab. What is found before one fails is kept."""
    prepare(lab, dpdk)
    run = Run(lab, rounds)
    for part in parts:
        found |= part(run)


def publish(found: Found) -> None:
    summaries = {name: summary(rounds) for name, rounds in found.items()}
    print(json.dumps(summaries, indent=2))
    if path := os.environ.get("BENCH_JSON"):
        dotted = {name: value for part, values in summaries.items() for name, value in flat(part, values)}
        figures.merge(Path(path), dotted)
        every = {name: [asdict(one) for one in rounds] for name, rounds in found.items()}
        Path(path).with_suffix(".rounds.json").write_text(json.dumps(every))


def flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Figures by their dotted names."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from flat(f"{name}.{key}", part)
    else:
        yield name, value


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds",
        type=int,
        default=int(os.environ.get("BENCH_ROUNDS", ROUNDS)),
        help="on an overlay and on an underlay; the rest takes a fifth",
    )
    everything = [*PARTS, *DPDK_PARTS]
    parser.add_argument("--only", nargs="+", choices=everything, default=everything, metavar="PART")
    parser.add_argument("--lab", default="benchhandoff")
    chosen = parser.parse_args(words)
    lab = Lab(chosen.lab)
    found: Found = {}
    try:
        if parts := [part for name, part in PARTS.items() if name in chosen.only]:
            figures.publish("What a drain can carry", drain())
            measure(lab, parts, chosen.rounds, found)
        if parts := [part for name, part in DPDK_PARTS.items() if name in chosen.only]:
            measure(lab, parts, chosen.rounds, found, dpdk=DPDK_NODES)
    except (NoDpdk, NoHugePages) as problem:
        print(f"vhost-user: not measured: {problem}", file=sys.stderr)
    finally:
        publish(found)
        if not os.environ.get("BENCH_KEEP"):
            lab.down()


if __name__ == "__main__":
    main()
