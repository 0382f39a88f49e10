"""NIC kinds: how a NIC is attached to its node."""

import re
from typing import Annotated

from pydantic import Field

from virtnet.api.grammar import internal

_FORM = "[a-z][a-z0-9-]{0,31}"

NicKind = Annotated[
    str, Field(max_length=32), internal(_FORM, "must be a NIC kind: small letters, digits and '-', such as veth")
]
"""Any kind, also one that only a newer version knows: what that has written is not torn down."""

VETH, SRIOV, SWITCHDEV, VHOSTUSER = "veth", "sriov", "switchdev", "vhostuser"

VHOSTUSER_BINDING = "virtnet-vhostuser"
"""The binding plugin of KubeVirt that stands for VHOSTUSER: its name in the KubeVirt object and in interfaces."""

SERVED_NICS = (VETH, SRIOV, SWITCHDEV, VHOSTUSER)
"""The kinds that this version attaches."""

LINKED_NICS = (VETH,)
"""Those whose frames pass a link of their node, at which gate, drain and probes of a handoff hang."""

EXTERNAL_NICS = (SRIOV,)
"""Those that no switch of OVN's has: their frames are on the physical network at once; no node claims their ports."""

DEVICE_NICS = (SRIOV, SWITCHDEV)
"""Those that have a device of their node, which the kubelet has to allot to the pod."""


def is_nic_kind(text: object) -> bool:
    """Whether it can name a kind.

    >>> is_nic_kind("veth"), is_nic_kind("SR-IOV"), is_nic_kind("")
    (True, False, False)
    """
    return isinstance(text, str) and bool(re.fullmatch(_FORM, text))
