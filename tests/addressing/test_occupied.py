"""Numbers that are taken, against a set of them."""

from hypothesis import given
from hypothesis import strategies as st

from virtnet.addressing.occupied import Occupied

numbers = st.integers(min_value=0, max_value=40)


@given(st.lists(st.tuples(st.booleans(), numbers)))
def test_it_is_the_set_of_what_was_taken_and_not_given_back(steps: list[tuple[bool, int]]) -> None:
    found, expected = Occupied(), set[int]()
    for take, number in steps:
        if take:
            found.add(number)
            expected.add(number)
        else:
            found.discard(number)
            expected.discard(number)
        assert {one for one in range(50) if one in found} == expected
        assert bool(found) == bool(expected)
        for start in range(50):
            assert found.free_from(start) == next(one for one in range(start, 100) if one not in expected)


def test_a_full_range_costs_one_look() -> None:
    """Not one for each address: a Subnet of which all is leased answers as quickly as an empty one."""
    found = Occupied(range(2**16))
    assert len(found._firsts) == 1
    assert found.free_from(0) == 2**16
