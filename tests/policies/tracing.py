"""OVN's own verdicts, by an ovn-trace that stays: one of a packet in a millisecond. It reads the database once."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from virtnet.lab.databases import QUIET
from virtnet.lab.ovn_central import OvnCentral


class Tracer:
    """A connection to its control socket."""

    def __init__(self, path: Path) -> None:
        self._wire = socket.socket(socket.AF_UNIX)
        self._wire.connect(str(path))
        self._answers = json.JSONDecoder()

    def trace(self, datapath: str, packet: str) -> str:
        """What becomes of a packet, in OVN's words."""
        request = {"id": 0, "method": "trace", "params": ["--summary", datapath, packet]}
        self._wire.sendall(json.dumps(request).encode())
        text = ""
        while True:
            part = self._wire.recv(1 << 16)
            assert part, "ovn-trace has ended"
            text += part.decode()
            try:
                answer, _ = self._answers.raw_decode(text)
            except json.JSONDecodeError:
                continue
            said = str(answer["error"] or answer["result"])
            assert "ingress(" in said, said
            return said

    def close(self) -> None:
        self._wire.close()


@contextmanager
def tracing(ovn: OvnCentral) -> Iterator[Tracer]:
    """Such an ovn-trace of what is written; it detaches when it has read it, and is told to end."""
    ovn.nbctl("--wait=sb", "sync")
    control = ovn.state / "trace.ctl"
    where = (f"--db={ovn.remote('sb')}", f"--unixctl={control}", f"--pidfile={ovn.state / 'trace.pid'}")
    subprocess.run(["ovn-trace", *QUIET, *where, "--detach"], check=True)
    tracer = Tracer(control)
    try:
        yield tracer
    finally:
        tracer.close()
        subprocess.run(["ovn-appctl", "-t", str(control), "exit"], check=True)
