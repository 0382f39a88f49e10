"""Wait until an API server is ready: ``readiness.py ADDRESS PORT CA CERT KEY PID SECONDS``.

A program of its own, because it has to run in the network namespace of the server; of the standard library alone, so
that it starts in no time. Exits 0 when the server is ready, else prints its last answer.
"""

import contextlib
import http.client
import ssl
import sys
import time
from pathlib import Path

# The namespace is made by a loop that readiness does not wait for.
PATHS = ("/readyz?verbose", "/api/v1/namespaces/default")


def refusal(address: str, port: int, tls: ssl.SSLContext) -> str:
    """What the server (or the way to it) says while it is not ready; then nothing."""
    connection = http.client.HTTPSConnection(address, port, timeout=5, context=tls)
    with contextlib.closing(connection):
        for path in PATHS:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
            except (OSError, http.client.HTTPException) as problem:
                return str(problem) or type(problem).__name__
            if answer.status != http.client.OK:
                return text
    return ""


def running(pid: str) -> bool:
    """Whether the server's process is alive. A zombie, which nobody has waited for yet, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def main(arguments: list[str]) -> int:
    address, port, authority, certificate, key, pid, seconds = arguments
    tls = ssl.create_default_context(cafile=authority)
    tls.load_cert_chain(certificate, key)
    end = time.monotonic() + float(seconds)
    while said := refusal(address, int(port), tls):
        if time.monotonic() > end or not running(pid):
            sys.stderr.write(f"{said}\n")
            return 1
        time.sleep(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
