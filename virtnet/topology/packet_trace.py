"""A packet of a NIC as ovn-trace(8) takes it, and what it says became of it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from virtnet.api.addresses import Address
from virtnet.api.grammar import NAMESPACED_NAME, NIC_MAC
from virtnet.topology.rows import Key

Protocol = Literal["tcp", "udp", "sctp", "icmp"]

_SECTION = re.compile(r'(?P<pipeline>ingress|egress)\(dp="(?P<switch>[^"]*)"')
_FLOW = re.compile(r" *\d+\. (?P<stage>\w+) \([^)]*\): .*, uuid (?P<flow>[0-9a-f]{8})")
_UNMATCHED = re.compile(r" *\d+\. (?P<stage>\w+): no match")
_OUTPUT = re.compile(r'/\* output to "(?P<port>[^"]*)", type "(?P<type>[^"]*)" \*/')
CLIENT_PORT = 49152


@dataclass(frozen=True)
class Probe:
    """The first packet of something new, from a NIC."""

    port: str
    """The NIC's Port, ``namespace/name``."""
    mac: str
    address: Address
    to_mac: str
    to: Address
    protocol: Protocol = "icmp"
    number: int = 0
    """The port that it is sent to; 0 of ICMP."""

    def expression(self) -> str:
        """In OVN's words. Raises Ungrammatical."""
        NAMESPACED_NAME.check(self.port, "the name of a logical port")
        for mac in (self.mac, self.to_mac):
            NIC_MAC.check(mac, "a MAC")
        family = f"ip{self.to.version}"
        terms = [
            f'inport == "{self.port}"',
            f"eth.src == {self.mac}",
            f"eth.dst == {self.to_mac}",
            f"{family}.src == {self.address}",
            f"{family}.dst == {self.to}",
            "ip.ttl == 64",
            *self._transport(),
        ]
        return " && ".join(terms)

    def _transport(self) -> list[str]:
        if self.protocol == "icmp":
            name, request = ("icmp4", 8) if self.to.version == 4 else ("icmp6", 128)
            return [f"{name}.type == {request}", f"{name}.code == 0"]
        ports = [f"{self.protocol}.src == {CLIENT_PORT}", f"{self.protocol}.dst == {self.number}"]
        return [*ports, "tcp.flags == 2"] if self.protocol == "tcp" else ports


@dataclass(frozen=True)
class Step:
    """A flow that the packet has met."""

    pipeline: str
    switch: str
    """Or router."""
    stage: str
    flow: str = ""
    """The begin of its uuid; empty where no flow of the stage matched."""

    @property
    def is_acl(self) -> bool:
        return bool(re.fullmatch(r"ls_(in|out)_acl(_eval|_after_lb|_after_lb_eval)?", self.stage))


@dataclass(frozen=True)
class PacketTrace:
    """What became of a packet."""

    acls: tuple[Step, ...] = ()
    """Where ACLs were looked up."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Ports that it came out of, with their types; empty for NICs'."""
    last: Step | None = None

    @property
    def passed(self) -> bool:
        return bool(self.outputs)


def parsed(text: str) -> PacketTrace:
    """What ``ovn-trace --detailed`` says."""
    pipeline = switch = ""
    acls: list[Step] = []
    outputs: dict[str, str] = {}
    last: Step | None = None
    for line in text.splitlines():
        if section := _SECTION.match(line):
            pipeline, switch = section["pipeline"], section["switch"]
        elif met := _FLOW.match(line) or _UNMATCHED.match(line):
            last = Step(pipeline, switch, met["stage"], met.groupdict().get("flow", ""))
            acls += [last] if last.is_acl else []
        elif output := _OUTPUT.search(line):
            outputs[output["port"]] = output["type"]
    return PacketTrace(tuple(acls), outputs, last)


@dataclass(frozen=True)
class Acl:
    """An ACL by which a packet was decided about."""

    id: str
    """Its virtnet/id; empty for somebody else's."""
    action: str
    rule: str = ""
    """Which rules of its object say this; empty where it says what none of them does."""

    @property
    def decides(self) -> bool:
        """Not that of NICs without stateful rules, which keeps their packets from the connection tracker."""
        return ":SecurityGroup/free:" not in self.id

    def __str__(self) -> str:
        what = "dropped" if self.action in ("drop", "reject") else "passes"
        return f"{what} by {self._whose()}{self._why()}"

    def _whose(self) -> str:
        if not self.id:
            return "an ACL that virtnet has not written"
        key = Key("ACL", self.id)
        added = self.id.partition(":")[2].partition("/")
        if added[1]:  # of a NIC or Subnet, not of a group
            return _ADDED.get((added[0], added[2]), key.kind) + f" of {key.object}"
        return f"{key.kind} {key.object}"

    def _why(self) -> str:
        if self.rule:
            return f", {self.rule}"
        return ", of which no rule lets it pass" if self.action == "drop" and ":" in self.id else ""


_ADDED = {
    ("NetworkPolicy", "both"): "both the security groups and the network policies",
    ("NetworkPolicy", "rest"): "the security groups or the network policies",
}


_DESTINATION = re.compile(
    r"\[(?P<v6>[0-9a-fA-F:.]+)\](:(?P<port6>\d{1,5}))?|(?P<v4>[0-9.]+)(:(?P<port4>\d{1,5}))?|[0-9a-fA-F:.]+"
)


def destination(text: str) -> tuple[Address, int]:
    """ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT; 0 for no port. Raises ValueError, which says what form it has."""
    wrong = f"{text} is no destination; write 10.0.0.6, 10.0.0.6:80 or [fd00::6]:80"
    found = _DESTINATION.fullmatch(text)
    number = int(found["port6"] or found["port4"] or 0) if found else 0
    if found is None or number > 65535:
        raise ValueError(wrong)
    try:
        return ip_address(found["v6"] or found["v4"] or text), number
    except ValueError:
        raise ValueError(wrong) from None
