"""What stands in the way of a policy on a NIC, in words. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from virtnet.api import NicSettings
from virtnet.node.devices.found import LEGACY, SWITCHDEV
from virtnet.node.nic_policies.plan import PfNow

MOST_NAMED = 3
"""Virtual functions in use that are named."""


@dataclass(frozen=True)
class NicObstacle:
    """Why a NIC is not as its policy says: one word for programs, and what people are told."""

    reason: str
    message: str


def impossible(policy: NicSettings | None, now: PfNow) -> NicObstacle | None:
    """What of a policy a NIC cannot do; of none: whether it can be put back."""
    if not now.interface:
        return NicObstacle(
            "NoInterface",
            f"{now.address} has no network interface on the node; load its driver, or bring the interface back from "
            "where it was moved to",
        )
    if policy is None:
        return None
    if policy.vfs and now.settings.vfs is None:
        return NicObstacle(
            "NoSriov",
            f"driver {now.driver} of {now.name} makes no VFs; select other NICs, or take vfs out of the policy",
        )
    if policy.vfs and 0 <= now.total_vfs < policy.vfs:
        return NicObstacle(
            "TooManyVfs",
            f"{now.name} can have {now.total_vfs} VFs, not {policy.vfs}; ask for fewer, or raise the limit in its "
            "firmware",
        )
    if policy.eswitch_mode == SWITCHDEV and now.settings.eswitch_mode is None:
        return NicObstacle(
            "NoEswitch",
            f"driver {now.driver} of {now.name} has no eswitch; select other NICs, or take eswitchMode out of "
            "the policy",
        )
    least, most = now.mtus
    if policy.mtu and (policy.mtu < least or (most and policy.mtu > most)):
        return NicObstacle(
            "MtuOutOfRange", f"{now.name} takes an MTU of {least} to {most}, not {policy.mtu}; choose one of these"
        )
    return None


def differs(policy: NicSettings, now: PfNow) -> NicObstacle | None:
    """Where a NIC that somebody else manages is not as its policy says."""
    found = ", and ".join(_differences(policy, now))
    if not found:
        return None
    return NicObstacle(
        "Differs", f"{now.name} has {found}; change it where it is managed, or take externallyManaged out of the policy"
    )


def _differences(policy: NicSettings, now: PfNow) -> Iterator[str]:
    if policy.vfs is not None and policy.vfs != (now.settings.vfs or 0):
        yield f"{now.settings.vfs or 0} VFs, not {policy.vfs}"
    if policy.mtu is not None and policy.mtu != now.settings.mtu:
        yield f"MTU {now.settings.mtu}, not {policy.mtu}"
    if policy.vf_driver is not None and policy.vf_driver != now.settings.vf_driver and now.settings.vfs:
        yield f"VF driver {now.settings.vf_driver or 'unset'}, not {policy.vf_driver}"
    mode = now.settings.eswitch_mode or LEGACY
    if policy.eswitch_mode is not None and policy.eswitch_mode != mode:
        yield f"eswitch mode {mode}, not {policy.eswitch_mode}"


def overlap(now: PfNow, elder: str) -> NicObstacle:
    return NicObstacle(
        "Overlap", f"{now.name} is NicPolicy {elder}'s, which is older; select other NICs, or delete one of the two"
    )


def setting_overlap(key: str, elder: str) -> NicObstacle:
    """``key``: of the settings of Open vSwitch."""
    return NicObstacle(
        "Overlap", f"{key} of Open vSwitch is NicPolicy {elder}'s, which is older; take it out of one of the two"
    )


def setting_differs(key: str, there: str, wanted: str) -> NicObstacle:
    """``there``: what it is; empty for nothing."""
    return NicObstacle(
        "Differs",
        f"Open vSwitch has {key} {there or 'unset'}, not {wanted}; change it where it is managed, or take "
        "externallyManaged out of the policy",
    )


def no_such_cpu(cpu: int, cpus: int) -> NicObstacle:
    """``cpus``: how many the node has."""
    return NicObstacle(
        "NoSuchCpu", f"pmdCpus names CPU {cpu}, and the node has {cpus}, from 0 on; name others, or select other nodes"
    )


def dpdk_unseen(error: OSError) -> NicObstacle:
    return NicObstacle("Failed", f"whether Open vSwitch uses DPDK cannot be seen: {error}; it is tried again")


def switch_away() -> NicObstacle:
    return NicObstacle("OpenVSwitchAway", "Open vSwitch does not answer; is ovsdb-server running?")


def carries(name: str, what: str) -> NicObstacle:
    """``what`` the node has on the NIC, or on a virtual function of it."""
    return NicObstacle(
        "CarriesNode",
        f"{name} {what}, and a change could cut the node off; select other NICs, or set this one up at boot and "
        "say externallyManaged in a policy for it",
    )


def in_use(now: PfNow, users: Sequence[tuple[int, str, str]]) -> NicObstacle:
    """``users``: number and address of a virtual function, and the pod that has it."""
    named = "; ".join(
        f"VF {number} of {now.name} ({address}) is pod {pod}'s" for number, address, pod in users[:MOST_NAMED]
    )
    more = f"; and {len(users) - MOST_NAMED} more are in use" if len(users) > MOST_NAMED else ""
    return NicObstacle("VfInUse", f"{named}{more}; {now.name} is changed once no VF of it is in use")


def unseen(now: PfNow, problem: str) -> NicObstacle:
    return NicObstacle(
        "KubeletSilent",
        f"whether pods have VFs of {now.name} cannot be seen: {problem}; {now.name} is changed once "
        "the kubelet answers",
    )


def failed(now: PfNow, error: OSError) -> NicObstacle:
    return NicObstacle("Failed", f"{now.name} cannot be looked at, or changed: {error}; it is tried again")


def unsettled(now: PfNow) -> NicObstacle:
    return NicObstacle(
        "Unsettled",
        f"driver {now.driver} of {now.name} takes what it is told, and {now.name} is otherwise; it is tried again; see "
        "the kernel's log (dmesg)",
    )


def refused(now: PfNow, what: str, error: OSError) -> NicObstacle:
    return NicObstacle(
        "Refused",
        f"driver {now.driver} of {now.name} refuses {what}: {error.strerror or error}; it is as it was before, and "
        "tried again; see the kernel's log (dmesg)",
    )
