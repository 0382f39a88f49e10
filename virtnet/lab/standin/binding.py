"""KubeVirt's bridge binding: the pod's NIC and the guest's tap in a bridge that has no address and says nothing."""

import random
from dataclasses import dataclass

from virtnet.lab.standin.command import CommandError, execute, run

PREFIX = "pod"


@dataclass(frozen=True)
class Wire:
    """What QEMU is given for one NIC."""

    network: str
    tap: str
    mac: str
    mtu: int


async def bind(netns: str, interface: str, network: str, mac: str) -> Wire:
    """Put the pod's NIC into a bridge with a new tap. Repeated, it begins anew. Raises CommandError.

    The guest has the MAC that the NIC had: so the NIC gets another one, or the bridge would keep the guest's frames.
    """
    identity = interface.removeprefix(PREFIX)
    bridge, tap = f"k6t-{identity}", f"tap{identity}"
    mtu = await _mtu(netns, interface)
    for stale in (tap, bridge):
        await run("ip", "-n", netns, "link", "delete", stale, check=False)
    steps = (
        f"address flush dev {interface}",
        f"link set {interface} address {_other_mac()}",
        f"link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
        f"link set {bridge} mtu {mtu}",
        f"tuntap add dev {tap} mode tap vnet_hdr",
        f"link set {tap} mtu {mtu}",
        f"link set {interface} master {bridge}",
        f"link set {interface} type bridge_slave learning off",
        f"link set {tap} master {bridge}",
        f"link set {tap} up",
        f"link set {bridge} up",
        f"link set {interface} up",
    )
    code, out, err = await execute("ip", "-n", netns, "-batch", "-", stdin="\n".join(steps) + "\n")
    if code:
        raise CommandError(f"bridge binding of {interface} in {netns}: {(err or out).strip()}")
    # A userspace switch reads the other end: checksums must be in the frames, not left to hardware that is not there.
    await run("ip", "netns", "exec", netns, "ethtool", "-K", interface, "tx", "off", check=False)
    return Wire(network, tap, mac, mtu)


async def _mtu(netns: str, interface: str) -> int:
    text = await run("ip", "netns", "exec", netns, "cat", f"/sys/class/net/{interface}/mtu")
    return int(text)


def _other_mac() -> str:
    return "02:" + ":".join(f"{random.randrange(256):02x}" for _ in range(5))
