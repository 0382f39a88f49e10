"""What a database server may do to its client: die, hang, move, be replaced, or be of another version."""

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.ovn.waiting import until
from tests.topology.samples import subnet, topology
from virtnet.handoff.options import ChassisOptions
from virtnet.lab.ovn_central import SCHEMAS, OvnCentral
from virtnet.ovn import connection
from virtnet.ovn.northbound import Fenced, OvnRejected, OvnUnavailable, OvsdbNorthbound
from virtnet.topology.difference import difference
from virtnet.topology.names import port_key
from virtnet.topology.rows import Key, Row, Update
from virtnet.topology.transaction import Transaction

pytestmark = pytest.mark.system

BLUE = subnet()
PORT = port_key("demo/vm10.net")
RENAME = [Update(PORT, {"type": "virtual"})]


@pytest.fixture
async def client(northbound_server: OvnCentral) -> AsyncIterator[OvsdbNorthbound]:
    async with OvsdbNorthbound(northbound_server.remote("nb")) as northbound:
        await northbound.commit(difference(topology(BLUE, 2), []))
        yield northbound


async def test_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(OvnUnavailable, match=r"no schema of OVN_Northbound from unix:.*: No such file"):
        await OvsdbNorthbound(f"unix:{tmp_path}/nothing").open()


async def test_a_server_without_the_database_is_told(central: OvnCentral) -> None:
    central.start("sb")
    with pytest.raises(OvnUnavailable, match="it has no database OVN_Northbound"):
        await OvsdbNorthbound(central.remote("sb")).open()


async def test_a_server_that_hangs_is_told(northbound_server: OvnCentral) -> None:
    northbound_server.daemons["nb"].freeze()
    with pytest.raises(OvnUnavailable):
        await OvsdbNorthbound(northbound_server.remote("nb")).open(timeout=0.5)


async def test_a_dead_server_is_unavailable_and_its_return_is_told(
    client: OvsdbNorthbound, central: OvnCentral
) -> None:
    central.kill("nb")
    await until(lambda: not client.connected)
    with pytest.raises(OvnUnavailable):
        await client.commit(RENAME)
    assert len(client.observed()) == len(topology(BLUE, 2))
    heard: list[frozenset[Key]] = []
    client.on_change(heard.append)
    central.start("nb")
    await until(lambda: heard and client.connected)
    assert heard == [frozenset(row.key for row in topology(BLUE, 2))]
    await client.commit(RENAME)
    assert client.observed([PORT])[0].columns["type"] == "virtual"


async def test_changes_made_while_away_are_seen(client: OvsdbNorthbound, central: OvnCentral) -> None:
    central.kill("nb")
    await until(lambda: not client.connected)
    away = OvnCentral(central.state / "away")
    away.state.mkdir()
    shutil.copy(central.database("nb"), away.database("nb"))
    away.start("nb")
    away.nbctl("lsp-del", "demo/vm10.net", "--", "lsp-set-type", "demo/vm11.net", "virtual")
    away.stop("nb")
    shutil.copy(away.database("nb"), central.database("nb"))
    central.start("nb")
    await until(lambda: client.connected)
    assert client.observed([PORT]) == []
    assert client.observed([port_key("demo/vm11.net")])[0].columns["type"] == "virtual"


async def test_a_commit_without_answer_ends_and_its_late_effect_is_told(
    client: OvsdbNorthbound, central: OvnCentral, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_TIMEOUT", 0.3)
    heard: list[frozenset[Key]] = []
    client.on_change(heard.append)
    central.daemons["nb"].freeze()
    started = time.monotonic()
    with pytest.raises(OvnUnavailable, match="before the answer came"):
        await client.commit(RENAME)
    assert time.monotonic() - started < 3
    assert not client.connected
    assert client.observed([PORT])[0].columns["type"] == ""
    central.daemons["nb"].thaw()
    await until(lambda: client.connected)
    # Whether the server still did it or not: what is observed is what is there.
    there = central.nbctl("--bare", "get", "Logical_Switch_Port", "demo/vm10.net", "type").strip().strip('"')
    await until(lambda: client.observed([PORT])[0].columns["type"] == there)
    assert PORT in frozenset().union(*heard)
    await client.commit([Update(PORT, {"type": "localport"})])


async def test_a_cancelled_commit_that_was_not_begun_is_never_done(
    client: OvsdbNorthbound, central: OvnCentral
) -> None:
    central.daemons["nb"].freeze()
    first = asyncio.create_task(client.commit(RENAME))
    second = asyncio.create_task(client.commit([Update(PORT, {"addresses": frozenset({"unknown"})})]))
    await asyncio.sleep(0)
    second.cancel()
    central.daemons["nb"].thaw()
    await first
    assert client.observed([PORT])[0].columns["type"] == "virtual"
    assert client.observed([PORT])[0].columns["addresses"] != frozenset({"unknown"})


HOLDER = """
import asyncio, sys
from virtnet.ovn.northbound import OvsdbNorthbound

async def main():
    async with OvsdbNorthbound(sys.argv[1]) as northbound:
        await northbound.wait_for_lock()
        sys.stderr.write("held\\n")
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_lock_of_a_killed_process_is_free(northbound_server: OvnCentral) -> None:
    remote = northbound_server.remote("nb")
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, remote, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    assert holder.stderr is not None
    assert b"held" in await holder.stderr.readline()
    async with OvsdbNorthbound(remote) as client:
        with pytest.raises(Fenced):
            await client.commit(difference(topology(BLUE, 1), []))
        holder.kill()
        await holder.wait()
        assert await client.wait_for_lock(20)
        await client.commit(difference(topology(BLUE, 1), []))


async def test_of_several_remotes_one_that_answers_is_taken(northbound_server: OvnCentral, tmp_path: Path) -> None:
    async with OvsdbNorthbound(f"unix:{tmp_path}/dead,{northbound_server.remote('nb')}") as client:
        await client.commit(difference(topology(BLUE, 1), []))
        northbound_server.restart("nb")
        await until(lambda: not client.connected)
        await until(lambda: client.connected)


async def test_over_tcp(tmp_path: Path) -> None:
    central = OvnCentral(tmp_path, listen={"nb": "ptcp:16641:127.0.0.1"})
    central.start("nb")
    try:
        async with OvsdbNorthbound("tcp:127.0.0.1:16641") as client:
            await client.commit(difference(topology(BLUE, 1), []))
            assert "demo/vm10.net" in central.nbctl("show")
    finally:
        central.destroy()


async def test_two_connections_do_not_know_each_other(northbound_server: OvnCentral, tmp_path: Path) -> None:
    other = OvnCentral(tmp_path / "other")
    other.start("nb")
    try:
        async with OvsdbNorthbound(northbound_server.remote("nb")) as one, OvsdbNorthbound(other.remote("nb")) as two:
            assert (one.locked, two.locked) == (True, True)
            await one.commit(difference(topology(BLUE, 1), []))
            assert two.observed() == []
    finally:
        other.destroy()


async def test_a_foreign_port_of_the_same_name_is_a_rejection(northbound_server: OvnCentral) -> None:
    northbound_server.nbctl("ls-add", "theirs", "--", "lsp-add", "theirs", "demo/vm10.net")
    async with OvsdbNorthbound(northbound_server.remote("nb")) as client:
        with pytest.raises(OvnRejected, match=r"demo/vm10\.net"):
            await client.commit(difference(topology(BLUE, 1), []))
        assert client.observed() == []


async def test_a_port_that_somebody_hung_on_a_foreign_switch_is_taken_back(
    client: OvsdbNorthbound, central: OvnCentral
) -> None:
    central.nbctl("ls-add", "theirs")
    port = client.observed([PORT])[0]
    assert port.parent is not None
    heard: list[frozenset[Key]] = []
    client.on_change(heard.append)
    central.nbctl(
        *("add", "Logical_Switch", "theirs", "ports", port.uuid),
        *("--", "remove", "Logical_Switch", port.parent.uuid, "ports", port.uuid),
    )
    await until(lambda: any(PORT in keys for keys in heard))
    await client.commit(difference(topology(BLUE, 2), client.observed()))
    assert central.nbctl("lsp-list", "theirs") == ""
    assert "demo/vm10.net" in central.nbctl("lsp-list", "virtnet:Subnet/demo/blue")
    assert difference(topology(BLUE, 2), client.observed()) == []


@pytest.mark.parametrize(
    ("table", "column"),
    [
        pytest.param("DHCP_Options", None, id="no such table"),
        pytest.param("Logical_Switch_Port", "port_security", id="no such column"),
    ],
)
async def test_what_another_version_lacks_is_left_out(central: OvnCentral, table: str, column: str) -> None:
    schema = json.loads((SCHEMAS / "ovn-nb.ovsschema").read_text())
    if column:
        del schema["tables"][table]["columns"][column]
    else:
        del schema["tables"][table]
        for name in ("dhcpv4_options", "dhcpv6_options"):
            del schema["tables"]["Logical_Switch_Port"]["columns"][name]
    (central.state / "older.ovsschema").write_text(json.dumps(schema))
    create(central, "create", central.state / "older.ovsschema")
    central.start("nb")
    rows = [row for row in topology(BLUE, 1) if row.key.table != "DHCP_Options"]
    async with OvsdbNorthbound(central.remote("nb")) as client:
        plain = [row for row in rows if row.key != PORT] if table == "DHCP_Options" else topology(BLUE, 1)
        await client.commit(difference(plain, []))
        assert {row.key for row in client.observed()} == {row.key for row in plain}


async def test_a_raft_cluster_that_was_made_anew_is_not_called_stale(central: OvnCentral) -> None:
    address = "tcp:127.0.0.1:16643"
    create(central, "create-cluster", SCHEMAS / "ovn-nb.ovsschema", address)
    central.start("nb")
    async with OvsdbNorthbound(central.remote("nb")) as client:
        for ports in range(1, 30):
            await client.commit(difference(topology(BLUE, ports), client.observed()))
        central.kill("nb")
        central.erase("nb")
        create(central, "create-cluster", SCHEMAS / "ovn-nb.ovsschema", address)
        heard: list[frozenset[Key]] = []
        client.on_change(heard.append)
        central.start("nb")
        await until(lambda: heard)
        assert client.observed() == []
        await client.commit(difference(topology(BLUE, 1), []))


async def test_printed_transactions_are_what_ovn_nbctl_understands(northbound_server: OvnCentral) -> None:
    before, after = topology(BLUE, 2), topology(BLUE, 1, ChassisOptions(("one", "two"), "rarp", {"state": "Armed"}))
    async with OvsdbNorthbound(northbound_server.remote("nb")) as client:
        for rows in (before, after, []):
            words = shlex.split(str(Transaction(difference(rows, client.observed()))).replace("\\\n", ""))
            northbound_server.nbctl(*words[1:])
            await until(partial(same, client, rows))


def same(client: OvsdbNorthbound, rows: list[Row]) -> bool:
    return difference(rows, client.observed()) == []


def create(central: OvnCentral, verb: str, schema: Path, *local: str) -> None:
    command = ["ovsdb-tool", verb, str(central.database("nb")), str(schema), *local]
    subprocess.run(command, check=True, capture_output=True)
