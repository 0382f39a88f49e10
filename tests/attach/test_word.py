"""The word between the nodes of a migration: what it says, however it is said, and what is left out for it."""

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.guest import frame
from tests.attach.rig import MAC
from virtnet.node.word import MOST, Passed, is_word, say

TOKEN = "s" * 32
FRAMES = st.lists(st.integers(0, 9).map(frame), max_size=40)
PLAIN = bytes.fromhex(MAC.replace(":", "") + "02766efffffe" + "88b5") + TOKEN.encode()
"""As it was before there were digests."""


def left(waiting: list[bytes], word: bytes) -> list[bytes]:
    """What of a queue is still to be sent on."""
    passed = Passed.of(word, TOKEN)
    return [one for one in waiting if not passed.take(one)]


@given(waiting=FRAMES, passed=FRAMES, padding=st.integers(0, 50))
def test_each_frame_is_left_out_as_often_as_it_was_let_out(
    waiting: list[bytes], passed: list[bytes], padding: int
) -> None:
    word = say(MAC, TOKEN, passed) + bytes(padding)
    assert is_word(word, TOKEN)
    assert Counter(left(waiting, word)) == Counter(waiting) - Counter(passed)


@given(waiting=FRAMES)
def test_a_word_without_digests_leaves_nothing_out(waiting: list[bytes]) -> None:
    for word in (PLAIN, PLAIN.ljust(60, b"\0"), say(MAC, TOKEN)):
        assert is_word(word, TOKEN)
        assert left(waiting, word) == waiting


def test_who_knows_of_no_digests_sees_the_same_word() -> None:
    assert say(MAC, TOKEN, [frame(1)]).startswith(PLAIN)


@given(rest=st.binary(max_size=100), waiting=FRAMES)
def test_whatever_follows_the_secret_is_read(rest: bytes, waiting: list[bytes]) -> None:
    assert left(waiting, PLAIN + rest) == waiting


@given(passed=FRAMES, cut=st.integers(0, 400))
def test_a_word_that_is_cut_short_leaves_out_no_frame_that_was_not_let_out(passed: list[bytes], cut: int) -> None:
    waiting = [frame(n) for n in range(10)]
    word = say(MAC, TOKEN, passed)[: len(PLAIN) + cut]
    assert set(waiting) - set(passed) <= set(left(waiting, word))


@pytest.mark.parametrize("mtu", [576, 1280, 1400, 9000])
def test_it_passes_where_the_guests_frames_do_and_names_the_first(mtu: int) -> None:
    frames = [frame(n) for n in range(200)]
    word = say(MAC, TOKEN, frames, mtu)
    assert len(word) - 14 <= min(mtu, 1100)
    rest = left(frames, word)
    assert rest == frames[200 - len(rest) :]
    assert 200 - len(rest) == (67 if mtu == 576 else MOST)


def test_nobody_else_can_tell_which_frames_it_means() -> None:
    word = say(MAC, TOKEN, [frame(1)])
    assert hashlib.blake2b(frame(1), digest_size=8).digest() not in word
    assert say(MAC, "t" * 32, [frame(1)])[-8:] != word[-8:]
