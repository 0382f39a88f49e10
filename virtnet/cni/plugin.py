#!/usr/bin/python3 -IS
"""The CNI plugin: hands the request to the node daemon, and its answer back (CNI 1.1.0).

One file of the standard library, started for every NIC, so it imports next to nothing and knows next to nothing: it
answers VERSION itself, and says what the runtime must do when the daemon is not there. Where the daemon listens is
root's decision: the file ``virtnet-cni.socket`` beside the plugin says so, else it is the default. A network's
configuration, which a tenant may write, has no say in it.
"""

import json
import os
import sys
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812 - the module "socket" costs a third of the whole start

DEFAULT_SOCKET = "/run/virtnet/cni.sock"
VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
VARIABLES = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
ANSWER_SECONDS = 110.0
LARGEST = 4 * 1024 * 1024

TRY_AGAIN, UNAVAILABLE, IO_FAILURE = 11, 50, 5


class DaemonAway(Exception):  # noqa: N818 - says what is the matter
    """The daemon cannot be reached, or went away before it answered."""


def main() -> int:
    command = os.environ.get("CNI_COMMAND", "")
    config = sys.stdin.read()
    version = version_of(config)
    if command == "VERSION":
        return answer({"cniVersion": version, "supportedVersions": VERSIONS})
    request = {"env": {name: os.environ.get(name, "") for name in VARIABLES}, "config": config}
    try:
        reply = ask(socket_path(sys.argv[0]), json.dumps(request).encode())
    except DaemonAway as away:
        return answer(
            error(version, away_code(command), str(away), "is virtnet-node running on this node?"), failed=True
        )
    if "error" in reply:
        return answer({"cniVersion": version, **reply["error"]}, failed=True)
    return answer(reply["result"]) if reply.get("result") else 0


def version_of(config: str) -> str:
    """The version to answer in; the newest where the configuration does not say a usable one."""
    try:
        found = json.loads(config).get("cniVersion", "")
    except (ValueError, AttributeError):
        found = ""
    return found if found in VERSIONS else VERSIONS[-1]


def away_code(command: str) -> int:
    """What the runtime does about it: try again; or, for STATUS, take the node for not ready.

    DEL fails too: a success that did nothing would leave the NIC behind for ever.
    """
    return UNAVAILABLE if command == "STATUS" else TRY_AGAIN


def socket_path(plugin: str) -> str:
    try:
        with open(plugin + ".socket") as file:  # noqa: PTH123 - pathlib costs too much here
            return file.read().strip()
    except OSError:
        return DEFAULT_SOCKET


def ask(path: str, request: bytes) -> dict:  # type: ignore[type-arg]
    """Send one frame (four bytes of length, then JSON), and read one."""
    connection = Socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(path)
        connection.sendall(len(request).to_bytes(4, "big") + request)
        size = int.from_bytes(receive(connection, 4), "big")
        if size > LARGEST:
            raise DaemonAway(f"virtnet-node at {path} does not speak our language")
        reply: dict = json.loads(receive(connection, size))  # type: ignore[type-arg]
    except OSError as problem:
        raise DaemonAway(f"virtnet-node at {path}: {problem}") from problem
    finally:
        connection.close()
    return reply


def receive(connection: Socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 65536))
        if not part:
            raise DaemonAway("virtnet-node ended before it answered")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def error(version: str, code: int, message: str, details: str) -> dict:  # type: ignore[type-arg]
    return {"cniVersion": version, "code": code, "msg": message, "details": details}


def answer(body: dict, *, failed: bool = False) -> int:  # type: ignore[type-arg]
    sys.stdout.write(json.dumps(body))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
