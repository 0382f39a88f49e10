"""What a guest tells of itself: a cluster's by qemu-guest-agent, the lab's in lines on its console."""

import re
from dataclasses import dataclass

from virtnet.lab.standin.conditions import find, now, put
from virtnet.lab.standin.kubevirt import Object

READY = "virtnet-guest: ready"
_ADDRESS = re.compile(
    r"^virtnet-guest: (?P<nic>\S+) (?P<address>[0-9a-f.:]+)/\d+ mtu \d+( via \S+)? up\s*$", re.MULTILINE
)

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
    addresses: dict[str, list[str]]
    """Of each of its NICs that has any, by the guest's own name for it: the latest of each family, IPv4 first."""

    @classmethod
    def on(cls, console: str) -> "Said":
        r"""What a console's text says.

        >>> Said.on("virtnet-guest: ready\r\nvirtnet-guest: eth0 10.0.0.5/24 mtu 1342 up\r\n").addresses
        {'eth0': ['10.0.0.5']}
        """
        addresses: dict[str, list[str]] = {}
        for found in _ADDRESS.finditer(console):
            addresses.setdefault(found["nic"], []).append(found["address"])
        return cls(READY in console, {nic: _of_each_family(all_) for nic, all_ in addresses.items()})


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
        if reported := said.addresses.get(name):
            addresses = _of_each_family([*interface.get("ipAddresses", ()), *reported])
            interface |= {"interfaceName": name, "ipAddress": addresses[0], "ipAddresses": addresses}
            interface["infoSource"] = ", ".join(sorted({*interface["infoSource"].split(", "), "guest-agent"}))


def complete(vmi: Object) -> bool:
    """Whether the guest has told all that there is to tell."""
    return all("interfaceName" in one for one in _wired(vmi))


def _of_each_family(addresses: list[str]) -> list[str]:
    """The last of each, IPv4 first. A guest has one of them sooner than the other."""
    return [one for _, one in sorted({":" in one: one for one in addresses}.items())]


def _wired(vmi: Object) -> list[Object]:
    """The NICs that a guest of the lab has, in its own order: those of Multus; the pod's network is not played."""
    found = vmi["status"].get("interfaces", ())
    return [one for one in found if "mac" in one and "multus-status" in one.get("infoSource", "")]
