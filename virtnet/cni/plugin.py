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
from _json import make_scanner as Scanner  # noqa: N812 - it is a class
from _signal import SIGALRM, alarm, signal  # type: ignore[import-not-found]  # has no stubs
from _socket import AF_UNIX, SOCK_STREAM
from _socket import socket as Socket  # noqa: N812 - it is a class

DEFAULT_SOCKET = "/run/virtnet/cni.sock"
VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
VARIABLES = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
SECONDS = 115
"""All that one call may take, below kubelet's two minutes, so that the runtime hears why."""
LARGEST = 4 * 1024 * 1024

IO, DECODE, TRY_AGAIN, UNAVAILABLE = 5, 6, 11, 50
STDIN, STDOUT = 0, 1


class Failure(Exception):  # noqa: N818 - says what is the matter
    """Why the runtime gets no answer of the daemon's."""

    def __init__(self, code: int, message: str, details: str) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


class OutOfTime(Exception):  # noqa: N818
    """Raised by the alarm, wherever we are."""


def main() -> int:
    command, config = os.environ.get("CNI_COMMAND", ""), ""
    signal(SIGALRM, give_up)
    alarm(SECONDS)
    try:
        config = configuration()
        code, text = (0, versions(config)) if command == "VERSION" else ask(command, config)
    except Failure as failure:
        code, text = 1, error(config, failure.code, str(failure), failure.details)
    except Exception as problem:  # noqa: BLE001 - a traceback is nothing that a runtime understands
        code, text = 1, error(config, IO, f"virtnet-cni: {problem!r}", "this is a defect of virtnet; please report it")
    return code if said(text) else 1


def give_up(*_: object) -> None:
    raise OutOfTime


def configuration() -> str:
    """What the runtime writes to standard input."""
    parts, left = [], LARGEST + 1
    try:
        while left and (part := os.read(STDIN, min(left, 65536))):
            parts.append(part)
            left -= len(part)
    except OSError as problem:
        raise Failure(IO, f"standard input: {problem}", "the network configuration is expected there") from problem
    except OutOfTime as late:
        message = f"the runtime has not sent the whole network configuration within {SECONDS} s"
        raise Failure(TRY_AGAIN, message, "it has to close standard input") from late
    return b"".join(parts).decode(errors="replace")


def said(text: str) -> bool:
    """Whether the runtime has been told. It has a second to read."""
    alarm(1)
    left = text.encode()
    try:
        while left:
            left = left[os.write(STDOUT, left) :]
    except (OSError, OutOfTime):
        return False
    alarm(0)
    return True


def request(config: str) -> bytes:
    env = ",".join(f'"{name}":{quoted(os.environ.get(name, ""))}' for name in VARIABLES)
    text = f'{{"env":{{{env}}},"config":{quoted(config)}}}'.encode()
    if len(config) > LARGEST or len(text) > LARGEST:
        message = f"the network configuration is larger than virtnet takes, which is {LARGEST} bytes"
        raise Failure(DECODE, message, "shorten it; the NetworkAttachmentDefinition has it, and prevResult is in it")
    return text


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


def away(command: str, message: str) -> Failure:
    """The daemon cannot be reached, or went away before it answered, or is too slow, or is another program.

    The runtime tries again; or, for STATUS, takes the node for not ready. DEL fails too: a success that did nothing
    would leave the NIC behind for ever.
    """
    return Failure(UNAVAILABLE if command == "STATUS" else TRY_AGAIN, message, "is virtnet-node running on this node?")


def socket_path(plugin: str) -> str:
    try:
        with open(plugin + ".socket") as file:  # noqa: PTH123 - pathlib costs too much here
            return file.read().strip()
    except OSError:
        return DEFAULT_SOCKET


def ask(command: str, config: str) -> tuple[int, str]:
    """The daemon's exit code and text."""
    message, path = request(config), f"what {sys.argv[0]}.socket says"
    connection = Socket(AF_UNIX, SOCK_STREAM)
    try:
        path = socket_path(sys.argv[0])
        connection.connect(path)
        connection.sendall(len(message).to_bytes(4, "big") + message)
        reply = receive(connection, size_of(receive(connection, 4)))
        code, text = reply[0], reply[1:].decode()
        check(code, text, command)
    except EOFError:
        raise away(command, "virtnet-node ended before it answered") from None
    except OutOfTime:
        raise away(command, f"virtnet-node has not answered within {SECONDS} s") from None
    except OSError as problem:
        raise away(command, f"virtnet-node at {path}: {problem}") from problem
    except (ValueError, RecursionError, StopIteration) as problem:
        raise away(command, f"what listens at {path} is not virtnet-node") from problem
    finally:
        connection.close()
    return code, text


def size_of(head: bytes) -> int:
    """Raises ValueError."""
    size = int.from_bytes(head, "big")
    if not 0 < size <= LARGEST:
        raise ValueError(size)
    return size


def receive(connection: Socket, size: int) -> bytes:
    parts = []
    while size:
        part = connection.recv(min(size, 65536))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Plain:
    """How JSON is read: as json.loads does by default."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int, parse_constant = float, int, float


def check(code: int, text: str, command: str) -> None:
    """Raises ValueError, RecursionError, StopIteration for what is no answer of CNI."""
    if not text and not code and command != "ADD":
        return
    value, end = Scanner(Plain)(text, 0)  # type: ignore[arg-type]  # only its attributes are read
    if not isinstance(value, dict) or text[end:].strip():
        raise ValueError(text)
    if code and not (isinstance(value.get("code"), int) and value.get("msg") and isinstance(value["msg"], str)):
        raise ValueError(text)


if __name__ == "__main__":
    sys.exit(main())
