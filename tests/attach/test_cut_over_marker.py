"""The cut-over marker between the nodes of a migration: what it says, however it is said, and what is left out for it."""

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.guest import frame
from tests.attach.samples import MAC
from virtnet.node.handoff.cut_over_marker import MOST_DIGESTS, DeliveredFrames, is_marker, marker

TOKEN = "s" * 32
FRAMES = st.lists(st.integers(0, 9).map(frame), max_size=40)
PLAIN = bytes.fromhex(MAC.replace(":", "") + "02766efffffe" + "88b5") + TOKEN.encode()
"""As it was before there were digests."""


def left(waiting: list[bytes], marker_frame: bytes) -> list[bytes]:
    """What of a queue is still to be sent on."""
    passed = DeliveredFrames.of(marker_frame, TOKEN)
    return [one for one in waiting if not passed.take(one)]


@given(waiting=FRAMES, passed=FRAMES, padding=st.integers(0, 50))
def test_each_frame_is_left_out_as_often_as_it_was_let_out(
    waiting: list[bytes], passed: list[bytes], padding: int
) -> None:
    marker_frame = marker(MAC, TOKEN, passed) + bytes(padding)
    assert is_marker(marker_frame, TOKEN)
    assert Counter(left(waiting, marker_frame)) == Counter(waiting) - Counter(passed)


@given(waiting=FRAMES)
def test_a_word_without_digests_leaves_nothing_out(waiting: list[bytes]) -> None:
    for marker_frame in (PLAIN, PLAIN.ljust(60, b"\0"), marker(MAC, TOKEN)):
        assert is_marker(marker_frame, TOKEN)
        assert left(waiting, marker_frame) == waiting


def test_who_knows_of_no_digests_sees_the_same_marker() -> None:
    assert marker(MAC, TOKEN, [frame(1)]).startswith(PLAIN)


@given(rest=st.binary(max_size=100), waiting=FRAMES)
def test_whatever_follows_the_secret_is_read(rest: bytes, waiting: list[bytes]) -> None:
    assert left(waiting, PLAIN + rest) == waiting


@given(passed=FRAMES, cut=st.integers(0, 400))
def test_a_word_that_is_cut_short_leaves_out_no_frame_that_was_not_let_out(passed: list[bytes], cut: int) -> None:
    waiting = [frame(n) for n in range(10)]
    marker_frame = marker(MAC, TOKEN, passed)[: len(PLAIN) + cut]
    assert set(waiting) - set(passed) <= set(left(waiting, marker_frame))


@pytest.mark.parametrize("mtu", [576, 1280, 1400, 9000])
def test_it_passes_where_the_guests_frames_do_and_names_the_first(mtu: int) -> None:
    frames = [frame(n) for n in range(200)]
    marker_frame = marker(MAC, TOKEN, frames, mtu)
    assert len(marker_frame) - 14 <= min(mtu, 1100)
    rest = left(frames, marker_frame)
    assert rest == frames[200 - len(rest) :]
    assert 200 - len(rest) == (67 if mtu == 576 else MOST_DIGESTS)


def test_nobody_else_can_tell_which_frames_it_means() -> None:
    marker_frame = marker(MAC, TOKEN, [frame(1)])
    assert hashlib.blake2b(frame(1), digest_size=8).digest() not in marker_frame
    assert marker(MAC, "t" * 32, [frame(1)])[-8:] != marker_frame[-8:]
