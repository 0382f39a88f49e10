"""TLS to OVSDB servers: which files are used, and what is wrong with them when a connection fails.

python-ovs has a stream for ``ssl:`` remotes. It reads the files anew for every connection, so that renewed ones are
taken without a restart, and it knows one set of them for the whole process. What is done about it here: it turns every
failure of TLS into EPERM, polls without a pause while the server's part of the handshake is due, and waits for the
network although the rest of a record is there already.
"""

import contextlib
import errno
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import structlog
from ovs import poller, socket_util, stream

__all__ = ["Certificates", "UnusableFile", "problem", "use_certificates"]

log = structlog.get_logger()

DIRECTORY = Path("/etc/virtnet/ovn")
"""Where manifests mount the Secret."""


@dataclass(frozen=True)
class Certificates:
    """Files in PEM, named as ``kubernetes.io/tls`` Secrets have them."""

    private_key: Path = DIRECTORY / "tls.key"
    certificate: Path = DIRECTORY / "tls.crt"
    ca: Path = DIRECTORY / "ca.crt"

    def context(self) -> ssl.SSLContext:
        """What OVN's own clients ask of a server: a certificate of the CA, under whatever name. Raises UnusableFile."""
        for path in (self.ca, self.certificate, self.private_key):
            _must_be_readable(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise UnusableFile(f"{self.ca} holds no certificate in PEM; put the CA's there") from error
        try:
            context.load_cert_chain(self.certificate, self.private_key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            self._refuse_pair(error)
        return context

    def _refuse_pair(self, error: Exception) -> NoReturn:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            text = f"{self.private_key} is not the key of {self.certificate}; put there what belongs together"
        else:
            text = f"{self.certificate} and {self.private_key} are no certificate with its key, in PEM and unencrypted"
        raise UnusableFile(text) from error

    def explain(self, error: ssl.SSLError, remote: str) -> str:
        """What is wrong, with which file, and what to do."""
        reason = error.reason or str(error)
        if isinstance(error, ssl.SSLCertVerificationError):
            if "expired" in error.verify_message:
                return f"the certificate of {remote}, or its CA's in {self.ca}, has expired; renew it"
            return (
                f"the certificate of {remote} is not of the CA in {self.ca} ({error.verify_message}); "
                "put the CA there that signed it"
            )
        if "ALERT" in reason:
            return self._refused(remote, reason)
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) or reason == "WRONG_VERSION_NUMBER":
            return f"{remote} does not speak TLS; name it as tcp:, or let it listen on pssl:"
        return f"TLS with {remote} fails ({reason})"

    def refusal(self) -> str:
        """Why a server of the same CA would refuse the certificate; empty if it would not. Raises UnusableFile.

        It is tried on such a server, in memory: a real one may reset the connection, and what it said is lost.
        """
        client, server = self.context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client.verify_mode = ssl.CERT_NONE
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(self.ca)
        server.load_cert_chain(self.certificate, self.private_key, password=_no_password)
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        client_side, server_side = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
        try:
            for side in (client_side, server_side, client_side, server_side):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        except ssl.SSLCertVerificationError as error:
            return str(error.verify_message)
        return ""

    def explain_reset(self, remote: str) -> str:
        """What is wrong where a server ends a connection at once; empty where it cannot be the certificate."""
        why = self.refusal()
        return self._refused(remote, why) if why else ""

    def _refused(self, remote: str, why: str) -> str:
        if "expired" in why.lower():
            return f"{remote} refuses {self.certificate}: it has expired; renew it"
        if any(sign in why for sign in _FOREIGN):
            return f"{remote} refuses {self.certificate}: it does not know its CA; have the server's CA sign it"
        return f"{remote} refuses {self.certificate} ({why}); have the server's CA sign one for a TLS client"


class UnusableFile(Exception):  # noqa: N818 - says what it is
    """A certificate or key that cannot be used. The message says which and what to do."""


_FOREIGN = ("UNKNOWN_CA", "DECRYPT_ERROR", "issuer", "self-signed")
"""How OpenSSL names a CA that is another: as an alert, and as an error of its own."""

_certificates = Certificates()
_problems: dict[str, str] = {}


def use_certificates(certificates: Certificates) -> None:
    """Choose the files for ``ssl:`` remotes, of the whole process."""
    global _certificates  # noqa: PLW0603 - python-ovs makes streams by their name alone
    _certificates = certificates


def problem(remote: str) -> str:
    """Why TLS with a remote failed last; empty once it has worked, and for other remotes."""
    return _problems.get(remote, "")


def _tell(remote: str, text: str) -> None:
    if _problems.get(remote) != text:
        log.error("no TLS with OVN", remote=remote, error=text)
        _problems[remote] = text


def _no_password() -> str:
    """Else the library asks the terminal."""
    return ""


def _must_be_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise UnusableFile(f"{path}: {error.strerror}; put it there, or name another file") from error


class TlsStream(stream.SSLStream):  # type: ignore[misc]  # ovs has no types
    """A stream that says why TLS fails."""

    _shaken = False
    _answer_due = False
    _heard = False

    @staticmethod
    def _open(suffix: str, dscp: int) -> tuple[int, Any]:
        try:
            context = _certificates.context()
        except UnusableFile as error:
            _tell(f"ssl:{suffix}", str(error))
            return errno.EPROTO, None
        address = socket_util.inet_parse_active(suffix, 0, raises=False)
        family, plain = socket_util.inet_create_socket_active(socket.SOCK_STREAM, address)
        if plain is None:
            return family, plain
        wrapped = context.wrap_socket(plain, do_handshake_on_connect=False)
        failed = socket_util.inet_connect_active(wrapped, address, family, dscp)
        if not failed:
            wrapped.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return failed, wrapped

    def connect(self) -> int:
        failed = int(stream.Stream.connect(self))
        if failed or self._shaken:
            return failed
        try:
            self.socket.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            self._answer_due = isinstance(error, ssl.SSLWantReadError)
            return errno.EAGAIN
        except OSError as error:
            return self._failed(error)
        self._shaken = True
        return 0

    def wait(self, waiter: Any, wait: int) -> None:
        if self._answer_due and not self._shaken:
            waiter.fd_wait(self.socket, poller.POLLIN)
        elif self._shaken and wait == stream.Stream.W_RECV and self.socket.pending():
            waiter.immediate_wake()
        else:
            super().wait(waiter, wait)

    def recv(self, n: int) -> tuple[int, bytes | str]:
        try:
            failed, received = self._recv(n)
        except ssl.SSLWantReadError:
            return errno.EAGAIN, ""
        except ssl.SSLZeroReturnError:
            return 0, ""
        except OSError as error:
            return self._failed(error), ""
        if received and not self._heard:
            self._heard = True
            _problems.pop(self.name, None)
        return failed, received

    def send(self, buf: bytes | str) -> int:
        try:
            return int(self._send(buf))
        except ssl.SSLWantWriteError:
            return -errno.EAGAIN
        except OSError as error:
            return -self._failed(error)

    def _failed(self, error: OSError) -> int:
        """Why, as a number; what TLS has to say about it is told."""
        closed = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) and self._shaken
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLSyscallError) and not closed:
            _tell(self.name, _certificates.explain(error, self.name))
            return errno.EPROTO
        # With TLS 1.3 a server looks at our certificate when we believe to be connected.
        if self._shaken and not self._heard and (why := self._refused()):
            _tell(self.name, why)
            return errno.EPROTO
        return errno.ECONNRESET if isinstance(error, ssl.SSLError) else error.errno or errno.ECONNRESET

    def _refused(self) -> str:
        try:
            return _certificates.explain_reset(self.name)
        except UnusableFile as error:
            return str(error)


stream.Stream.register_method("ssl", TlsStream)
