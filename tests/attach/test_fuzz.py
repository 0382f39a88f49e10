"""Requests that no runtime would send: each gets one CNI error, in time; the daemon lives, and nothing is left."""

import asyncio
import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attach.rig import Node
from tests.attach.samples import pod_body
from virtnet.api.names import ATTACHMENTS

ROUNDS = 80
ODDITIES: list[Any] = [
    None, "", "x" * 5000, "\x00", "😀", 0, -1, 2**70, True, [], {}, [[]], {"": ""}, "a/b", "..", "/", "/proc/self/ns/net",
    "10.0.0.5/24", "10.0.0.5", "fd00::1/200", "ff:ff:ff:ff:ff:ff", "0.4.0", "9.9.9", "[" * 3000, "ADD", "DEL", "GC",
    "K8S_POD_NAME=", "=;=;;", "demo/db.blue", [{"containerID": "c1", "ifname": "pod1"}],
]  # fmt: skip
LARGEST_ERROR = 2000


def request(node: Node, command: str, netns: str) -> dict[str, Any]:
    """What the plugin sends."""
    config = {"cniVersion": "1.1.0", "name": "blue-net", "type": "virtnet-cni", "cni.dev/valid-attachments": []}
    uid = node.pods["demo/launcher"]["metadata"]["uid"]
    env = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_IFNAME": "pod1",
        "CNI_NETNS": netns,
        "CNI_ARGS": f"K8S_POD_NAMESPACE=demo;K8S_POD_NAME=launcher;K8S_POD_UID={uid}",
    }
    return {"env": env, "config": config}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, one in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from places(one, (*path, key))


def mutate(body: Any, chance: random.Random) -> Any:
    """The same with one to three of its parts removed or replaced."""
    for _ in range(chance.randint(1, 3)):
        if not (paths := list(places(body))):
            break
        *way, last = chance.choice(paths)
        place = body
        for key in way:
            place = place[key]
        if chance.randrange(4) == 0:
            del place[last]
        else:
            place[last] = chance.choice(ODDITIES)
    return body


def framed(body: Any) -> bytes:
    text = json.dumps({**body, "config": json.dumps(body.get("config"))} if isinstance(body, dict) else body).encode()
    return len(text).to_bytes(4) + text


def torn(frame: bytes, chance: random.Random) -> bytes:
    """The bytes of a frame, some of them others."""
    found = bytearray(frame)
    for _ in range(chance.randint(1, 8)):
        found[chance.randrange(len(found))] = chance.randrange(256)
    return bytes(found)


def answer_to(node: Node, frame: bytes) -> tuple[int, Any] | None:
    """Exit code and answer; None where the daemon has hung up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(node.socket))
        client.sendall(frame)
        client.shutdown(socket.SHUT_WR)
        said = b""
        while part := client.recv(65536):
            said += part
    if not said:
        return None
    assert int.from_bytes(said[:4]) == len(said) - 4, "one frame"
    return said[4], json.loads(said[5:]) if said[5:] else None


def judged(answer: tuple[int, Any] | None, given: object) -> None:
    """Success, or one CNI error of one line that fits into an Event."""
    if answer is not None and answer[0]:
        error = answer[1]
        assert isinstance(error["code"], int), given
        assert error["cniVersion"], given
        assert 0 < len(error["msg"]) <= LARGEST_ERROR, given
        assert "\n" not in error["msg"], given
        assert "the log of virtnet-node" not in error["details"], f"not foreseen: {error} of {given}"


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "STATUS", "GC"])
def test_mutated_requests(node: Node, command: str) -> None:
    chance = random.Random(command)  # noqa: S311 - the same ones each time
    node.pod()
    netns = node.sandbox()
    for number in range(ROUNDS):
        body = mutate(request(node, command, netns), chance)
        frame = torn(framed(body), chance) if number % 4 == 0 else framed(body)
        judged(answer_to(node, frame), frame)
        if command == "ADD":
            node.cni("DEL", netns=netns)
    assert node.cni("STATUS") == (0, None)
    assert node.daemon.pid
    node.clean()
    assert node.nothing_left


def test_mutated_marks_of_pods(node: Node) -> None:
    """Admission wrote the annotation, but another version of it may have."""
    chance = random.Random(1)  # noqa: S311 - the same ones each time
    netns = node.sandbox()
    for _ in range(ROUNDS // 2):
        body = pod_body("launcher")
        marks = mutate(json.loads(body["metadata"]["annotations"][ATTACHMENTS]), chance)
        body["metadata"]["annotations"][ATTACHMENTS] = json.dumps(marks)
        node.pods["demo/launcher"] = body
        node.write_pods()
        judged(answer_to(node, framed(request(node, "ADD", netns))), marks)
        assert node.cni("DEL", netns=netns) == (0, None)
        assert node.nothing_left
    assert node.daemon.pid


def test_slow_speakers_keep_nobody_waiting(node: Node) -> None:
    """A hundred that have sent half a request, and one that sends a byte now and then."""
    frame = framed(request(node, "STATUS", "/run/netns/x")) if node.pod() else b""
    clients = [socket.socket(socket.AF_UNIX) for _ in range(101)]
    try:
        for number, client in enumerate(clients):
            client.connect(str(node.socket))
            client.sendall(frame[: 1 + number % (len(frame) - 1)])
        began = time.monotonic()
        node.add()
        assert node.cni("DEL") == (0, None)
        assert time.monotonic() - began < 10, "those who wait are hung up on after ten seconds"
        last = clients[0]
        last.settimeout(20)
        for number in range(1, len(frame)):
            last.sendall(frame[number : number + 1])
        assert int.from_bytes(last.recv(4)) == 1
    finally:
        for client in clients:
            client.close()
    assert node.cni("STATUS") == (0, None)


async def test_many_at_once(node: Node) -> None:
    """Mutated requests of all commands beside each other, on the same NICs."""
    chance = random.Random(2)  # noqa: S311 - the same ones each time
    node.pod()
    netns = node.sandbox()
    frames = [
        framed(mutate(request(node, chance.choice(["ADD", "DEL", "CHECK", "GC"]), netns), chance))
        for _ in range(ROUNDS)
    ]
    answers = await asyncio.gather(*(asyncio.to_thread(answer_to, node, frame) for frame in frames))
    for frame, answer in zip(frames, answers, strict=True):
        judged(answer, frame)
    node.clean()
    assert node.nothing_left
