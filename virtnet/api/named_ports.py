"""What network policies read of workloads beside their labels: their primary network, and the ports that have names."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from virtnet.api.fields import Fields, WrongType
from virtnet.api.kubevirt import LEFT_OUT, MOST_INTERFACES

Body = Mapping[str, Any]


class NamedPort(NamedTuple):
    """A port by its name, which is one of a protocol."""

    protocol: str
    name: str


PortNumbers = Mapping[NamedPort, int]


def pod_ports(pod: Body) -> dict[NamedPort, int]:
    """The ports of a pod's containers that have names."""
    try:
        return dict(_named(Fields(pod).object("spec").objects("containers"), "containerPort"))
    except WrongType:
        return {}


def instance_networks(spec: Body) -> tuple[str, dict[str, dict[NamedPort, int]]]:
    """Of a VirtualMachineInstance's spec: the network in the place of the pod network, and network -> its named ports.

    One of another form than KubeVirt's, or with more than it takes, has neither.
    """
    try:
        devices = Fields(spec).object("domain").object("devices")
        networks = list(Fields(spec).objects("networks", most=MOST_INTERFACES))
        interfaces = list(devices.objects("interfaces", most=MOST_INTERFACES))
        autoattach = devices.flag("autoattachPodInterface", default=True)
        primary = [one.text("name") for one in networks if "pod" in one or one.object("multus").flag("default")]
        ports = {one.text("name"): dict(_named([one], "port")) for one in interfaces}
    except WrongType:
        return "", {}
    left_out = autoattach and not (networks or interfaces)
    return next(iter(primary), LEFT_OUT if left_out else ""), {name: one for name, one in ports.items() if one}


def _named(holders: Iterable[Fields], field: str) -> Iterator[tuple[NamedPort, int]]:
    for holder in holders:
        for port in holder.objects("ports"):
            number = port.value.get(field)
            if port.text("name") and isinstance(number, int) and 0 < number < 65536:
                yield NamedPort(port.text("protocol") or "TCP", port.text("name")), number
