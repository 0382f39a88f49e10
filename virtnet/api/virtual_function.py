"""What an administrator says of the virtual functions (VFs) of a ClusterSubnet's NICs."""

from typing import Literal

from pydantic import ConfigDict, Field

from virtnet.api.meta import Spec

VlanProtocol = Literal["802.1Q", "802.1ad"]
VfLinkState = Literal["Auto", "Enable", "Disable"]


class VirtualFunctionSettings(Spec):
    """Each only where it is set: what is left out stays as the node has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.minTxRateMbps) || !has(self.maxTxRateMbps) || self.maxTxRateMbps == 0"
                    " || self.minTxRateMbps <= self.maxTxRateMbps",
                    "message": "minTxRateMbps must not be above maxTxRateMbps",
                },
            ]
        }
    )

    spoof_check: bool | None = Field(
        default=None, description="Whether the NIC drops what a guest sends from another MAC than its own."
    )
    trust: bool | None = Field(
        default=None, description="Whether a guest may change its MAC, and hear more than what is sent to it."
    )
    vlan_qos: int | None = Field(
        default=None, ge=0, le=7, alias="vlanQoS", description="The priority in the VLAN's tag (802.1p)."
    )
    vlan_protocol: VlanProtocol | None = Field(default=None, description="The VLAN's tag.")
    min_tx_rate_mbps: int | None = Field(
        default=None, ge=0, le=1_000_000, description="What a guest may always send, in Mbit/s; 0: nothing for certain."
    )
    max_tx_rate_mbps: int | None = Field(
        default=None, ge=0, le=1_000_000, description="What a guest may send at most, in Mbit/s; 0: all that it can."
    )
    link_state: VfLinkState | None = Field(
        default=None, description="Whether the link is the physical one's (Auto), or always up or down."
    )
