"""The plugin alone, against whatever may listen where the daemon should."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from virtnet.node.daemon import install_plugin

CONFIG = '{"cniVersion": "1.0.0", "name": "blue-net"}'


@contextmanager
def listening(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                answer(client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(10)


def call(directory: Path, command: str, *, config: str = CONFIG, plugin: str = "virtnet-cni") -> tuple[int, Any]:
    done = subprocess.run(
        [directory / plugin], input=config, env={"CNI_COMMAND": command}, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout) if done.stdout else None


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory of plugins; the daemon's socket would be in it."""
    install_plugin(tmp_path, tmp_path / "cni.sock")
    return tmp_path


@pytest.mark.parametrize(
    ("config", "version"),
    [
        pytest.param(CONFIG, "1.0.0", id="said"),
        pytest.param('{"cniVersion":"9.9"}', "1.1.0", id="unknown"),
        pytest.param("{}", "0.1.0", id="not said"),
        pytest.param("", "0.1.0", id="nothing"),
        pytest.param("\udcff\n", "0.1.0", id="not even text"),
    ],
)
def test_version(installed: Path, config: str, version: str) -> None:
    done = subprocess.run(
        [installed / "virtnet-cni"],
        input=config.encode(errors="surrogateescape"),
        env={"CNI_COMMAND": "VERSION"},
        capture_output=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    assert answer["cniVersion"] == version
    assert answer["supportedVersions"] == ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]


@pytest.mark.parametrize(
    ("command", "code"), [("ADD", 11), ("CHECK", 11), ("DEL", 11), ("GC", 11), ("STATUS", 50)], ids=str
)
def test_nobody_listens(installed: Path, command: str, code: int) -> None:
    failed, answer = call(installed, command)
    assert (failed, answer["code"], answer["cniVersion"]) == (1, code, "1.0.0")
    assert str(installed / "cni.sock") in answer["msg"]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\0", id="half a length"),
        pytest.param(b"\0\0\0\x09{}", id="half an answer"),
        pytest.param(b"\0\0\0\0", id="an empty one"),
        pytest.param(b"HTTP/1.1 400 Bad Request", id="another protocol"),
    ],
)
def test_somebody_else_listens(installed: Path, reply: bytes) -> None:
    def answer(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(reply)

    with listening(installed / "cni.sock", answer):
        failed, error = call(installed, "DEL")
    assert (failed, error["code"]) == (1, 11)


def test_what_comes_drop_by_drop_has_an_end(installed: Path) -> None:
    impatient = installed / "impatient"
    text = (installed / "virtnet-cni").read_text()
    assert "SECONDS = 115" in text
    impatient.write_text(text.replace("SECONDS = 115", "SECONDS = 1"))
    impatient.chmod(0o755)
    (installed / "impatient.socket").write_text(str(installed / "cni.sock"))
    gone = threading.Event()

    def answer(client: socket.socket) -> None:
        client.sendall((1000).to_bytes(4))
        with suppress(BrokenPipeError):  # it has had enough
            while not gone.wait(0.1):
                client.sendall(b"x")

    with listening(installed / "cni.sock", answer):
        failed, error = call(installed, "ADD", plugin="impatient")
        gone.set()
    assert (failed, error["code"], error["msg"]) == (1, 11, "virtnet-node has not answered within 1 s")


def test_the_request_arrives_as_it_was(installed: Path) -> None:
    heard: list[dict[str, Any]] = []

    def answer(client: socket.socket) -> None:
        size = int.from_bytes(client.recv(4, socket.MSG_WAITALL))
        heard.append(json.loads(client.recv(size, socket.MSG_WAITALL)))
        client.sendall((3).to_bytes(4) + b"\0{}")

    config = '{"name": "böse \\" \\\\ \\u0000"}\n'
    with listening(installed / "cni.sock", answer):
        assert call(installed, "ADD", config=config) == (0, {})
    assert heard[0]["config"] == config
    assert heard[0]["env"] == {
        "CNI_COMMAND": "ADD", "CNI_CONTAINERID": "", "CNI_NETNS": "", "CNI_IFNAME": "", "CNI_ARGS": "", "CNI_PATH": "",
    }  # fmt: skip


def test_it_starts_as_the_runtime_starts_it(installed: Path) -> None:
    """By its shebang, with the system's Python, with nothing of the environment and no site-packages."""
    first = (installed / "virtnet-cni").read_text().splitlines()[0]
    assert first == "#!/usr/bin/python3 -IS"
    seen = subprocess.run(
        ["/usr/bin/python3", "-IS", "-X", "importtime", installed / "virtnet-cni"],
        input="", env={"CNI_COMMAND": "ADD"}, capture_output=True, text=True, check=False,
    ).stderr  # fmt: skip
    modules = {line.rpartition("|")[2].strip() for line in seen.splitlines()}
    assert "_socket" in modules
    assert not {"re", "json", "socket", "enum", "site"} & modules
