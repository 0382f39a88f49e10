"""TLS with real database servers: who is let in, and what is said of those who are not."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog.testing

from tests.ovn.waiting import until
from tests.topology.samples import subnet, topology
from virtnet.lab.certificates import Authority
from virtnet.lab.control_plane import free_port
from virtnet.lab.ovn_central import OvnCentral
from virtnet.ovn import tls
from virtnet.ovn.errors import OvnUnavailable
from virtnet.ovn.northbound import OvsdbNorthbound
from virtnet.ovn.southbound import Southbound
from virtnet.ovn.tls import Certificates, use_certificates
from virtnet.topology.difference import difference

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class Server:
    central: OvnCentral
    authority: Authority
    remote: str

    def certificates(self, name: str = "virtnet", lifetime: timedelta = timedelta(days=1)) -> Certificates:
        own = self.authority.client(name, lifetime=lifetime)
        return Certificates(own.key, own.certificate, self.authority.root.certificate)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    authority, port = Authority(tmp_path / "pki"), free_port()
    central = OvnCentral(tmp_path / "ovn", listen={"nb": f"pssl:{port}:127.0.0.1"}, authority=authority)
    central.state.mkdir()
    central.start("nb")
    yield Server(central, authority, f"ssl:127.0.0.1:{port}")
    use_certificates(Certificates())
    central.destroy()


def foreign(server: Server, tmp_path: Path) -> Certificates:
    """Of another authority, but with the right one for the server."""
    own = Authority(tmp_path / "others").client("virtnet")
    return replace(server.certificates(), private_key=own.key, certificate=own.certificate)


def wrong_ca(server: Server, tmp_path: Path) -> Certificates:
    return replace(server.certificates(), ca=Authority(tmp_path / "others").root.certificate)


def expired(server: Server, tmp_path: Path) -> Certificates:
    return server.certificates("late", timedelta(minutes=-1))


def for_servers(server: Server, tmp_path: Path) -> Certificates:
    own = server.authority.server("localhost")
    return replace(server.certificates(), private_key=own.key, certificate=own.certificate)


def another_key(server: Server, tmp_path: Path) -> Certificates:
    return replace(server.certificates(), private_key=server.certificates("other").private_key)


def no_file(server: Server, tmp_path: Path) -> Certificates:
    return replace(server.certificates(), certificate=tmp_path / "none.crt")


def no_pem(server: Server, tmp_path: Path) -> Certificates:
    (tmp_path / "ca.crt").write_text("no certificate")
    return replace(server.certificates(), ca=tmp_path / "ca.crt")


REFUSALS = [
    (foreign, r"ssl:\S+ refuses \S+others/virtnet.crt: it does not know its CA; have the server's CA sign it"),
    (wrong_ca, r"the certificate of ssl:\S+ is not of the CA in \S+others/ca.crt .*; put the CA there that signed it"),
    (expired, r"ssl:\S+ refuses \S+late.crt: it has expired; renew it"),
    (for_servers, r"ssl:\S+ refuses \S+localhost.crt .*have the server's CA sign one for a TLS client"),
    (another_key, r"\S+other.key is not the key of \S+virtnet.crt; put there what belongs together"),
    (no_file, r"\S+none.crt: No such file or directory; put it there, or name another file"),
    (no_pem, r"\S+ca.crt holds no certificate in PEM; put the CA's there"),
]


@pytest.mark.parametrize(("choose", "said"), [pytest.param(*case, id=case[0].__name__) for case in REFUSALS])
async def test_what_is_wrong_is_said_with_the_file_and_the_cure(
    server: Server, tmp_path: Path, choose: Callable[[Server, Path], Certificates], said: str
) -> None:
    use_certificates(choose(server, tmp_path))
    with pytest.raises(OvnUnavailable, match=said), structlog.testing.capture_logs() as logs:
        await OvsdbNorthbound(server.remote).open()
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["no TLS with OVN"]
    use_certificates(server.certificates())
    async with OvsdbNorthbound(server.remote) as client:
        await client.commit(difference(topology(subnet(), 1), []))
    assert "demo/vm10.net" in server.central.nbctl("show")
    assert not tls.problem(server.remote)


async def test_a_server_without_tls_is_named(server: Server) -> None:
    port = free_port()
    server.central.stop("nb")
    plain = OvnCentral(server.central.state, listen={"nb": f"ptcp:{port}:127.0.0.1"})
    plain.start("nb")
    use_certificates(server.certificates())
    with pytest.raises(OvnUnavailable, match="does not speak TLS; name it as tcp:"):
        await OvsdbNorthbound(f"ssl:127.0.0.1:{port}").open(timeout=3)


async def test_a_renewed_certificate_is_taken_without_a_restart(server: Server, tmp_path: Path) -> None:
    """As the kubelet renews a mounted Secret: under the same names."""
    good, late = server.certificates(), expired(server, tmp_path)
    mounted = Certificates(tmp_path / "tls.key", tmp_path / "tls.crt", good.ca)

    def mount(files: Certificates) -> None:
        mounted.private_key.write_bytes(files.private_key.read_bytes())
        mounted.certificate.write_bytes(files.certificate.read_bytes())

    mount(good)
    use_certificates(mounted)
    async with OvsdbNorthbound(server.remote) as client:
        mount(late)
        server.central.restart("nb")
        await until(lambda: tls.problem(server.remote))
        with pytest.raises(OvnUnavailable, match=r"not connected: .*has expired; renew it"):
            await client.commit(difference(topology(subnet(), 1), []))
        mount(good)
        await until(lambda: client.connected)
        assert await client.wait_for_lock(10)
        await client.commit(difference(topology(subnet(), 1), []))


async def test_much_comes_through(server: Server) -> None:
    """More than fits into one record, or into the buffers between the two."""
    use_certificates(server.certificates())
    rows = topology(subnet(), 200)
    async with OvsdbNorthbound(server.remote) as client, OvsdbNorthbound(server.remote, lock="") as other:
        await client.commit(difference(rows, []))
        await until(lambda: len(other.observed()) == len(rows))
        assert difference(rows, other.observed()) == []


async def test_a_server_that_hangs_costs_no_processor(server: Server) -> None:
    """The handshake is waited for."""
    use_certificates(server.certificates())
    server.central.daemons["nb"].freeze()
    loop = asyncio.get_running_loop()
    began = loop.time(), time.process_time()
    with pytest.raises(OvnUnavailable):
        await OvsdbNorthbound(server.remote).open(timeout=2)
    assert time.process_time() - began[1] < (loop.time() - began[0]) / 2


async def test_an_ovn_controller_may_write_nothing_of_others(server: Server, tmp_path: Path) -> None:
    """OVN's role is for the remote that it is set on; virtnet has one of its own."""
    guarded, own = free_port(), free_port()
    central = OvnCentral(
        tmp_path / "roles",
        listen={"sb": f"pssl:{own}:127.0.0.1"},
        authority=server.authority,
        controllers_listen=f"pssl:{guarded}:127.0.0.1",
    )
    central.state.mkdir()
    try:
        central.start()
        files = server.certificates("chassis-one")
        flags = (f"-p{files.private_key}", f"-c{files.certificate}", f"-C{files.ca}")

        def sbctl(port: int, *words: str) -> subprocess.CompletedProcess[str]:
            command = ("ovn-sbctl", f"--db=ssl:127.0.0.1:{port}", *flags, *words)
            return subprocess.run(command, capture_output=True, text=True, check=False)

        add = ("chassis-add", "chassis-two", "geneve", "127.0.0.1")
        assert "permission error" in sbctl(guarded, *add).stderr
        assert sbctl(own, *add).returncode == 0
        use_certificates(files)
        async with Southbound(f"ssl:127.0.0.1:{own}") as southbound:
            await until(lambda: "chassis-two" in southbound.chassis())
    finally:
        central.destroy()


def test_the_command_line_says_it_too(server: Server, tmp_path: Path) -> None:
    files = expired(server, tmp_path)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "virtnet.cli.main", "ovn"),
            *("--ovn-private-key", files.private_key, "--ovn-certificate", files.certificate),
            *("--ovn-ca-cert", files.ca),
            *("diff", "--northbound", server.remote, "--southbound", server.remote),
        ],
        env={"KUBECONFIG": str(kubeconfig), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert f"{server.remote} refuses {files.certificate}: it has expired; renew it" in ran.stderr


KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: none, user: {token: none}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""
