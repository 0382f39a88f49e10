"""The files with which a process speaks TLS to OVN: the same options wherever there is a remote."""

from pathlib import Path
from typing import Annotated

import typer

from virtnet.ovn.tls import Certificates, use_certificates

DEFAULT = Certificates()

PrivateKeyOption = Annotated[
    Path, typer.Option(envvar="VIRTNET_OVN_PRIVATE_KEY", help="Private key (PEM), for ssl: remotes.")
]
CertificateOption = Annotated[
    Path, typer.Option(envvar="VIRTNET_OVN_CERTIFICATE", help="Certificate (PEM), for ssl: remotes.")
]
CaOption = Annotated[
    Path, typer.Option(envvar="VIRTNET_OVN_CA_CERT", help="The CA of the servers (PEM), for ssl: remotes.")
]


def use(private_key: Path, certificate: Path, ca: Path) -> None:
    """From now on, in the whole process. They are read when a connection is made."""
    use_certificates(Certificates(private_key, certificate, ca))
