"""Threads of a lab that comes up ask one authority for their certificates at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from cryptography import x509

from virtnet.lab.certificates import Authority, Pair

ASKERS = 8


@pytest.mark.parametrize("attempt", range(5))
def test_those_who_ask_at_once_are_signed_by_one_authority(tmp_path: Path, attempt: int) -> None:
    together = Barrier(ASKERS)

    def ask(number: int) -> Pair:
        together.wait()
        return Authority(tmp_path / "pki").client(f"client-{number % 4}")

    with ThreadPoolExecutor(ASKERS) as pool:
        pairs = set(pool.map(ask, range(ASKERS)))

    root = x509.load_pem_x509_certificate(Authority(tmp_path / "pki").root.certificate.read_bytes())
    assert len(pairs) == 4
    for pair in pairs:
        x509.load_pem_x509_certificate(pair.certificate.read_bytes()).verify_directly_issued_by(root)


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    for path in (authority.client("admin").key, authority.signing_key("accounts"), authority.root.key):
        assert path.stat().st_mode & 0o077 == 0
