"""CNI results, in the version that the runtime speaks."""

from typing import Any

from virtnet.node.journal import Entry
from virtnet.node.request import NEWEST, VERSIONS


def result(entry: Entry, version: str, host_mac: str) -> dict[str, Any]:
    """What ADD answers. The addresses are the NIC's also where the guest has them and the pod's interface is bare."""
    if VERSIONS.index(version) < VERSIONS.index("0.3.0"):
        return _of_the_first_versions(entry, version)
    attachment = entry.attachment
    mtu = {"mtu": attachment.mtu} if version == NEWEST else {}
    family = {"version": "4"} if version.startswith("0.") else {}
    gateway = {"gateway": attachment.gateway} if attachment.gateway else {}
    return {
        "cniVersion": version,
        "interfaces": [
            {"name": entry.host_name, "mac": host_mac, **mtu},
            {"name": entry.interface, "mac": attachment.mac, "sandbox": entry.netns, **mtu},
        ],
        "ips": [{"address": address, "interface": 1, **gateway, **family} for address in attachment.addresses],
        "routes": _routes(entry),
        "dns": {},
    }


def _of_the_first_versions(entry: Entry, version: str) -> dict[str, Any]:
    """0.1.0 and 0.2.0 know one address of each family, and no interfaces."""
    attachment = entry.attachment
    gateway = {"gateway": attachment.gateway} if attachment.gateway else {}
    first = [
        {"ip": address, **gateway, "routes": _routes(entry)} for address in attachment.addresses if ":" not in address
    ]
    return {"cniVersion": version, **({"ip4": first[0]} if first else {}), "dns": {}}


def _routes(entry: Entry) -> list[dict[str, str]]:
    attachment = entry.attachment
    default = [{"dst": "0.0.0.0/0", "gw": attachment.gateway}] if attachment.gateway else []
    return [*default, *({"dst": route.destination, "gw": route.gateway} for route in attachment.routes)]
