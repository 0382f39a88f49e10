"""A batch with bad keys: all others are done, in order, by few attempts."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.controllers.batches import bisect
from virtnet.ovn.errors import Fenced, OvnRejected


class Writer:
    """Writes all keys of an attempt or none."""

    def __init__(self, bad: frozenset[int]) -> None:
        self.bad = bad
        self.written: list[int] = []
        self.attempts = 0

    async def __call__(self, keys: Sequence[int]) -> None:
        self.attempts += 1
        if found := self.bad.intersection(keys):
            raise OvnRejected(f"{sorted(found)}")
        self.written += keys


@given(st.integers(0, 200), st.data())
async def test_all_but_the_bad_are_written_in_their_order(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.frozensets(st.integers(0, max(0, count - 1)), max_size=4)) if count else frozenset()
    writer = Writer(bad)
    refused = await bisect(range(count), writer, (Fenced,))
    assert refused.keys() == bad
    assert {key: str(error) for key, error in refused.items()} == {key: f"[{key}]" for key in bad}
    assert writer.written == [key for key in range(count) if key not in bad]
    assert writer.attempts <= 1 + len(bad) * 2 * math.ceil(math.log2(max(count, 2)))


async def test_what_is_everybodys_trouble_is_raised_at_once() -> None:
    attempts = []

    async def fenced(keys: Sequence[int]) -> None:
        attempts.append(keys)
        raise Fenced("another leads")

    with pytest.raises(Fenced):
        await bisect(range(100), fenced, (Fenced,))
    assert len(attempts) == 1
