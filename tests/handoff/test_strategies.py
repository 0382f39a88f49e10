"""Which activation strategy a target without a gate gets: one that its OVN does not know would block nothing."""

import pytest

from virtnet.handoff.strategies import strongest


@pytest.mark.parametrize(
    ("version", "strategy"),
    [
        pytest.param("22.09.0", "rarp", id="the first with strategies"),
        pytest.param("23.03.1", "rarp", id="Debian 12"),
        pytest.param("25.03.0", "rarp", id="Debian 13"),
        pytest.param("25.03.90", "rarp", id="on the way to 25.09: may know them, may not"),
        pytest.param("25.09.0", "rarp,garp,na", id="the first with lists"),
        pytest.param("25.09.2-1~deb13u1", "rarp,garp,na", id="packaged"),
        pytest.param("26.3", "rarp,garp,na", id="a year later"),
        pytest.param("25.10", "rarp,garp,na", id="compared as numbers, not as text"),
        pytest.param("100.1", "rarp,garp,na", id="far ahead"),
        pytest.param("", "rarp", id="not told"),
        pytest.param("26", "rarp", id="half told"),
        pytest.param("v26.03", "rarp", id="told in another way"),
        pytest.param("26.x", "rarp", id="no number"),
    ],
)
def test_a_strategy_is_used_only_where_it_is_known(version: str, strategy: str) -> None:
    assert strongest(version) == strategy
