"""Messages are found whatever the pieces that they come in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovs.jsonrpc import Message

from virtnet.ovn.fastjson import Parser

texts = st.text(st.sampled_from('ab"\\{}[]é\n'), max_size=5)
values = st.recursive(
    st.none() | st.integers() | texts, lambda some: st.lists(some) | st.dictionaries(texts, some), max_leaves=4
)
messages = st.dictionaries(texts, values, max_size=3)


@given(st.lists(messages, min_size=1, max_size=3), st.integers(1, 9), st.booleans())
def test_messages_come_out_as_they_went_in(sent: list[dict[str, Any]], size: int, ascii_only: bool) -> None:
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


@pytest.mark.parametrize("garbage", ["x", "]", "}", '{"a":}'])
def test_garbage_is_an_error_at_once(garbage: str) -> None:
    parser = Parser()
    parser.feed(garbage)
    assert parser.is_done()
    assert isinstance(parser.finish(), str)


@pytest.mark.parametrize("value", ["1 ", "[1]", "null"])
def test_what_is_no_object_is_no_message(value: str) -> None:
    """The parser hands it on as it is, and python-ovs refuses it."""
    parser = Parser()
    parser.feed(value)
    assert parser.is_done()
    found = parser.finish()
    assert found == json.loads(value)
    assert isinstance(Message.from_json(found), str)
