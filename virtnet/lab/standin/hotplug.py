"""NICs that come and go while a VM runs: what virt-controller writes about them. Pure; recorded as scenario g1.

The VM's template leads: its new NICs are copied to the VMI, and from there into the annotation of the running pod,
where the dynamic-networks-controller finds them. One that is marked absent goes the same way, and its last traces in
VMI and VM go when the guest has let it go.
"""

import json
from copy import deepcopy

from virtnet.lab.standin.conditions import find, now, put
from virtnet.lab.standin.kubevirt import NETWORK_STATUS, NETWORKS, Object, pod_nic
from virtnet.lab.standin.launcher_pod import networks_of

MIGRATION_REQUIRED = "MigrationRequired"


def absent(spec: Object) -> set[str]:
    """The networks of a VMI's spec whose NIC is to go."""
    interfaces = spec["domain"]["devices"].get("interfaces", ())
    return {one["name"] for one in interfaces if one.get("state") == "absent"}


def copy_to_instance(vmi: Object, vm: Object) -> None:
    """New NICs of the bridge and SR-IOV bindings, and the marks of those that are to go."""
    template, spec = vm["spec"]["template"]["spec"], vmi["spec"]
    known = {one["name"]: one for one in spec["domain"]["devices"].setdefault("interfaces", [])}
    networks = {one["name"]: one for one in template.get("networks", ())}
    for interface in template["domain"]["devices"].get("interfaces", ()):
        name, gone = interface["name"], interface.get("state") == "absent"
        if name in known:
            if gone:
                known[name]["state"] = "absent"
        elif not gone and {"bridge", "sriov"} & set(interface) and "multus" in networks.get(name, {}):
            spec["domain"]["devices"]["interfaces"].append(deepcopy(interface))
            spec.setdefault("networks", []).append(deepcopy(networks[name]))


def remove(spec: Object, gone: set[str]) -> None:
    """Take NICs out of a VMI's spec, or out of a VM's template."""
    devices = spec["domain"]["devices"]
    devices["interfaces"] = [one for one in devices.get("interfaces", ()) if one["name"] not in gone]
    spec["networks"] = [one for one in spec.get("networks", ()) if one["name"] not in gone]


def select(pod: Object, vmi: Object) -> None:
    """Rewrite a running pod's selection of networks. What it has keeps its form, whatever the VMI says by now."""
    annotations = pod["metadata"]["annotations"]
    has = {one["interface"]: one for one in json.loads(annotations.get(NETWORKS) or "[]")}
    wanted = networks_of(vmi["spec"], vmi["metadata"]["namespace"])
    if {one["interface"] for one in wanted} != set(has):
        selected = [has.get(one["interface"], one) for one in wanted]
        annotations[NETWORKS] = json.dumps(selected, separators=(",", ":"))


def report(vmi: Object, pod: Object) -> None:
    """What virt-controller tells of NICs that the pod has got, has lost, or still lacks."""
    made = {one["interface"] for one in json.loads(pod["metadata"]["annotations"].get(NETWORK_STATUS) or "[]")}
    status, gone = vmi["status"], absent(vmi["spec"])
    told = {one["name"]: one for one in status.setdefault("interfaces", [])}
    missing = False
    for network in vmi["spec"].get("networks", ()):
        name, interface = network["name"], pod_nic(network)
        if "multus" not in network:
            continue
        if name in told:
            _source(told[name], plugged=interface in made)
        elif interface in made and name not in gone:
            status["interfaces"].append({"name": name, "podInterfaceName": interface, "infoSource": "multus-status"})
        missing |= interface not in made and name not in gone
    _migration_required(status.setdefault("conditions", []), missing=missing)


def _source(told: Object, *, plugged: bool) -> None:
    sources = [one for one in told.get("infoSource", "").split(", ") if one and one != "multus-status"]
    told["infoSource"] = ", ".join([*sources, *(["multus-status"] if plugged else [])])


def _migration_required(conditions: list[Object], *, missing: bool) -> None:
    """Pending for as long as nobody has plugged the NIC in; what follows after its grace time is not played."""
    condition = find(conditions, MIGRATION_REQUIRED)
    if missing and condition is None:
        times = {"lastProbeTime": None, "lastTransitionTime": now()}
        put(conditions, {"type": MIGRATION_REQUIRED, "status": "False", "reason": "AutoMigrationPending", **times})
    elif not missing and condition is not None:
        conditions.remove(condition)
