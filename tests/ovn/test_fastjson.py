"""Messages are found whatever the pieces that they come in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.ovn.fastjson import Parser

texts = st.text(st.sampled_from('ab"\\{}[]é\n'), max_size=5)
values = st.recursive(
    st.none() | st.integers() | texts, lambda some: st.lists(some) | st.dictionaries(texts, some), max_leaves=4
)
messages = st.dictionaries(texts, values, max_size=3)


@given(st.lists(messages, min_size=1, max_size=3), st.integers(1, 9), st.booleans())
def test_messages_come_out_as_they_went_in(sent, size, ascii_only):
    stream = "".join(json.dumps(message, ensure_ascii=ascii_only) for message in sent)
    received, parser, rest = [], Parser(), ""
    for start in range(0, len(stream), size):
        rest = stream[start : start + size]
        while rest:
            rest = rest[parser.feed(rest) :]
            if parser.is_done():
                received.append(parser.finish())
                parser = Parser()
    assert received == sent


@pytest.mark.parametrize("garbage", ["x", "]", "}", '{"a":}', "1 "])
def test_garbage_is_an_error_at_once(garbage):
    parser = Parser()
    parser.feed(garbage)
    assert parser.is_done()
    assert isinstance(parser.finish(), str) or garbage == "1 "
