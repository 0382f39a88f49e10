"""A VMI's status.interfaces, as virt-controller and virt-handler fill it."""

import json
from collections.abc import Container

from virtnet.lab.standin.kubevirt import NETWORK_STATUS, Object, pod_nic

GUEST_FIELDS = ("infoSource", "interfaceName", "ipAddress", "ipAddresses")
"""Where the guest has a say."""


def planned(vmi: Object) -> list[Object]:
    """What virt-controller says once the pod runs: names only."""
    found = []
    for network in vmi["spec"].get("networks", ()):
        said: Object = {"name": network["name"], "podInterfaceName": pod_nic(network)}
        if "multus" in network:
            said["infoSource"] = "multus-status"
        found.append(said)
    return found


def running(vmi: Object, pod: Object, plugged: Container[str]) -> list[Object]:
    """What virt-handler says of a guest that runs; what the guest has told of itself stays.

    ``plugged``: the networks that the guest has a NIC in.
    """
    status = json.loads(pod["metadata"].get("annotations", {}).get(NETWORK_STATUS) or "[]")
    by_interface = {one["interface"]: one for one in status}
    reported = {one["name"]: one for one in vmi["status"].get("interfaces", ()) if "interfaceName" in one}
    sources = {one["name"]: one.get("infoSource", "") for one in vmi["status"].get("interfaces", ())}
    declared = {one["name"]: one for one in vmi["spec"]["domain"]["devices"].get("interfaces", ())}
    found = []
    for said in planned(vmi):
        if "infoSource" in said and said["name"] not in plugged:
            if "multus-status" in sources.get(said["name"], ""):  # the guest has let it go, or has yet to get it
                found.append(said)
            continue
        made = by_interface.get(said["podInterfaceName"], {})
        said["infoSource"] = "domain, multus-status" if made and "infoSource" in said else "domain"
        if ips := made.get("ips"):
            said |= {"ipAddress": ips[0], "ipAddresses": ips}
        interface = declared.get(said["name"], {})
        if mac := interface.get("macAddress") or made.get("mac"):
            said["mac"] = mac
        kept = {field: text for field, text in reported.get(said["name"], {}).items() if field in GUEST_FIELDS}
        link = "down" if interface.get("state") == "down" else "up"
        found.append({**said, "linkState": link, "queueCount": 1, **kept})
    return found
