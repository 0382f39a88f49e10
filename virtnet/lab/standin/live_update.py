"""What a running VM cannot take as it is: virt-controller asks for a migration, or for a restart. Pure; e3, e4, e10.

A lab's KubeVirt has the rollout strategy LiveUpdate, and LiveMigrate among its workloadUpdateMethods.
"""

import json
from datetime import UTC, datetime, timedelta

from virtnet.lab.standin.conditions import find, now, put
from virtnet.lab.standin.hotplug import absent, attached
from virtnet.lab.standin.kubevirt import NETWORKS, Object, pod_nic
from virtnet.lab.standin.launcher_pod import networks_of

MIGRATION_REQUIRED = "MigrationRequired"
RESTART_REQUIRED = "RestartRequired"

GRACE = timedelta(seconds=20)
"""How long somebody may take to plug a NIC in or out before the VM is migrated for it."""


def require_migration(vmi: Object, pod: Object) -> None:
    """The condition: of a NIC in another network at once, of one that comes or goes when nobody has plugged it."""
    conditions = vmi["status"].setdefault("conditions", [])
    condition = find(conditions, MIGRATION_REQUIRED)
    moved = _moved(vmi, pod)
    if not moved and not _unplugged(vmi, pod):
        if condition is not None:
            conditions.remove(condition)
        return
    due = moved or (condition is not None and grace_left(vmi) == timedelta())
    status, reason = ("True", "AutoMigrationDueToLiveUpdate") if due else ("False", "AutoMigrationPending")
    times = {"lastProbeTime": None, "lastTransitionTime": now()}
    put(conditions, {"type": MIGRATION_REQUIRED, "status": status, "reason": reason, **times})


def grace_left(vmi: Object) -> timedelta:
    """How long it may still be that no migration is required; zero where it is, or where nothing is."""
    condition = find(vmi["status"].get("conditions", ()), MIGRATION_REQUIRED)
    if condition is None or condition["status"] == "True":
        return timedelta()
    return max(timedelta(), GRACE - since(condition))


def since(condition: Object) -> timedelta:
    """How long a condition has been as it is."""
    return datetime.now(UTC) - datetime.fromisoformat(condition["lastTransitionTime"])


def _moved(vmi: Object, pod: Object) -> bool:
    """Whether a NIC of the pod is to be in another network."""
    has = {one["interface"]: one for one in json.loads(pod["metadata"]["annotations"].get(NETWORKS) or "[]")}
    return any(
        (one["namespace"], one["name"]) != (there["namespace"], there["name"])
        for one in networks_of(vmi["spec"], vmi["metadata"]["namespace"])
        if (there := has.get(one["interface"])) is not None
    )


def _unplugged(vmi: Object, pod: Object) -> bool:
    """Whether the pod lacks a NIC, or has one that its guest has let go."""
    made, gone = attached(pod), absent(vmi["spec"])
    sources = {one["name"]: one.get("infoSource", "") for one in vmi["status"].get("interfaces", ())}
    return any(
        sources.get(network["name"]) == "multus-status" if network["name"] in gone else pod_nic(network) not in made
        for network in vmi["spec"].get("networks", ())
        if "multus" in network
    )


def restart_required(vm: Object, vmi: Object) -> str:
    """The NICs by which a VM differs from what runs in a way that only a restart can mend; empty for none.

    To be asked when all that can be copied to the VMI has been. A NIC without the MAC that its VMI has differs.
    """
    template, spec = vm["spec"]["template"]["spec"], vmi["spec"]
    wanted, running = (_nics(one) for one in (template, spec))
    gone = absent(template)
    return ", ".join(
        sorted(
            name
            for name in wanted.keys() | running.keys()
            if wanted.get(name) != running.get(name) and not (name in gone and name not in running)
        )
    )


def _nics(spec: Object) -> dict[str, tuple[Object | None, Object | None]]:
    """By name: interface and network, without what KubeVirt changes while the guest runs."""
    networks = {one["name"]: _network(one) for one in spec.get("networks", ())}
    interfaces = {one["name"]: _interface(one) for one in spec["domain"]["devices"].get("interfaces", ())}
    return {name: (interfaces.get(name), networks.get(name)) for name in networks.keys() | interfaces.keys()}


def _interface(one: Object) -> Object:
    return {field: value for field, value in one.items() if field != "state" and value != ""}


def _network(one: Object) -> Object:
    if "multus" not in one:
        return one
    return {**one, "multus": {field: value for field, value in one["multus"].items() if field != "networkName"}}


def require_restart(vm: Object, vmi: Object | None) -> None:
    """The VM's condition."""
    conditions = vm["status"].setdefault("conditions", [])
    different = restart_required(vm, vmi) if vmi else ""
    if different:
        message = f"a non-live-updatable field was changed in the template spec: NIC {different}"
        times = {"lastProbeTime": None, "lastTransitionTime": now()}
        put(conditions, {"type": RESTART_REQUIRED, "status": "True", "message": message, **times})
    elif (condition := find(conditions, RESTART_REQUIRED)) is not None:
        conditions.remove(condition)
