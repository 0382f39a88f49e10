"""What is to be done to a NIC: from what its policy says, what was found, and what it has now. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from virtnet.api import NicSettings
from virtnet.api.meta import Spec
from virtnet.api.nic_policy import EswitchMode

Setting = Literal["up", "mtu", "vfs", "vf_driver", "eswitch_mode"]

MODE_AFTER_VFS = frozenset({"bnxt_en"})
"""Drivers that change the mode of their eswitch only while there are virtual functions; others while there are none."""


class PfSettings(Spec):
    """Settings of a physical function; None for one that is not meant, or cannot be told."""

    up: bool | None = None
    mtu: int | None = None
    vfs: int | None = None
    vf_driver: str | None = None
    """Of all virtual functions; empty where they differ or have none, which is not put back."""
    eswitch_mode: EswitchMode | None = None


@dataclass(frozen=True)
class PfNow:
    """A physical function as the kernel has it now."""

    address: str
    interface: str
    """Empty where it has none in the node's namespace."""
    driver: str
    settings: PfSettings
    mtus: tuple[int, int] = (0, 0)
    """The least and the most that its driver takes; 0 where it does not tell."""
    total_vfs: int = -1
    """-1 where it does not tell."""
    virtual: Mapping[str, int] | None = None
    """The numbers of its virtual functions, by their addresses."""
    virtual_interfaces: tuple[str, ...] = ()
    """The network interfaces of these, in the node's namespace."""

    @property
    def name(self) -> str:
        return self.interface or self.address


@dataclass(frozen=True)
class PfStep:
    """One change of a physical function."""

    setting: Setting
    value: int | str
    before: int | str

    @property
    def undone(self) -> "PfStep":
        return PfStep(self.setting, self.before, self.value)

    @property
    def resets(self) -> bool:
        """Whether virtual functions do not outlast it, or may lose their link."""
        return self != PfStep("up", 1, 0)

    def __str__(self) -> str:
        match self.setting:
            case "vfs":
                return f"{self.value} VFs"
            case "mtu":
                return f"MTU {self.value}"
            case "vf_driver":
                return f"VF driver {self.value}" if self.value else "VFs' own driver"
            case "eswitch_mode":
                return f"eswitch mode {self.value}"
            case "up":
                return "to be up" if self.value else "to be down"


def target(policy: NicSettings | None, found: PfSettings) -> PfSettings:
    """What a NIC is to have: what its policy says, or else what was found before it was changed.

    Virtual functions reach the wire only if they are made while it is up.
    """
    if policy is None:
        return found
    says = PfSettings(
        up=True if policy.vfs else None,
        mtu=policy.mtu,
        vfs=policy.vfs,
        vf_driver=policy.vf_driver,
        eswitch_mode=policy.eswitch_mode,
    )
    return _either(says, found)


def steps(now: PfSettings, wanted: PfSettings, driver: str = "") -> Sequence[PfStep]:
    """What changes a NIC into what it is to be, in an order that its driver takes.

    The kernel makes virtual functions only where there are none.
    """
    return tuple(_steps(now, wanted, after_vfs=driver in MODE_AFTER_VFS))


def _steps(now: PfSettings, wanted: PfSettings, *, after_vfs: bool) -> Iterator[PfStep]:
    mode = [*_changes(now, wanted, "eswitch_mode")]
    vfs = now.vfs if wanted.vfs is None else wanted.vfs
    anew = now.vfs is not None and (vfs != now.vfs or bool(mode and not after_vfs))
    if after_vfs and not vfs:
        yield from mode
    if anew and now.vfs:
        yield PfStep("vfs", 0, now.vfs)
    if wanted.up:
        yield from _changes(now, wanted, "up")
    yield from _changes(now, wanted, "mtu")
    if not after_vfs:
        yield from mode
    if anew and vfs:
        yield PfStep("vfs", vfs, 0)
    if after_vfs and vfs:
        yield from mode
    if not anew and wanted.vf_driver:  # those that are made anew take one by themselves: that is seen next
        yield from _changes(now, wanted, "vf_driver")
    if not wanted.up:
        yield from _changes(now, wanted, "up")


def _changes(now: PfSettings, wanted: PfSettings, setting: Setting) -> Iterator[PfStep]:
    before, value = getattr(now, setting), getattr(wanted, setting)
    if value is not None and before is not None and value != before:
        yield PfStep(setting, value, before)


def found_before(found: PfSettings, now: PfSettings, planned: Iterable[PfStep]) -> PfSettings:
    """What was found, with the settings that these steps are the first to change.

    With the virtual functions go their drivers, and some drivers change the mode of the eswitch (netdevsim does).
    """
    changed = {step.setting for step in planned}
    changed |= {"eswitch_mode", "vf_driver"} if "vfs" in changed else set()
    return _either(found, PfSettings(**{name: getattr(now, name) for name in changed}))


def _either(first: PfSettings, second: PfSettings) -> PfSettings:
    return second.model_copy(update=first.model_dump(exclude_none=True))
