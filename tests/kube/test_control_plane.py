"""What starts a control plane, finds it again, and surely ends it."""

import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from virtnet.kube.client import Cluster, Rejected
from virtnet.kube.kinds import NODES
from virtnet.lab.binaries import Binaries, MissingProgram
from virtnet.lab.control_plane import ControlPlane, Identity
from virtnet.lab.daemon import NICENESS, Daemon, DaemonError


@pytest.fixture
def sleeper(tmp_path: Path) -> Daemon:
    return Daemon("sleeper", ("setpriv", "--pdeathsig", "KILL", "sleep", "600"), tmp_path)


def gone(pid: int) -> bool:
    """Wait until a process that is not our child is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


def test_a_daemon_is_found_and_ended_by_whoever_knows_its_directory(sleeper: Daemon, tmp_path: Path) -> None:
    sleeper.start()
    pid = sleeper.pid
    assert pid is not None
    sleeper.start()
    assert sleeper.pid == pid, "one that runs is not started again"
    Daemon("sleeper", (), tmp_path).stop()
    assert sleeper.pid is None
    assert not Path(f"/proc/{pid}").exists()
    sleeper.stop()


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no other lab to be kept waiting."""
    monkeypatch.delenv(NICENESS, raising=False)


@pytest.mark.usefixtures("in_a_hurry")
def test_a_daemon_that_gives_way_to_others(sleeper: Daemon) -> None:
    polite = replace(sleeper, nice=7)
    polite.start()
    pid = polite.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == 7
    group = Path(f"/proc/{pid}/autogroup")
    assert not group.exists() or group.read_text().endswith("nice 7\n")
    polite.kill()


@pytest.mark.usefixtures("in_a_hurry")
def test_a_daemon_that_somebody_starts_who_gives_way(tmp_path: Path) -> None:
    """As the stand-in starts guests."""
    start = "import sys, pathlib, virtnet.lab.daemon as d; d.Daemon('x', ('sleep', '600'), pathlib.Path('.')).start()"
    subprocess.run(["nice", "-n", "7", sys.executable, "-c", start], cwd=tmp_path, check=True)
    started = Daemon("x", (), tmp_path)
    pid = started.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == 0
    started.kill()


def test_a_daemon_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = Daemon(
        "deaf", ("setpriv", "--pdeathsig", "KILL", "sh", "-c", "trap '' TERM; echo deaf; exec sleep 600"), tmp_path
    )
    deaf.start()
    with deaf.log.open() as log:
        while not log.read():
            assert deaf.pid
    deaf.stop(grace=0.2)
    assert deaf.pid is None


def test_a_pid_that_is_anothers_now_is_left_alone(sleeper: Daemon) -> None:
    sleeper.pid_file.write_text(f"{os.getpid()} 1\n")
    assert sleeper.pid is None
    sleeper.kill()
    sleeper.stop()


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(DaemonError, match="there is no program no-such-program"):
        Daemon("x", ("no-such-program",), tmp_path).start()


def test_missing_binaries_are_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("VIRTNET_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    with pytest.raises(MissingProgram, match=r"etcd is not .* run `make setup`"):
        Binaries.find()


def test_binaries_of_another_version_are_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / "kube-1.36.3"
    for directory, version in ((tmp_path, "v1.20.2"), (cache, "v1.36.3")):
        directory.mkdir(exist_ok=True)
        for name in ("etcd", "kube-apiserver", "kubectl"):
            (directory / name).write_text(f"#!/bin/sh\necho Kubernetes {version}\n")
            (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("VIRTNET_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    found = Binaries.find()
    assert (found.etcd, found.apiserver, found.kubectl) == (
        str(tmp_path / "etcd"),
        str(cache / "kube-apiserver"),
        str(cache / "kubectl"),
    )
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert Binaries.find().kubectl == str(tmp_path / "kubectl")


@pytest.mark.system
async def test_it_is_taken_over_with_its_identities(tmp_path: Path) -> None:
    somebody = Identity("node1", user="somebody", uid="somebody", token="secret", groups=("system:authenticated",))
    first = ControlPlane.local(tmp_path, identities=(somebody,))
    try:
        first.start()
        second = ControlPlane(
            state=tmp_path, port=first.port, etcd_port=first.etcd_port, etcd_peer_port=first.etcd_peer_port
        )
        assert second.apiserver.pid == first.apiserver.pid
        async with await Cluster.connect(str(second.kubeconfig_of("node1"))) as node:
            with pytest.raises(Rejected, match='User "somebody" cannot list'):
                await node.list(NODES)
        second.stop()
        assert (first.etcd.pid, first.apiserver.pid) == (None, None)
    finally:
        first.stop()


@pytest.mark.system
def test_it_tells_why_it_does_not_start(tmp_path: Path) -> None:
    wrong = ControlPlane.local(tmp_path, flags=("--no-such-flag",))
    try:
        with pytest.raises(DaemonError, match="unknown flag: --no-such-flag"):
            wrong.start()
    finally:
        wrong.stop()


@pytest.mark.system
def test_it_does_not_outlive_a_test_run_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from virtnet.lab.control_plane import ControlPlane\n"
        "plane = ControlPlane.local(Path(sys.argv[1])); plane.etcd.start(); plane.apiserver.start()\n"
        "print(plane.etcd.pid, plane.apiserver.pid, flush=True); input()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 2
        run.send_signal(signal.SIGKILL)
    assert all(gone(pid) for pid in pids)
