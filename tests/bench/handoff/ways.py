"""The ways to hand a port over that are compared."""

import subprocess
from typing import Protocol

from virtnet.api import NodeNetwork
from virtnet.kube import kinds
from virtnet.lab.demo.cluster import until
from virtnet.lab.lab import Lab


class Place(Protocol):
    """Where it happens."""

    @property
    def lab(self) -> Lab: ...
    @property
    def port(self) -> str: ...


class Way:
    """What virtnet does by itself."""

    controller = True

    def armed(self, place: Place, source: str, target: str, migration: str) -> None:
        """The target pod has a node. ``migration``: the UID of its object."""

    def done(self, place: Place, target: str) -> None:
        """The migration is reported done."""


class ByHand(Way):
    """What others do, written here in place of virtnet's controller: CNI ADD of a target waits for what that asks."""

    controller = False

    def armed(self, place: Place, source: str, target: str, migration: str) -> None:
        _ask(place, target, {"migration": migration, "role": "Target"})

    def done(self, place: Place, target: str) -> None:
        _ask(place, target, None)


class Rarp(ByHand):
    """OVN's own activation strategy, as Kube-OVN and Neutron use it.

    Two chassis from the target pod's scheduling on, the target alone once the migration is reported done.
    """

    def armed(self, place: Place, source: str, target: str, migration: str) -> None:
        super().armed(place, source, target, migration)
        both = _chassis(place, source, target)
        _nbctl(place, "set", "Logical_Switch_Port", place.port, both, "options:activation-strategy=rarp")

    def done(self, place: Place, target: str) -> None:
        _nbctl(
            place,
            *("set", "Logical_Switch_Port", place.port, _chassis(place, target), "--"),
            *("remove", "Logical_Switch_Port", place.port, "options", "activation-strategy"),
        )
        super().done(place, target)


class SwitchWhenDone(ByHand):
    """One chassis, which is switched when the migration is reported done."""

    def armed(self, place: Place, source: str, target: str, migration: str) -> None:
        """No port is bound on the target before the switch, so nobody can wait for that: say that it is."""
        super().armed(place, source, target, migration)
        vsctl = ("ovs-vsctl", f"--db={place.lab.nodes[target].names.ovsdb}")
        claim = f'external_ids:iface-id="{place.port}"'

        def interface() -> str:
            command = [*vsctl, "--bare", "--columns=name", "find", "Interface", claim]
            names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            return names[-1] if names else ""

        name = until(interface, "the target's interface")
        subprocess.run([*vsctl, "set", "Interface", name, "external_ids:ovn-installed=true"], check=True)

    def done(self, place: Place, target: str) -> None:
        _nbctl(place, "set", "Logical_Switch_Port", place.port, _chassis(place, target))
        super().done(place, target)


WAYS: dict[str, Way] = {"virtnet": Way(), "rarp": Rarp(), "switch_when_done": SwitchWhenDone()}


def _ask(place: Place, node: str, part: dict[str, str] | None) -> None:
    """What a node is to do for the port; None takes it back."""
    patch = {"spec": {"handoffs": {place.port: part}}}
    place.lab.ask(lambda cluster: cluster.patch(kinds.of(NodeNetwork), node, patch))


def _nbctl(place: Place, *words: str) -> None:
    database = f"--db=unix:{place.lab.names.central_state / 'nb.sock'}"
    subprocess.run(place.lab.command(["ovn-nbctl", database, *words]), check=True)


def _chassis(place: Place, *nodes: str) -> str:
    return f'options:requested-chassis="{",".join(place.lab.nodes[node].names.chassis for node in nodes)}"'
