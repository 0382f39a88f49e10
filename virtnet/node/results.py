"""CNI results, in the version that the runtime speaks."""

from collections.abc import Sequence
from typing import Any

from virtnet.api.records import Attachment
from virtnet.node.journal import Entry
from virtnet.node.nics import ResultInterface
from virtnet.node.request import NEWEST, VERSIONS


def result(entry: Entry, version: str, interfaces: Sequence[ResultInterface]) -> dict[str, Any]:
    """What ADD answers. The addresses are the NIC's also where the guest has them and the pod's interface is bare."""
    if VERSIONS.index(version) < VERSIONS.index("0.3.0"):
        return _of_the_first_versions(entry, version)
    attachment = entry.attachment
    newest = version == NEWEST
    says_family = version.startswith("0.")
    return {
        "cniVersion": version,
        "interfaces": [
            {
                "name": one.name,
                "mac": one.mac,
                **({"sandbox": one.sandbox} if one.sandbox else {}),
                **({"mtu": attachment.mtu} if newest else {}),
                **({"pciID": one.pci_id} if newest and one.pci_id else {}),
                **({"socketPath": one.socket} if newest and one.socket else {}),
            }
            for one in interfaces
        ],
        "ips": [
            {
                "address": address,
                "interface": len(interfaces) - 1,
                **_gateway(attachment, address),
                **({"version": _family(address)} if says_family else {}),
            }
            for address in attachment.addresses
        ],
        "routes": _routes(entry),
        "dns": {},
    }


def _of_the_first_versions(entry: Entry, version: str) -> dict[str, Any]:
    """0.1.0 and 0.2.0 know one address of each family, and no interfaces."""
    attachment = entry.attachment
    found = {
        f"ip{_family(address)}": {
            "ip": address,
            **_gateway(attachment, address),
            "routes": [route for route in _routes(entry) if _family(route["dst"]) == _family(address)],
        }
        for address in attachment.addresses
    }
    return {"cniVersion": version, **found, "dns": {}}


def _gateway(attachment: Attachment, address: str) -> dict[str, str]:
    """The gateway of an address's family, if the default route is this network's."""
    return next(({"gateway": one} for one in attachment.gateways if _family(one) == _family(address)), {})


def _routes(entry: Entry) -> list[dict[str, str]]:
    attachment = entry.attachment
    default = [{"dst": "::/0" if ":" in one else "0.0.0.0/0", "gw": one} for one in attachment.gateways]
    return [*default, *({"dst": route.destination, "gw": route.gateway} for route in attachment.routes)]


def _family(address: str) -> str:
    return "6" if ":" in address else "4"
