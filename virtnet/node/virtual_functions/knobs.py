"""The knobs of a virtual function: what its physical function decides for it. Pure."""

from typing import Literal

from virtnet.api.meta import Spec
from virtnet.api.nic_kinds import EXTERNAL_NICS
from virtnet.api.records import Attachment
from virtnet.api.virtual_function import VfLinkState, VirtualFunctionSettings, VlanProtocol

Knob = Literal["mac", "vlan", "tx_rates", "spoof_check", "trust", "link_state"]
KNOBS: tuple[Knob, ...] = ("mac", "vlan", "tx_rates", "spoof_check", "trust", "link_state")
"""In the order in which they are set."""

_SWITCH = {True: "on", False: "off", None: "unknown"}


class Vlan(Spec):
    """The tag that the physical function puts on frames of the virtual one."""

    id: int = 0
    """0 for none."""
    qos: int = 0
    protocol: VlanProtocol = "802.1Q"

    def __str__(self) -> str:
        return f"VLAN {self.id}, qos {self.qos}, {self.protocol}"


class TxRates(Spec):
    """In Mbit/s; 0 for none."""

    min: int = 0
    max: int = 0

    def __str__(self) -> str:
        return f"min_tx_rate {self.min}, max_tx_rate {self.max}"


class Knobs(Spec):
    """All of them, as they are or are to be."""

    mac: str
    """Zeros, where the virtual function chooses its own."""
    vlan: Vlan = Vlan()
    tx_rates: TxRates = TxRates()
    spoof_check: bool | None = None
    """None, like the next, where the driver does not tell."""
    trust: bool | None = None
    link_state: VfLinkState = "Auto"

    def said(self, knob: Knob) -> str:
        """One of them, for people, in the words of ip-link(8)."""
        match knob:
            case "mac":
                return f"MAC {self.mac}"
            case "vlan":
                return str(self.vlan)
            case "tx_rates":
                return str(self.tx_rates)
            case "spoof_check":
                return f"spoofchk {_SWITCH[self.spoof_check]}"
            case "trust":
                return f"trust {_SWITCH[self.trust]}"
            case "link_state":
                return f"state {self.link_state.lower()}"

    def has(self, knob: Knob, other: "Knobs") -> bool:
        """Whether one of them is as the other has it."""
        return bool(getattr(self, knob) == getattr(other, knob))


def wanted(found: Knobs, attachment: Attachment) -> Knobs:
    """What a NIC needs. What nobody has set stays as it was found; its MAC and its VLAN its Port and Subnet set.

    The frames of one with a representor get their VLAN, if any, by OVN.
    """
    settings = attachment.virtual_function or VirtualFunctionSettings()
    tag = attachment.underlay.vlan if attachment.underlay and attachment.nic in EXTERNAL_NICS else 0
    there = found.vlan if found.vlan.id == tag else Vlan(id=tag)
    return Knobs(
        mac=attachment.mac,
        vlan=Vlan(id=tag, qos=_set(settings.vlan_qos, there.qos), protocol=settings.vlan_protocol or there.protocol),
        tx_rates=TxRates(
            min=_set(settings.min_tx_rate_mbps, found.tx_rates.min),
            max=_set(settings.max_tx_rate_mbps, found.tx_rates.max),
        ),
        spoof_check=found.spoof_check if settings.spoof_check is None else settings.spoof_check,
        trust=found.trust if settings.trust is None else settings.trust,
        link_state=settings.link_state or found.link_state,
    )


def changed(found: Knobs, wanted: Knobs) -> tuple[Knob, ...]:
    """The knobs that have to be set, in order."""
    return tuple(knob for knob in KNOBS if not wanted.has(knob, found))


def untold(found: Knobs, wanted: Knobs) -> tuple[Knob, ...]:
    """Those of them that could not be put back, because the driver does not tell how they were found."""
    return tuple(knob for knob in changed(found, wanted) if getattr(found, knob) is None)


def _set(value: int | None, found: int) -> int:
    return found if value is None else value
