"""The plugin alone, given anything by the runtime and by what listens: always one CNI error or success, and in time.

Whole processes, as the runtime starts them, so that nothing that Python itself prints escapes.
"""

import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from virtnet.node.daemon import install_plugin
from virtnet.node.request import COMMANDS

SPECIFIED = {1, 2, 3, 4, 5, 6, 7, 11, 50, 51}
"""Codes of the CNI specification; below 100 there must be no others."""

LARGEST = 4 * 1024 * 1024
CONFIG = b'{"cniVersion": "1.0.0", "name": "blue-net"}'
MILLION = 10**6

words = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40).map(str.encode)
raw = st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"."))
values = words | raw | st.sampled_from(
    [b"ADD", b"../../etc", b"K8S_POD_NAME=;;=", b"\xff" * 200, b"x" * 100_000, b"/proc/self/ns/net", b"%s%n", b'"}']
)  # fmt: skip
environments = st.fixed_dictionaries(
    {},
    optional={
        "CNI_COMMAND": st.sampled_from([*(one.encode() for one in COMMANDS), b"VERSION", b"add", b"", b"V\xc3\x84"])
        | raw,
        "CNI_CONTAINERID": values,
        "CNI_NETNS": values,
        "CNI_IFNAME": values,
        "CNI_ARGS": values,
        "CNI_PATH": values,
        "LC_ALL": st.sampled_from([b"C", b"C.UTF-8", b"de_DE.ISO-8859-1", b"nowhere"]),
        "PYTHONIOENCODING": st.just(b"ascii"),
    },
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=10,
)
configs = (
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(["cniVersion", "name", "type", "prevResult"]), json_values).map(
        lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
    )
    | st.sampled_from(
        [b"", b"[" * MILLION, b'{"a":' * MILLION, b'{"cniVersion":', b'{"cniVersion": 7}', b"\xff\xfe{", CONFIG]
    )
)
codes = st.integers(0, 255).map(lambda code: bytes([code]))
texts = (
    st.binary(max_size=100)
    | json_values.map(lambda value: json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass"))
    | st.sampled_from(
        [b"", b"{}", b"{", b'{"code": 7, "msg": "no"}', b'{"code": "7", "msg": "no"}', b"[" * MILLION, b"\xff{}"]
    )
)
replies = (
    st.binary(max_size=60)
    | st.tuples(codes, texts).map(lambda pair: (1 + len(pair[1])).to_bytes(4) + pair[0] + pair[1])
    | st.tuples(st.integers(0, 2**32 - 1), texts).map(lambda pair: pair[0].to_bytes(4) + pair[1])
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of plugins. ``impatient`` waits for a second where the real one, ``patient``, waits for minutes."""
    directory = tmp_path_factory.mktemp("plugins")
    install_plugin(directory, directory / "cni.sock")
    text = (directory / "virtnet-cni").read_text()
    assert "SECONDS = 115" in text
    for name, found in (("patient", text), ("impatient", text.replace("SECONDS = 115", "SECONDS = 1"))):
        (directory / name).write_text(found)
        (directory / name).chmod(0o755)
    return directory


@contextmanager
def listening(directory: Path, reply: bytes, *, hang: bool = False) -> Iterator[None]:
    """Somebody listens where the plugins look, says ``reply``, and hangs up or says nothing more."""
    path = directory / f"{uuid4().hex}.sock"
    for name in ("patient", "impatient"):
        (directory / f"{name}.socket").write_text(str(path))
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(20)

        def serve() -> None:
            with suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.settimeout(20)
                    client.recv(65536)
                    client.sendall(reply)
                    if hang:
                        over.wait(20)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            over.set()
            with socket.socket(socket.AF_UNIX) as last:  # the plugin may not have come at all
                last.connect(str(path))
            thread.join()
            path.unlink()


def judged(plugin: Path, config: bytes, environment: dict[str, bytes]) -> dict[str, Any] | None:
    """The error, or None for success. Fails where it is neither."""
    given = {key.encode(): value for key, value in environment.items()}
    done = subprocess.run([plugin], input=config, env=given, capture_output=True, timeout=30, check=False)
    assert done.stderr == b""
    if done.returncode == 0:
        answer = json.loads(done.stdout) if done.stdout else None
        assert isinstance(answer, dict) or (answer is None and environment.get("CNI_COMMAND") != b"ADD")
        return None
    error = json.loads(done.stdout)
    assert isinstance(error["code"], int)
    assert error["code"] in SPECIFIED or error["code"] >= 100
    assert isinstance(error["msg"], str)
    assert error["msg"]
    return dict(error)


often = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@often
@given(configs, environments)
@example(b"x" * (LARGEST + 1), {"CNI_COMMAND": b"ADD"})
@example(b"\0" * (LARGEST - 1), {"CNI_COMMAND": b"ADD"})
def test_whatever_the_runtime_gives(installed: Path, config: bytes, environment: dict[str, bytes]) -> None:
    with listening(installed, b"\0\0\0\x03\0{}"):
        judged(installed / "impatient", config, environment)


@often
@given(replies, st.sampled_from(COMMANDS))
@example(b"\0\0\0\x01\x01", "ADD")
@example(b"\0\0\0\x01\x00", "ADD")
@example(b"\0\0\0\x04\x00\xff{}", "ADD")
@example(b"\0\0\0\x05\x01\xc3\xa4{}", "ADD")
@example(b"\0\0\0\x03\x01[]", "DEL")
@example(b"\0\0\0\x03\x01{}", "DEL")
@example((MILLION + 1).to_bytes(4) + b"\0" + b"[" * MILLION, "ADD")
def test_whatever_answers(installed: Path, reply: bytes, command: str) -> None:
    with listening(installed, reply):
        judged(installed / "impatient", CONFIG, {"CNI_COMMAND": command.encode()})


@pytest.mark.parametrize(
    "reply", [b"", b"\0\0", b"\0\0\0\x09\x00{"], ids=["nothing", "half a length", "half an answer"]
)
def test_what_hangs_has_an_end(installed: Path, reply: bytes) -> None:
    with listening(installed, reply, hang=True):
        error = judged(installed / "impatient", CONFIG, {"CNI_COMMAND": b"ADD"})
    assert error is not None
    assert (error["code"], error["msg"]) == (11, "virtnet-node has not answered within 1 s")


def test_a_runtime_that_does_not_end_its_configuration(installed: Path) -> None:
    with subprocess.Popen(
        [installed / "impatient"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"CNI_COMMAND": "ADD"},
    ) as started:  # fmt: skip
        assert started.stdout is not None
        assert started.stderr is not None
        assert started.wait(30) == 1
        error, printed = json.loads(started.stdout.read()), started.stderr.read()
    assert printed == b""
    assert (error["code"], error["msg"]) == (11, "the runtime has not sent the whole network configuration within 1 s")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "0<&- 1>&-", "0<&- 1>&- 2>&-", "0</dev/full", "1>/dev/full"])
def test_standard_streams_that_are_closed_or_full(installed: Path, closed: str) -> None:
    ran = subprocess.run(
        ["/bin/sh", "-c", f"exec {installed}/impatient {closed}"],
        stdin=subprocess.DEVNULL, env={"CNI_COMMAND": "ADD"}, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr == b""
    assert "1>" in closed or json.loads(ran.stdout)["code"] in SPECIFIED


@pytest.mark.parametrize("path", [b"\xff\xfe", b"x" * 500, b"a\0b", b""], ids=["no text", "long", "zero byte", "empty"])
def test_a_path_that_is_none(installed: Path, path: bytes) -> None:
    (installed / "impatient.socket").write_bytes(path)
    error = judged(installed / "impatient", CONFIG, {"CNI_COMMAND": b"DEL"})
    assert error is not None
    assert error["code"] == 11


def test_a_configuration_that_is_too_large_is_told_of(installed: Path) -> None:
    with listening(installed, b"\0\0\0\x03\0{}"):
        for config in (b"x" * (LARGEST + 1), b"\0" * (LARGEST - 1)):
            error = judged(installed / "patient", config, {"CNI_COMMAND": b"ADD"})
            assert error is not None
            assert error["code"] == 6
            assert "is larger than virtnet takes" in error["msg"]


def test_nobody_reads_the_answer(installed: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [installed / "impatient"],
        stdin=subprocess.DEVNULL,
        stdout=write,
        stderr=subprocess.PIPE,
        env={"CNI_COMMAND": "DEL"},
    ) as started:
        os.close(write)
        assert started.stderr is not None
        assert started.wait(30) == 1
        assert started.stderr.read() == b""


def test_a_runtime_that_does_not_read(installed: Path) -> None:
    text = json.dumps({"cniVersion": "1.0.0", "dns": {"search": ["x"] * 50_000}}).encode()
    read, write = os.pipe()
    try:
        with (
            listening(installed, (1 + len(text)).to_bytes(4) + b"\0" + text),
            subprocess.Popen(
                [installed / "impatient"], stdin=subprocess.DEVNULL, stdout=write, env={"CNI_COMMAND": "ADD"}
            ) as started,
        ):
            os.close(write)
            assert started.wait(30) == 1
    finally:
        os.close(read)
