"""A launcher's domain: what the sidecar makes of it is what QEMU is given, or the guest does not start."""

import pytest

from virtnet.binding.nics import VhostUserNic
from virtnet.binding.rewrite import rewrite
from virtnet.lab.standin.domain import BadDomain, Domain, domain_xml
from virtnet.lab.standin.wires import VhostUserWire

BLUE = VhostUserNic("blue", "pod16477688c0e", "02:00:00:00:00:01", 1400)
PLAIN = domain_xml("a&b", 1 << 27)


def test_without_a_sidecar_there_is_nothing_of_one() -> None:
    assert Domain.parse(PLAIN) == Domain((), shared_memory=False)


def test_what_the_sidecar_writes_is_read() -> None:
    wire = VhostUserWire("blue", BLUE.mac, BLUE.socket, 1, {"host_mtu": 1400, "vectors": 0})
    made = Domain.parse(rewrite(PLAIN, [BLUE], vectors=0))
    assert made == Domain((wire,), shared_memory=True)
    assert wire.backend("net0") == {"type": "vhost-user", "id": "net0", "chardev": "net0-socket", "queues": 1}
    assert wire.properties() == {"mac": BLUE.mac, "host_mtu": 1400, "vectors": 0}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'access mode="shared"', b'access mode="private"', id="memory that the switch cannot see"),
        pytest.param(b'mode="server"', b'mode="client"', id="a socket that nobody makes"),
        pytest.param(b'<mac address="02:00:00:00:00:01"/>', b"", id="no MAC"),
        pytest.param(b"</devices>", b"", id="no XML"),
    ],
)
def test_what_no_guest_could_be_started_with_is_refused(old: bytes, new: bytes) -> None:
    made = rewrite(PLAIN, [BLUE])
    assert old in made
    with pytest.raises(BadDomain):
        Domain.parse(made.replace(old, new))
