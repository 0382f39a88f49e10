"""The status of a NIC that is plugged in, or should be. Pure."""

from virtnet.api import NodeProviderNetwork
from virtnet.node.providers.records import PluggingRecord


def plugged(record: PluggingRecord) -> NodeProviderNetwork:
    return NodeProviderNetwork(
        nic=record.nic,
        bridge=record.bridge,
        mtu=record.mtu,
        mac_address=record.mac,
        ready=True,
        reason="Plugged",
    )


def troubled(record: PluggingRecord, reason: str, message: str) -> NodeProviderNetwork:
    """Return the status of a NIC that is plugged in and does not work as it should."""
    return plugged(record).model_copy(update={"ready": False, "reason": reason, "message": message})


def failed(record: PluggingRecord | None, error: Exception, *, stays: bool) -> NodeProviderNetwork:
    """Return the status after an error. ``stays``: whether the record's NIC is the one that is wanted."""
    if record is None:
        return NodeProviderNetwork(reason="PlugFailed", message=str(error))
    if stays and record.finished:
        return troubled(record, "BridgeFailed", str(error))
    out = f"{record.nic} cannot be taken out of {record.bridge} yet: {error}; it is tried again until it can"
    return troubled(record, "UnplugFailed", out)
