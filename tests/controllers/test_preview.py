"""``virtnet ovn diff`` and ``apply``, beside a controller and without one, in a database that others use too."""

import asyncio
import json
import os
import shlex
import subprocess
import sys

from tests.controllers.conftest import World, until
from tests.topology.samples import port, subnet
from virtnet.controllers.preview import stand
from virtnet.engine.keys import ObjectKey
from virtnet.engine.outcome import Outcome
from virtnet.handoff.options import ChassisOptions
from virtnet.lab.control_plane import ControlPlane
from virtnet.topology.port import port_rows

NEUTRON = "neutron-6f7a1b5e-52a1-4b8e-9a57-0d4f4a8c2f10"
NEUTRON_PORT = "c3d5b2a0-1c55-4a6c-8a8e-2f9b61e1d0aa"
FOREIGN = [
    # Neutron's, as networking-ovn names and marks them.
    f"ls-add {NEUTRON}",
    f"set Logical_Switch {NEUTRON} external_ids:neutron\\:network_name=private external_ids:neutron\\:mtu=1442 external_ids:neutron\\:revision_number=2 other_config:mcast_snoop=false",
    f"lsp-add {NEUTRON} {NEUTRON_PORT}",
    f"set Logical_Switch_Port {NEUTRON_PORT} external_ids:neutron\\:port_name=vm external_ids:neutron\\:device_id=7c0e external_ids:neutron\\:cidrs=10.0.0.5/24 options:requested-chassis=ch1",
    f"lsp-set-addresses {NEUTRON_PORT} 'fa:16:3e:00:00:05 10.0.0.5'",
    f"lsp-add {NEUTRON} provnet-0a1b",
    "lsp-set-type provnet-0a1b localnet",
    "lsp-set-options provnet-0a1b network_name=physnet1 mcast_flood=false",
    "lr-add neutron-router -- set Logical_Router neutron-router external_ids:neutron\\:router_name=r1",
    "lr-nat-add neutron-router dnat_and_snat 172.24.4.7 10.0.0.5",
    "pg-add pg_2d1c -- set Port_Group pg_2d1c external_ids:neutron\\:security_group_id=2d1c",
    "acl-add pg_2d1c to-lport 1002 'outport == @pg_2d1c && ip4' allow-related",
    "create DHCP_Options cidr=10.0.0.0/24 external_ids:subnet_id=51aa options:router=10.0.0.1",
    # Kube-OVN's.
    "lr-add ovn-cluster -- set Logical_Router ovn-cluster external_ids:vendor=kube-ovn",
    "ls-add ovn-default -- set Logical_Switch ovn-default external_ids:vendor=kube-ovn other_config:subnet=10.16.0.0/16",
    "ls-add join -- set Logical_Switch join external_ids:vendor=kube-ovn",
    "lrp-add ovn-cluster ovn-cluster-ovn-default 00:00:00:11:22:33 10.16.0.1/16",
    "lsp-add ovn-default db.demo -- set Logical_Switch_Port db.demo external_ids:vendor=kube-ovn external_ids:pod=demo/db external_ids:ls=ovn-default",
    "lb-add cluster-tcp-loadbalancer 10.96.0.1:443 172.18.0.2:6443 -- ls-lb-add ovn-default cluster-tcp-loadbalancer",
    "lr-policy-add ovn-cluster 31000 'ip4.dst == 10.16.0.0/16' allow",
    # A person's.
    "ls-add playground -- lsp-add playground toy",
]
TABLES = ("Logical_Switch", "Logical_Switch_Port", "Logical_Router", "Logical_Router_Port", "DHCP_Options", "ACL",
          "NAT", "Port_Group", "Load_Balancer", "Logical_Router_Policy")  # fmt: skip


def virtnet(world: World, server: ControlPlane, *words: str) -> subprocess.CompletedProcess[str]:
    databases = ("--northbound", world.ovn.remote("nb"), "--southbound", world.ovn.remote("sb"))
    command = [sys.executable, "-m", "virtnet.cli.main", "ovn", words[0], *databases, *words[1:]]
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    return subprocess.run(command, check=False, text=True, capture_output=True, env=environment)


async def ask(world: World, server: ControlPlane, *words: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(virtnet, world, server, *words)


def theirs(world: World) -> dict[str, list[object]]:
    """All rows of others, whole."""
    found: dict[str, list[object]] = {}
    for table in TABLES:
        answer = json.loads(world.ovn.nbctl("--format=json", "list", table))
        rows = [dict(zip(answer["headings"], row, strict=True)) for row in answer["data"]]
        found[table] = [*sorted((row for row in rows if "virtnet/owner" not in json.dumps(row)), key=json.dumps)]
    return found


async def settled(world: World) -> None:
    port = f"{world.namespace}/db.blue"

    async def there() -> bool:
        return port in world.lsps() and world.lsps()[port] != ""

    await until(there, "the port in OVN")


async def test_with_a_controller_there_is_no_difference_and_apply_names_who_writes(
    world: World, api_server: ControlPlane
) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    same = await ask(world, api_server, "diff")
    assert (same.returncode, same.stdout) == (0, ""), same.stderr
    refused = await ask(world, api_server, "apply")
    assert refused.returncode == 2
    assert "the lock virtnet of" in refused.stderr
    assert "--steal" in refused.stderr


DAMAGE = {
    "a port deleted": "lsp-del {ns}/db.blue",
    "a port without addresses": "lsp-set-addresses {ns}/db.blue unknown",
    "a switch renamed": "set Logical_Switch virtnet:Subnet/{ns}/blue name=mine",
    "a switch deleted with all that hung on it": "ls-del virtnet:Subnet/{ns}/blue",
    "a router deleted": "lr-del virtnet:Vpc/{ns}/own",
    "a port hung elsewhere": "ls-add elsewhere-{ns} -- remove Logical_Switch virtnet:Subnet/{ns}/blue ports {{port}} -- add Logical_Switch elsewhere-{ns} ports {{port}}",
    "a second set of DHCP options of one key": 'create DHCP_Options cidr=10.9.0.0/24 external_ids:"virtnet/owner"=virtnet external_ids:"virtnet/id"="Subnet/{ns}/blue:v4"',
}


async def test_damage_is_shown_and_repaired_and_nothing_of_others_is_touched(
    world: World, api_server: ControlPlane
) -> None:
    await world.subnet()
    await world.vm()
    await settled(world)
    world.controller.stop()
    try:
        for line in FOREIGN:
            world.ovn.nbctl(*(argument.replace("neutron:", "neutron\\:") for argument in shlex.split(line)))
        world.ovn.nbctl("--wait=sb", "sync")  # northd has said of them what it has to say
        before = theirs(world)
        for what, command in DAMAGE.items():
            uuid = world.ovn.nbctl("get", "Logical_Switch_Port", f"{world.namespace}/db.blue", "_uuid").strip()
            world.ovn.nbctl(*command.format(ns=world.namespace).replace("{port}", uuid).replace('"', "").split())
            shown = await ask(world, api_server, "diff")
            assert shown.returncode == 1, f"{what}: {shown.stdout}{shown.stderr}"
            assert shown.stdout.startswith("ovn-nbctl "), what
            applied = await ask(world, api_server, "apply")
            assert (applied.returncode, applied.stdout) == (0, shown.stdout), f"{what}: {applied.stderr}"
            again = await ask(world, api_server, "diff")
            assert again.returncode == 0, f"{what}: {again.stdout}"
            if what == "a port hung elsewhere":
                world.ovn.nbctl("ls-del", f"elsewhere-{world.namespace}")
        assert theirs(world) == before
    finally:
        world.controller.start()


async def test_what_cannot_be_reached_is_an_error_and_not_a_difference(world: World, api_server: ControlPlane) -> None:
    nowhere = ("--northbound", "unix:/nowhere.sock", "--southbound", "unix:/nowhere.sock")
    said = await ask(world, api_server, "diff", *nowhere)
    assert said.returncode == 2
    assert "OVN_Northbound from unix:/nowhere.sock" in said.stderr


def test_a_port_in_a_handoff_keeps_its_options() -> None:
    net, key = subnet("blue"), ObjectKey("Port", "demo", "db.net")
    there, wanted = (
        port_rows(port(net, 10, "db.net"), net, options)
        for options in (ChassisOptions(("one", "two"), "rarp", {"state": "Armed"}), ChassisOptions(("one",)))
    )
    assert stand(key, Outcome(wanted), there).rows is None
    assert stand(key, Outcome(wanted), wanted).rows == wanted
