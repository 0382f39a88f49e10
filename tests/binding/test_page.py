"""docs/vhostuser.md says what is refused with the words that are used."""

import re
from pathlib import Path

import pytest

from tests.binding.samples import BLUE, DOMAIN, bound, vmi
from virtnet.binding import DomainRefused
from virtnet.binding.nics import nics_of
from virtnet.binding.rewrite import rewrite

PAGE = (Path(__file__).parents[2] / "docs" / "vhostuser.md").read_text()
PRIVATE = b'<memoryBacking><source type="anonymous"/><access mode="private"/></memoryBacking><devices>'


def refusal(domain: bytes, instance: bytes) -> str:
    with pytest.raises(DomainRefused) as caught:
        rewrite(domain, nics_of(instance, {}))
    return f"virtnet-vhostuser: {caught.value}"


def test_the_page_quotes_what_is_said() -> None:
    said = {
        refusal(DOMAIN, vmi(bound(model="e1000"))),
        refusal(DOMAIN.replace(b"<devices>", PRIVATE), vmi(bound())),
        refusal(DOMAIN.replace(b"<devices>", b'<launchSecurity type="sev"/><devices>'), vmi(bound())),
        refusal(DOMAIN, vmi(bound(), networks=[{"name": "blue", "resourceClaim": {}}])),
        refusal(DOMAIN, vmi(bound(mac=""))),
        refusal(DOMAIN, vmi(bound(binding={"name": "vhostuser"}))),
    }
    assert set(re.findall("`(virtnet-vhostuser: .*)`", PAGE)) == said


def test_the_page_says_where_the_socket_is() -> None:
    assert BLUE.socket.replace(BLUE.interface, "INTERFACE") in PAGE
    assert f"{len(BLUE.socket)}\nbytes at most" in PAGE
