"""What a VM's run strategy wants: virt-controller's decision. Pure."""

from enum import Enum, auto

from virtnet.lab.standin.kubevirt import Object, final, phase
from virtnet.lab.standin.store import going, uid_of

START, STOP = "Start", "Stop"


class InstanceAction(Enum):
    """What is to become of a VM's instance."""

    STARTED = auto()
    STOPPED = auto()
    LEFT = auto()


def strategy(vm: Object) -> str:
    """``running`` is the older way to say it."""
    spec = vm["spec"]
    found: str = spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted")
    return found


def step(vm: Object, vmi: Object | None) -> InstanceAction:
    """The next step. A request to start or stop is in ``status.stateChangeRequests``, where virt-api puts it."""
    if vmi is None:
        return InstanceAction.STARTED if starts(vm) else InstanceAction.LEFT
    match strategy(vm):
        case "Halted":
            over = True
        case "Always":
            over = final(vmi)
        case "RerunOnFailure":
            over = phase(vmi) == "Failed"
        case _:
            over = False
    return InstanceAction.STOPPED if over or _requested(vm, STOP, uid_of(vmi)) else InstanceAction.LEFT


def starts(vm: Object) -> bool:
    """Whether a VM without an instance is to get one."""
    match strategy(vm):
        case "Always" | "Once":
            return True
        case "RerunOnFailure":
            begins = vm.get("status", {}).get("runStrategy") != "RerunOnFailure"
            return begins or _requested(vm, START)
        case "Manual":
            return _requested(vm, START)
        case _:
            return False


def request_restart(vm: Object, vmi: Object) -> None:
    """One that failed is to be started again when it is gone."""
    if strategy(vm) == "RerunOnFailure" and phase(vmi) == "Failed" and not _requested(vm, START):
        vm.setdefault("status", {}).setdefault("stateChangeRequests", []).append({"action": START})


def forget_done(vm: Object, vmi: Object | None) -> None:
    """Drop the requests that are fulfilled. A restart is one to stop and one to start."""
    status = vm.setdefault("status", {})
    ends = vmi is not None and (final(vmi) or going(vmi) or _requested(vm, STOP, uid_of(vmi)))
    left = [
        one
        for one in status.pop("stateChangeRequests", None) or ()
        if (vmi is None or ends if one["action"] == START else vmi is not None and one.get("uid") == uid_of(vmi))
    ]
    if left:
        status["stateChangeRequests"] = left


def _requested(vm: Object, action: str, uid: str = "") -> bool:
    requests = vm.get("status", {}).get("stateChangeRequests") or ()
    return any(one["action"] == action and uid in ("", one.get("uid")) for one in requests)
