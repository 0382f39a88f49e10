"""MAC addresses as NICs may have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.addressing.mac import generate, normalise


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("02:00:00:00:00", "is not a MAC address", id="short"),
        pytest.param("02:00:00:00:00:zz", "is not a MAC address", id="not hexadecimal"),
        pytest.param("0200.0000.0001", "is not a MAC address", id="dots"),
        pytest.param("01:00:5e:00:00:01", "is a multicast address", id="multicast"),
        pytest.param("ff:ff:ff:ff:ff:ff", "is a multicast address", id="broadcast"),
        pytest.param("00:00:00:00:00:00", "is no NIC's address", id="zero"),
    ],
)
def test_what_no_nic_can_have(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        normalise(text)


@given(st.text(), st.integers(min_value=0, max_value=100))
def test_what_is_made_is_valid_and_repeatable(seed: str, attempt: int) -> None:
    mac = generate(seed, attempt)
    assert normalise(mac) == mac == generate(seed, attempt)
