"""A pod's status as a kubelet writes it, in the steps of the pod's life. Each changes the pod in place."""

from virtnet.lab.standin.conditions import find, is_true, now, put
from virtnet.lab.standin.kubevirt import Object
from virtnet.lab.standin.launcher_pod import digest
from virtnet.lab.standin.settings import StandinNode

INIT = "initContainerStatuses"


def accepted(pod: Object, node: StandinNode) -> None:
    """The kubelet has seen the pod: nothing runs yet."""
    status = pod["status"]
    status.setdefault("startTime", now())
    status["hostIP"] = node.address
    status["hostIPs"] = [{"ip": node.address}]
    _conditions(
        pod,
        PodReadyToStartContainers=("False", ""),
        Initialized=("False", "ContainersNotInitialized"),
        Ready=("False", "ContainersNotReady"),
        ContainersReady=("False", "ContainersNotReady"),
    )
    for group, containers in _containers(pod):
        status[group] = [_container(one, {"waiting": {"reason": "PodInitializing"}}) for one in containers]


def refused(pod: Object, problem: str) -> None:
    """The kubelet does not admit the pod, for want of devices."""
    status = pod["status"]
    status["phase"], status["reason"] = "Failed", "UnexpectedAdmissionError"
    status["message"] = f"Pod was rejected: Allocate failed due to {problem}, which is unexpected"
    status.setdefault("startTime", now())


def running(pod: Object, address: str) -> None:
    """The sandbox has its NICs, and the containers were started."""
    status = pod["status"]
    status["phase"] = "Running"
    status["podIP"] = address
    status["podIPs"] = [{"ip": address}]
    _conditions(pod, PodReadyToStartContainers=("True", ""), Initialized=("True", ""))
    for group, containers in _containers(pod):
        status[group] = [
            _container(one, _exited(0), ready=True)
            if _runs_once(group, one)
            else _container(one, {"running": {"startedAt": now()}}, ready=group == INIT, started=True)
            for one in containers
        ]


def ready(pod: Object) -> None:
    """The containers are ready; the pod is when its readiness gates are, too."""
    for one in pod["status"].get("containerStatuses", ()):
        one["ready"] = True
    _conditions(pod, ContainersReady=("True", ""))
    gates(pod)


def gates(pod: Object) -> None:
    """Ready, as it follows from the containers and the gates."""
    conditions = pod["status"].setdefault("conditions", [])
    if not is_true(conditions, "ContainersReady"):
        return
    for gate in pod["spec"].get("readinessGates", ()):
        kind = gate["conditionType"]
        if is_true(conditions, kind):
            continue
        said = "does not exist." if find(conditions, kind) is None else 'has status "False", but expected "True".'
        message = f'corresponding condition of pod readiness gate "{kind}" {said}'
        put(conditions, {**_condition("Ready", "False", "ReadinessGatesNotReady"), "message": message})
        return
    put(conditions, _condition("Ready", "True", ""))


def ended(pod: Object, code: int) -> None:
    """All containers have exited."""
    status = pod["status"]
    status["phase"] = "Failed" if code else "Succeeded"
    reason = "PodFailed" if code else "PodCompleted"
    _conditions(
        pod,
        PodReadyToStartContainers=("False", ""),
        Initialized=("True", "PodCompleted"),
        Ready=("False", reason),
        ContainersReady=("False", reason),
    )
    for group, containers in _containers(pod):
        status[group] = [_container(one, _exited(code), ready=_runs_once(group, one)) for one in containers]


def _containers(pod: Object) -> list[tuple[str, list[Object]]]:
    spec = pod["spec"]
    groups = ((INIT, "initContainers"), ("containerStatuses", "containers"))
    return [(status, spec[name]) for status, name in groups if spec.get(name)]


def _runs_once(group: str, container: Object) -> bool:
    """Whether it was over before the pod began, and so is ready for ever."""
    return group == INIT and container.get("restartPolicy") != "Always"


def _container(container: Object, state: Object, *, ready: bool = False, started: bool = False) -> Object:
    return {
        "name": container["name"],
        "state": state,
        "lastState": {},
        "ready": ready,
        "restartCount": 0,
        "image": container["image"],
        "imageID": digest(container["image"]),
        "started": started,
    }


def _exited(code: int) -> Object:
    said = {"exitCode": code, "reason": "Error" if code else "Completed"}
    return {"terminated": {**said, "startedAt": now(), "finishedAt": now()}}


def _condition(kind: str, status: str, reason: str) -> Object:
    made = {"type": kind, "status": status, "lastProbeTime": None, "lastTransitionTime": now()}
    return {**made, "reason": reason} if reason else made


def _conditions(pod: Object, **said: tuple[str, str]) -> None:
    conditions = pod["status"].setdefault("conditions", [])
    for kind, (status, reason) in said.items():
        put(conditions, _condition(kind, status, reason))
