"""The names that virtnet puts into other people's objects, and the names it derives."""

import hashlib
import re

from virtnet.api.meta import GROUP

ADDRESSES = f"{GROUP}/addresses"
"""On a VM or its template: requested addresses, JSON ``{"<network>": ["10.0.0.5"]}``."""

ROUTES = f"{GROUP}/routes"
"""On a VM, its template or a pod: routes that are asked for, JSON ``{"<network>": [{"destination": ..., "gateway":
...}]}``; of a pod by its interfaces."""

NIC = f"{GROUP}/nic"
"""On a VM or its template: of which kinds its NICs are to be, JSON ``{"<network>": "veth"}``."""

POD_NETWORK = f"{GROUP}/pod-network"
"""On a Namespace, where the pod network is virtnet's: the NAD of its pods' own, ``name`` or ``namespace/name``."""

PINNED = f"{GROUP}/pinned"
"""On a VM: what its NICs hold; JSON of PinnedRecord. Written at admission."""

ATTACHMENTS = f"{GROUP}/attachments"
"""On a pod: what its node needs to know; JSON ``{"<pod interface>": Attachment}``. Written at admission."""

ATTACHED_LABEL = f"{GROUP}/attached"
"""On pods that have ATTACHMENTS, value "true": what the controller watches them by."""

CLAIM = f"{GROUP}/claim"
"""On leases that were claimed again: by which claim. They are kept until the owner that it was made for has come, which
says the same in its own record, or never came."""

KUBEVIRT_ADDRESSES = "network.kubevirt.io/addresses"
"""On a VM's template: requested addresses as ipam-extensions reads them, same form as ADDRESSES."""

TUNNEL_ADDRESS = f"{GROUP}/tunnel-address"
"""On a Node: the address of its tunnels, one that the node has."""

TUNNEL_DEVICE = f"{GROUP}/tunnel-device"
"""On a Node: the device whose first address is that of its tunnels."""

IN_USE = f"{GROUP}/in-use"
"""Finalizer of what others stand on (a Vpc, a Subnet, a ProviderNetwork): its deletion waits for the last of them."""

OWNER_LABEL = f"{GROUP}/owner-name"
"""On Ports: the owner's name, hashed when over 63 characters."""

CNI_TYPE = "virtnet-cni"
"""The plugin's name in NetworkAttachmentDefinitions, and its file name."""

_INTERFACE = re.compile(r"[^/:%\s\x00-\x20\x7f]+")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_HASHED = re.compile(r"-[0-9a-f]{10}$")


def is_interface(name: str) -> bool:
    """Whether the kernel takes it for a link, as it is: its room is in bytes, and ``%d`` would become a number.

    >>> is_interface("net1"), is_interface("ä" * 8), is_interface("a/b"), is_interface(".."), is_interface("net%d")
    (True, False, False, False, False)
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


def port_name(owner: str, network: str, *, pod: bool = False) -> str:
    """The name of a NIC's Port: ``owner.network`` for a VM's, where that is a DNS name and not too long.

    >>> port_name("db", "blue")
    'db.blue'

    Any other ends in a hash of all that it stands for, and so does that of a network whose own name ends like one: no
    two NICs share a name, whatever their owners and networks are called.
    """
    natural = f"{owner}.{network}"
    if not pod and len(natural) <= 253 and _LABEL.fullmatch(network) and not _HASHED.search(network):
        return natural
    whole = f"{natural}@pod" if pod else natural
    if "." in network or "@" in network:  # so that nobody takes it for another owner, or for a pod's
        whole = f"{owner}\0{network}\0{'pod' if pod else 'vm'}"
    readable = re.sub(r"[^-a-z0-9.]+", "-", f"{natural}{'@pod' if pod else ''}".lower())[:240]
    labels = (label.strip("-") for label in readable.split("."))
    return f"{'.'.join(filter(None, labels))}-{hashlib.sha256(whole.encode()).hexdigest()[:10]}"


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


MOST_NICS = 32
"""What a VM or pod may have: admission does work for no more than that."""
