"""Guests of a physical network whose own DHCP server gives them their addresses."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.labs import running
from virtnet.api import NodeNetwork, Port
from virtnet.api.names import port_name
from virtnet.kube import kinds
from virtnet.lab import migrate, netns
from virtnet.lab.demo import manifests
from virtnet.lab.demo.cluster import Demo, until
from virtnet.lab.demo.manifests import NAMESPACE

pytestmark = pytest.mark.lab

PORTS, NODES = kinds.of(Port), kinds.of(NodeNetwork)
GATEWAY = "172.31.100.1"


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running("site", 2) as lab:
        found = Demo(lab)
        site = manifests.lan()
        site["metadata"]["name"] = "site"
        site["spec"] = {"providerNetwork": "rack", "vlan": 100, "dhcp": {"enabled": False}}
        nad = manifests.nad("site-net", clusterSubnet="site")
        for body in (manifests.namespace(), manifests.provider_network(), site, nad):
            found.apply(body)
        until(lambda: len(found.plugged("rack")) == 2, "NICs plugged in")
        yield found


@contextmanager
def dhcp_server(outside: str, folder: Path) -> Iterator[None]:
    """A DHCP server of the site, on the VLAN of the machine outside."""
    leases, configuration = folder / "leases", folder / "udhcpd.conf"
    leases.touch()
    lines = [
        "start 172.31.100.230",
        "end 172.31.100.239",
        "interface vlan100",
        "opt subnet 255.255.255.0",
        f"opt router {GATEWAY}",
        f"lease_file {leases}",
        f"pidfile {folder / 'pid'}",
    ]
    configuration.write_text("\n".join([*lines, ""]))
    command = [*netns.prefix(outside), "busybox", "udhcpd", "-f", str(configuration)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.terminate()


def test_a_guest_of_the_sites_own_dhcp_server_keeps_its_address_over_a_migration(demo: Demo, tmp_path: Path) -> None:
    outside = demo.lab.physical.outside

    def port() -> Port:
        name = port_name("leased", "site")
        return Port.parse(demo.lab.ask(lambda cluster: cluster.get(PORTS, name, NAMESPACE)))

    def answers_outside(address: str) -> bool:
        ping = [*netns.prefix(outside), "ping", "-c", "1", "-W", "1", address]
        return subprocess.run(ping, capture_output=True, check=False).returncode == 0

    def heard(node: str) -> tuple[str, ...]:
        body = demo.lab.ask(lambda cluster: cluster.get(NODES, node))
        return NodeNetwork.parse(body).status.seen_addresses.get(f"{NAMESPACE}/{port().name}", ())

    with dhcp_server(outside, tmp_path):
        demo.apply(manifests.vm("leased", network="site"))
        home = until(lambda: demo.node_of("leased"), "the VM running")
        (address,) = until(lambda: port().status.seen_addresses, "the address that its agent tells")
        assert address.startswith("172.31.100.23")
        assert port().spec.addresses == ()
        until(lambda: answers_outside(address), "the guest answering the machine outside")
        until(lambda: heard(home) == (address,), "its node has heard it, too")
        to = next(node for node in demo.lab.nodes if node != home)
        demo.lab.ask(lambda cluster: migrate.migrate(cluster, "leased", NAMESPACE, to=to))
        until(lambda: answers_outside(address), "the guest answering after its migration")
        until(lambda: heard(to) == (address,), "its new node has heard it")
        until(lambda: heard(home) == (), "its old node says nothing of it")
        until(lambda: [one.state for one in port().status.handoffs] == ["Committed"], "its handoff told of")
        assert (demo.node_of("leased"), port().status.seen_addresses) == (to, (address,))
        assert port().status.handoffs[0].fallback_reason == ""
    demo.delete_vms("leased")
