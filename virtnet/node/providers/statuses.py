"""What is told of a NIC that is plugged in, or should be. Pure."""

from virtnet.api import NodeProviderNetwork
from virtnet.node.providers.records import Record


def plugged(record: Record) -> NodeProviderNetwork:
    return NodeProviderNetwork(
        nic=record.nic,
        bridge=record.bridge,
        mtu=record.mtu,
        mac_address=record.mac,
        ready=True,
        reason="Plugged",
    )


def troubled(record: Record, reason: str, message: str) -> NodeProviderNetwork:
    """Of one that is plugged in, though not as it should be."""
    return plugged(record).model_copy(update={"ready": False, "reason": reason, "message": message})


def failed(record: Record | None, error: Exception, *, stays: bool) -> NodeProviderNetwork:
    """Of one for which nothing could be done now. ``stays``: whether its record is of the NIC that it is to have."""
    if record is None:
        return NodeProviderNetwork(reason="PlugFailed", message=str(error))
    if stays and record.finished:
        return troubled(record, "BridgeFailed", str(error))
    out = f"{record.nic} cannot be taken out of {record.bridge} yet: {error}; it is tried again until it can"
    return troubled(record, "UnplugFailed", out)
