"""KubeVirt's bridge binding: the pod's NIC and the guest's tap in a bridge that has no address and says nothing."""

import json
import random

from virtnet.lab.standin.command import CommandError, execute, run
from virtnet.lab.standin.kubevirt import Object
from virtnet.lab.standin.wires import TapWire

PREFIX = "pod"


async def bind(netns: str, interface: str, network: str, mac: str) -> TapWire:
    """Put the pod's NIC into a bridge with a new tap. Repeated, it begins anew. Raises CommandError.

    The guest has the MAC that the NIC had: so the NIC takes the bridge's, or the bridge would keep the guest's frames.
    It takes another name, too, and leaves its own to a link that does nothing: whoever looks for the NIC by the name
    that it was attached under finds that, in a lab as in a cluster.
    """
    identity = interface.removeprefix(PREFIX)
    bridge, tap, nic = f"k6t-{identity}", f"tap{identity}", f"{identity}-nic"
    links = await _links(netns)
    begun = nic in links
    stale = {tap, bridge, interface} if begun else {tap, bridge}
    found = nic if begun else interface
    if found not in links:
        raise CommandError(f"bridge binding in {netns}: pod link {interface} is missing")
    mtu, other = int(links[found]["mtu"]), _other_mac()
    steps = (
        *(f"link delete {name}" for name in sorted(stale & set(links))),
        f"link add {bridge} address {other} mtu {mtu} type bridge",
        f"link set {found} down",
        *(() if begun else (f"link set {found} name {nic}",)),
        f"address flush dev {nic}",
        f"link set {nic} address {other}",
        f"link set {nic} master {bridge}",
        f"link set {nic} type bridge_slave learning off",
        f"tuntap add dev {tap} mode tap vnet_hdr",
        f"link set {tap} mtu {mtu} master {bridge} up",
        # KubeVirt has a dummy here; a bridge without ports does as little, and is in every kernel.
        f"link add {interface} address {mac} mtu {mtu} type bridge",
        f"link set {bridge} up",
        f"link set {nic} up",
    )
    code, out, err = await execute("ip", "-n", netns, "-batch", "-", stdin="\n".join(steps) + "\n")
    if code:
        raise CommandError(f"bridge binding of {interface} in {netns}: {(err or out).strip()}")
    await run("ip", "netns", "exec", netns, "ethtool", "-K", bridge, "tx", "off")
    return TapWire(network, tap, mac, mtu)


async def unbind(netns: str, interface: str) -> None:
    """Take apart what ``bind`` has made; the NIC itself is its CNI plugin's. Raises CommandError."""
    identity = interface.removeprefix(PREFIX)
    there = await _links(netns)
    for link in (f"tap{identity}", f"k6t-{identity}", interface):
        if link in there:
            await run("ip", "-n", netns, "link", "delete", link)


async def _links(netns: str) -> dict[str, Object]:
    found = json.loads(await run("ip", "-n", netns, "-json", "link", "show"))
    return {link["ifname"]: link for link in found}


def _other_mac() -> str:
    return "02:" + ":".join(f"{random.randrange(256):02x}" for _ in range(5))
