"""The names that virtnet puts into other people's objects, and the names it derives."""

import hashlib
import re

from virtnet.api.meta import GROUP

ADDRESSES = f"{GROUP}/addresses"
"""On a VM or its template: requested addresses, JSON ``{"<network>": ["10.0.0.5"]}``."""

ROUTES = f"{GROUP}/routes"
"""On a VM, its template or a pod: routes that are asked for, JSON ``{"<network>": [{"destination": ..., "gateway":
...}]}``; of a pod by its interfaces."""

POD_NETWORK = f"{GROUP}/pod-network"
"""On a Namespace, where the pod network is virtnet's: the NAD of its pods' own, ``name`` or ``namespace/name``."""

PINNED = f"{GROUP}/pinned"
"""On a VM: what its NICs hold; JSON of PinnedRecord. Written at admission."""

ATTACHMENTS = f"{GROUP}/attachments"
"""On a pod: what its node needs to know; JSON ``{"<pod interface>": Attachment}``. Written at admission."""

ATTACHED_LABEL = f"{GROUP}/attached"
"""On pods that have ATTACHMENTS, value "true": what the controller watches them by."""

CLAIMED_AT = f"{GROUP}/claimed-at"
"""On leases that a re-created owner has taken over: when. They are not freed for the sake of the earlier owner."""

KUBEVIRT_ADDRESSES = "network.kubevirt.io/addresses"
"""On a VM's template: requested addresses as ipam-extensions reads them, same form as ADDRESSES."""

TUNNEL_ADDRESS = f"{GROUP}/tunnel-address"
"""On a Node: the address of its tunnels, one that the node has."""

TUNNEL_DEVICE = f"{GROUP}/tunnel-device"
"""On a Node: the device whose first address is that of its tunnels."""

OWNER_LABEL = f"{GROUP}/owner-name"
"""On Ports: the owner's name, hashed when over 63 characters."""

CNI_TYPE = "virtnet-cni"
"""The plugin's name in NetworkAttachmentDefinitions, and its file name."""

_INTERFACE = re.compile(r"[^/:\s\0]+")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def is_interface(name: str) -> bool:
    """Whether the kernel takes it for a link: its room is in bytes.

    >>> is_interface("net1"), is_interface("ä" * 8), is_interface("a/b"), is_interface("..")
    (True, False, False, False)
    """
    return bool(_INTERFACE.fullmatch(name)) and len(name.encode(errors="replace")) <= 15 and name not in (".", "..")


def is_name(text: str) -> bool:
    """Whether an object of the API server may have it.

    >>> is_name("blue"), is_name("a.b"), is_name("Blue"), is_name(".."), is_name(" blue")
    (True, True, False, False, False)
    """
    return all(_LABEL.fullmatch(label) for label in text.split("."))


def pod_interface(network: str) -> str:
    """The pod's interface for a VM network, as KubeVirt names secondary NICs (pkg/network/namescheme).

    >>> pod_interface("blue")
    'pod16477688c0e'
    """
    return f"pod{hashlib.sha256(network.encode()).hexdigest()[:11]}"


def port_name(owner: str, network: str) -> str:
    """The name of a NIC's Port: ``owner.network``, made a DNS name where it is none, cut where it is too long.

    >>> port_name("db", "blue")
    'db.blue'

    A name that had to be changed ends in a hash of the original, so that two NICs never share one.
    """
    natural = f"{owner}.{network}"
    if len(natural) <= 253 and _LABEL.fullmatch(network):
        return natural
    digest = hashlib.sha256(natural.encode()).hexdigest()[:10]
    readable = re.sub(r"[^-a-z0-9.]+", "-", natural.lower())[:240].strip("-.")
    return f"{readable}-{digest}"


def label_value(text: str) -> str:
    """The text as a label value: itself, or cut and hashed when over 63 characters."""
    if len(text) <= 63:
        return text
    return f"{text[:52].rstrip('-_.')}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def provider_bridge(provider_network: str) -> str:
    """The OVS bridge of a ProviderNetwork on a node: its name has at most 15 characters, and so ends in a hash.

    >>> provider_bridge("blue")
    'br-blue'
    """
    natural = f"br-{provider_network}"
    if len(natural) <= 15:
        return natural
    return f"{natural[:9]}-{hashlib.sha256(provider_network.encode()).hexdigest()[:5]}"
