"""A NIC has the routes and addresses that it was given: no router's advertisement adds to them."""

import struct
import subprocess
import sys
from ipaddress import IPv6Address
from pathlib import Path
from uuid import uuid4

import pytest

from tests.attach.rig import Node, eventually, inside, run
from tests.attach.test_gates import send
from virtnet.api.addresses import mac_octets
from virtnet.node import frames

pytestmark = pytest.mark.system

ROUTER_MAC = "0c:00:00:00:00:01"
ALL_NODES = IPv6Address("ff02::1")
CAPABILITIES = ("net_admin", "net_raw", "sys_admin", "sys_ptrace")
"""Those of virtnet-node in manifests/base/node.yaml."""


def advertisement(router: str) -> bytes:
    """A router that offers itself as default gateway (RFC 4861, section 4.2), and a prefix for addresses of one's own."""
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + IPv6Address("2001:db8::").packed
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + prefix
    packet = frames._ipv6(IPv6Address(router), ALL_NODES, body)
    return frames._ethernet(frames._multicast(ALL_NODES), mac_octets(ROUTER_MAC), 0, frames.IPV6, packet)


def routers(netns: str) -> set[str]:
    """Whom a namespace has learnt as default gateways."""
    return {route["gateway"] for route in inside(netns, "-6", "route", "show", "default", "proto", "ra")}


@pytest.mark.parametrize("configure", [pytest.param(True, id="an ordinary pod"), pytest.param(False, id="a VM's pod")])
async def test_a_router_that_advertises_itself_is_not_heard(node: Node, configure: bool) -> None:
    node.pod(configure=configure, addresses=["fd00::5/64"])
    netns = node.sandbox()
    node.add(netns=netns)
    (host,) = node.links()
    await send(f"/run/netns/{node.name}", host, advertisement("fe80::1"))
    # One that is heard, to see that the other would have been.
    run("ip", "netns", "exec", Path(netns).name, "sysctl", "-q", "net.ipv6.conf.pod1.accept_ra=1")
    await send(f"/run/netns/{node.name}", host, advertisement("fe80::2"))
    eventually(lambda: routers(netns), "a router heard")
    assert routers(netns) == {"fe80::2"}


def test_settings_are_written_where_proc_is_read_only_with_the_rights_of_the_node() -> None:
    """As in a container that is not privileged. What is written is the namespace's, and nobody's else."""
    netns = f"vna{uuid4().hex[:6]}"
    script = (
        "import asyncio; from virtnet.node import sysctl; from virtnet.node.netns import inside\n"
        f"asyncio.run(inside('/run/netns/{netns}', lambda _: sysctl.write('net/ipv6/conf/lo/accept_ra', 0)))\n"
        "open('/proc/sys/net/ipv6/conf/lo/accept_ra', 'w')"
    )
    read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
    bounding = ",".join(("-all", *(f"+{one}" for one in CAPABILITIES)))
    run("ip", "netns", "add", netns)
    try:
        command = f'{read_only} && exec setpriv --bounding-set={bounding} "$@"'
        words = ["unshare", "--mount", "sh", "-c", command, "sh", sys.executable, "-c", script]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1].startswith("OSError: [Errno 30]"), done.stderr
        accepted = run("ip", "netns", "exec", netns, "cat", "/proc/sys/net/ipv6/conf/lo/accept_ra")
    finally:
        run("ip", "netns", "delete", netns)
    assert accepted == "0\n"
    assert Path("/proc/sys/net/ipv6/conf/lo/accept_ra").read_text() == "1\n"
