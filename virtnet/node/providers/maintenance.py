"""A plugged-in NIC stays plugged in, whatever came between: a lost database, a switch or a node that starts anew."""

import structlog

from virtnet.node.providers.fallback import lost
from virtnet.node.providers.nic import Refusal
from virtnet.node.providers.objects import merged, texts
from virtnet.node.providers.plugging import Plugging
from virtnet.node.providers.records import PluggingRecord, boot_id
from virtnet.ovn.provider_bridges import BridgeFailed

log = structlog.get_logger()


async def hold(plugging: Plugging, record: PluggingRecord) -> PluggingRecord:
    """Plug in what is missing of a NIC that was plugged in. Returns its record as it is now.

    Raises Refusal, OvnError, OSError.
    """
    bridges = plugging.bridges
    nic, link = await plugging.find(record.nic), await plugging.find(record.bridge)
    if nic is None:
        await plugging.ingress.unblock(record.nic)  # of that name will be another one
        raise Refusal(
            "NicMissing",
            f"NIC {record.nic} was there and is gone; its place in {record.bridge} is kept: bring it back, or name "
            "another one in customNics",
        )
    dead = link is None or (link.up and not link.carrier)
    if dead and bridges.owner(record.bridge) is not None:
        raise BridgeFailed(
            f"Open vSwitch does not drive {record.bridge}; is ovs-vswitchd running? Until it does, the node's own "
            f"traffic goes over {record.nic} itself, and guests have no physical network"
        )
    if bridges.owner(record.bridge) is not None and not await plugging.driven(record.bridge):
        raise BridgeFailed(
            f"ovs-vswitchd does not answer for {record.bridge}; does it run? Until then the kernel goes on with "
            "what was under way, and knows no machine that is new"
        )
    if nic.index != record.nic_index:  # a switch in userspace goes on listening to the one that has gone
        await bridges.unplug(record.bridge, record.nic)
    on_nic, on_bridge = await plugging.read(record.nic), await plugging.read(record.bridge)
    if await lost(record, plugging.ingress.here):  # just now: what was read may be but a part
        raise BridgeFailed(f"{record.bridge} was lost; the node's own traffic goes over {record.nic} itself at once")
    now = record.model_copy(
        update={
            "configuration": texts(merged(on_nic, on_bridge)),
            "boot": boot_id(),
            "nic_index": nic.index,
            "mac": nic.mac,
            "mtu": nic.mtu,
            "bridge_index": link.index if link else 0,
        }
    )
    port = bridges.device(record.nic)
    carries = port and port.ofport > 0 and bridges.port_of(record.nic) == record.bridge
    mapped = bridges.mapped(record.provider_network) == record.bridge
    same = now.model_copy(update={"configuration": record.configuration}) == record
    if on_nic or not (carries and mapped and same):
        log.info("plugged in anew", provider_network=record.provider_network, nic=record.nic)
        return await plugging.go_on(now)
    await plugging.filter_ingress(now)
    if {item.key for item in now.objects} != {item.key for item in record.objects}:
        await plugging.records.write(now)
    return now
