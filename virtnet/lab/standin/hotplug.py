"""NICs that come, change and go while a VM runs: what virt-controller writes about them. Pure; recorded as g1, e3, e4.

The VM's template leads: its new NICs are copied to the VMI, and from there into the annotation of the running pod,
where the dynamic-networks-controller finds them. One that is marked absent goes the same way, and its last traces in
VMI and VM go when the guest has let it go. What a NIC's state or network is from now on is copied to the VMI, too; a
new network comes with a migration (live_update).
"""

import json
from copy import deepcopy

from virtnet.lab.standin.kubevirt import NETWORK_STATUS, NETWORKS, Object, pod_nic
from virtnet.lab.standin.launcher_pod import networks_of


def absent(spec: Object) -> set[str]:
    """The networks of a VMI's spec whose NIC is to go."""
    interfaces = spec["domain"]["devices"].get("interfaces", ())
    return {one["name"] for one in interfaces if one.get("state") == "absent"}


def copy_to_instance(vmi: Object, vm: Object) -> None:
    """New NICs of the bridge and SR-IOV bindings, the states of NICs, and the networks that they are to be in."""
    template, spec = vm["spec"]["template"]["spec"], vmi["spec"]
    known = {one["name"]: one for one in spec["domain"]["devices"].setdefault("interfaces", [])}
    networks = {one["name"]: one for one in template.get("networks", ())}
    for interface in template["domain"]["devices"].get("interfaces", ()):
        name, gone = interface["name"], interface.get("state") == "absent"
        if name in known:
            _copy_state(known[name], interface.get("state", ""))
        elif not gone and {"bridge", "sriov"} & set(interface) and "multus" in networks.get(name, {}):
            spec["domain"]["devices"]["interfaces"].append(deepcopy(interface))
            spec.setdefault("networks", []).append(deepcopy(networks[name]))
    for network in spec.get("networks", ()):
        wanted = networks.get(network["name"], {}).get("multus")
        if "multus" in network and wanted:
            network["multus"]["networkName"] = wanted["networkName"]


def _copy_state(interface: Object, state: str) -> None:
    """One that is to go does not come back."""
    if interface.get("state") == "absent" or interface.get("state", "") == state:
        return
    interface.pop("state", None)
    if state:
        interface["state"] = state


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


def attached(pod: Object) -> set[str]:
    """The interfaces that a pod has, as Multus says."""
    return {one["interface"] for one in json.loads(pod["metadata"]["annotations"].get(NETWORK_STATUS) or "[]")}


def offered(vmi: Object) -> set[str]:
    """The networks whose NIC the pod has, as the VMI says: virt-handler gives its guest no other that comes later."""
    found = vmi["status"].get("interfaces", ())
    return {one["name"] for one in found if "multus-status" in one.get("infoSource", "")}


def report(vmi: Object, pod: Object) -> None:
    """What virt-controller tells of NICs that the pod has got or has lost."""
    made = attached(pod)
    status, gone = vmi["status"], absent(vmi["spec"])
    reported = {one["name"]: one for one in status.setdefault("interfaces", [])}
    for network in vmi["spec"].get("networks", ()):
        name, interface = network["name"], pod_nic(network)
        if "multus" not in network:
            continue
        if name in reported:
            _source(reported[name], plugged=interface in made)
        elif interface in made and name not in gone:
            status["interfaces"].append({"name": name, "podInterfaceName": interface, "infoSource": "multus-status"})


def _source(interface: Object, *, plugged: bool) -> None:
    sources = [one for one in interface.get("infoSource", "").split(", ") if one and one != "multus-status"]
    interface["infoSource"] = ", ".join([*sources, *(["multus-status"] if plugged else [])])
