"""Whether a node's switch serves vhost-user NICs, and what to do where it does not. Pure."""

from virtnet.api.node_devices import SwitchDpdk
from virtnet.ovn.vswitch import Dpdk

KERNEL_DATAPATH = "KernelDatapath"


def judged(dpdk: Dpdk, datapath: str, *, huge_pages: bool, mempools: bool = True) -> SwitchDpdk:
    """``datapath``: of the integration bridge. Whether the node has huge pages, and the switch's DPDK mempools."""
    reason, message = _obstacle(dpdk, datapath, huge_pages=huge_pages, mempools=mempools)
    return SwitchDpdk(
        healthy=not reason, reason=reason, message=message, version=dpdk.version, initialized=dpdk.initialized
    )


def _obstacle(dpdk: Dpdk, datapath: str, *, huge_pages: bool, mempools: bool) -> tuple[str, str]:
    """The first that is to go, as reason and message; empty for none."""
    if not dpdk.version:
        return (
            "NoDpdk",
            "Open vSwitch is built without DPDK here; install one with it (Debian: openvswitch-switch-dpdk)",
        )
    if not (dpdk.asked_for or dpdk.initialized):
        return (
            "DpdkOff",
            f"Open vSwitch does not use its DPDK {dpdk.version}; ovs-vsctl set Open_vSwitch . "
            "other_config:dpdk-init=true, and restart ovs-vswitchd",
        )
    if not dpdk.initialized and not huge_pages:
        return (
            "NoHugePages",
            "DPDK needs huge pages, and this node has none; set vm.nr_hugepages, and restart ovs-vswitchd",
        )
    if not dpdk.initialized:
        return (
            "DpdkNotInitialized",
            "Open vSwitch has not started DPDK; restart ovs-vswitchd if it has run for longer than dpdk-init is set, "
            "else its log says why",
        )
    if not mempools:
        return (
            "NoMempools",
            "DPDK has no buffers for NICs without its driver mempool_ring; install that (Debian 12: "
            "librte-mempool-ring23, 13: librte-mempool-ring25), and restart ovs-vswitchd",
        )
    if not dpdk.serves_vhost_user:
        return ("NoVhostUser", f"Open vSwitch has no interfaces of type dpdkvhostuserclient in its DPDK {dpdk.version}")
    if datapath != "netdev":
        return (
            KERNEL_DATAPATH,
            "the integration bridge forwards in the kernel, which has no vhost-user NICs; ovs-vsctl set Open_vSwitch . "
            "external_ids:ovn-bridge-datapath-type=netdev, which interrupts all of this node's NICs",
        )
    return "", ""
