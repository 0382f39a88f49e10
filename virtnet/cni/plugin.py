#!/usr/bin/python3 -IS
"""The CNI plugin: hands the request to the node daemon, and its answer back (CNI 1.1.0).

One file of the standard library, started for every NIC, so it imports next to nothing and knows next to nothing. It
answers VERSION itself, and says what the runtime must do when the daemon is not there. Where the daemon listens is
root's decision: the file ``virtnet-cni.socket`` beside the plugin says so, else it is the default. A network's
configuration, which a tenant may write, has no say in it.

Request: four bytes of length, then JSON of ``env`` and ``config`` (the text from standard input, as it came).
Answer: four bytes of length, then one byte, the exit code, then what goes to standard output.
"""

import os
import sys

# The modules behind json, signal and socket: those import re and enum, which doubles the time of every call.
from _json import encode_basestring_ascii as quoted
from _signal import SIGALRM, alarm, signal  # type: ignore[import-not-found]  # has no stubs
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812 - it is a class

DEFAULT_SOCKET = "/run/virtnet/cni.sock"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
VARIABLES = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
SECONDS = 115
"""All that one call may take, below kubelet's two minutes, so that the runtime hears why."""
LARGEST = 4 * 1024 * 1024

TRY_AGAIN, UNAVAILABLE = 11, 50


class DaemonAway(Exception):  # noqa: N818 - says what is the matter
    """The daemon cannot be reached, or went away before it answered, or is too slow."""


def main() -> int:
    command, config = os.environ.get("CNI_COMMAND", ""), ""
    signal(SIGALRM, give_up)
    alarm(SECONDS)
    try:
        config = sys.stdin.buffer.read(LARGEST).decode(errors="replace")
        if command == "VERSION":
            code, text = 0, versions(config)
        else:
            code, text = ask(socket_path(sys.argv[0]), request(config))
    except DaemonAway as away:
        code, text = 1, error(config, away_code(command), str(away), "is virtnet-node running on this node?")
    finally:
        alarm(0)
    sys.stdout.write(text)
    return code


def give_up(*_: object) -> None:
    raise DaemonAway(f"virtnet-node has not answered within {SECONDS} s")


def request(config: str) -> bytes:
    env = ",".join(f'"{name}":{quoted(os.environ.get(name, ""))}' for name in VARIABLES)
    return f'{{"env":{{{env}}},"config":{quoted(config)}}}'.encode()


def versions(config: str) -> str:
    supported = ",".join(map(quoted, VERSIONS))
    return f'{{"cniVersion":{quoted(version_of(config))},"supportedVersions":[{supported}]}}'


def error(config: str, code: int, message: str, details: str) -> str:
    version = quoted(version_of(config))
    return f'{{"cniVersion":{version},"code":{code},"msg":{quoted(message)},"details":{quoted(details)}}}'


def version_of(config: str) -> str:
    """The version to answer in: the configuration's; the oldest where it says none, as the specification has it.

    Found without reading it as JSON, which the daemon does: a wrong one would only be a wrong label.
    """
    value = config.partition('"cniVersion"')[2].lstrip(" \t\r\n:")
    for version in VERSIONS:
        if value.startswith(quoted(version)):
            return version
    return VERSIONS[-1] if value else VERSIONS[0]


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


def ask(path: str, message: bytes) -> tuple[int, str]:
    """The daemon's exit code and text."""
    connection = Socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.connect(path)
        connection.sendall(len(message).to_bytes(4, "big") + message)
        size = int.from_bytes(receive(connection, 4), "big")
        if not 0 < size <= LARGEST:
            raise DaemonAway(f"what listens at {path} is not virtnet-node")
        reply = receive(connection, size)
    except OSError as problem:
        raise DaemonAway(f"virtnet-node at {path}: {problem}") from problem
    finally:
        connection.close()
    return reply[0], reply[1:].decode()


def receive(connection: Socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 65536))
        if not part:
            raise DaemonAway("virtnet-node ended before it answered")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main())
