"""What a guest tells of itself: a cluster's by qemu-guest-agent, the lab's in lines on its console."""

import re
from dataclasses import dataclass

from virtnet.lab.standin.conditions import find, now, put
from virtnet.lab.standin.kubevirt import Object

READY = "virtnet-guest: ready"
_ADDRESS = re.compile(r"^virtnet-guest: (?P<nic>\S+) (?P<address>[0-9.]+)/\d+ mtu \d+ up\s*$", re.MULTILINE)

SYSTEM = {
    "id": "virtnet-guest",
    "machine": "x86_64",
    "name": "virtnet guest",
    "prettyName": "virtnet guest (busybox)",
    "version": "1",
    "versionId": "1",
}


@dataclass(frozen=True)
class Said:
    """All that a guest has said so far."""

    ready: bool
    addresses: dict[str, str]
    """Of each of its NICs that has one, by the guest's own name for it. The latest counts."""

    @classmethod
    def on(cls, console: str) -> "Said":
        r"""What a console's text says.

        >>> Said.on("virtnet-guest: ready\r\nvirtnet-guest: eth0 10.0.0.5/24 mtu 1342 up\r\n").addresses
        {'eth0': '10.0.0.5'}
        """
        return cls(READY in console, {found["nic"]: found["address"] for found in _ADDRESS.finditer(console)})


def report(vmi: Object, said: Said, kernel: str) -> None:
    """Put it into a VMI's status, where virt-handler puts what a guest agent says."""
    status = vmi["status"]
    conditions = status.setdefault("conditions", [])
    if said.ready and find(conditions, "AgentConnected") is None:
        times = {"lastProbeTime": now(), "lastTransitionTime": None}
        put(conditions, {"type": "AgentConnected", "status": "True", **times})
        status["guestOSInfo"] = {**SYSTEM, "kernelRelease": kernel, "kernelVersion": "#1 SMP"}
    for number, interface in enumerate(_wired(vmi)):
        name = f"eth{number}"
        if address := said.addresses.get(name):
            interface |= {"interfaceName": name, "ipAddress": address, "ipAddresses": [address]}
            interface["infoSource"] = ", ".join(sorted({*interface["infoSource"].split(", "), "guest-agent"}))


def complete(vmi: Object) -> bool:
    """Whether the guest has told all that there is to tell."""
    return all("interfaceName" in one for one in _wired(vmi))


def _wired(vmi: Object) -> list[Object]:
    """The NICs that a guest of the lab has, in its own order: those of Multus; the pod's network is not played."""
    found = vmi["status"].get("interfaces", ())
    return [one for one in found if "mac" in one and "multus-status" in one.get("infoSource", "")]
