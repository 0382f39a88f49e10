"""A guest that sends by a NIC of a real node, and one on the same bridge that hears."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.attach.rig import Node, run
from tests.safety.wire import wire
from virtnet.api import Port
from virtnet.lab.ovn_central import OvnCentral


def attachment(of: Port) -> dict[str, object]:
    first, second = of.spec.addresses
    return {"mac": of.spec.mac_address, "addresses": (f"{first}/24", f"{second}/64")}


@contextmanager
def heard_by(node: Node, ovn: OvnCentral, sandbox: str, victim: Port) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The sender's end in its sandbox, and the victim's: ``p2`` of the node, which has its port for as long."""
    node.vsctl("add-port", "br-int", "p2", "--", "set", "Interface", "p2", "type=internal",
               f"external_ids:iface-id={victim.key}")  # fmt: skip
    ovn.nbctl("--timeout=60", "wait-until", "Logical_Switch_Port", victim.key, "up=true")
    place = sandbox.rpartition("/")[2]
    for namespace, device in ((node.name, "p2"), (place, "pod1")):
        run("ip", "-n", namespace, "link", "set", device, "addrgenmode", "none", "up")
    with wire(place, "pod1") as one, wire(node.name, "p2") as two:
        yield one, two
    node.vsctl("del-port", "p2")
