"""Trees of matches: what they print, and that parentheses say what the tree does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virtnet.topology.match import EVERYTHING, Both, Either, Match, Not, Term, both, either, networks

IP, TCP = Term("ip4"), Term("tcp")


@pytest.mark.parametrize(
    ("match", "text"),
    [
        pytest.param(IP, "(ip4)", id="a term"),
        pytest.param(both(IP, TCP), "((ip4) && (tcp))", id="both"),
        pytest.param(both(IP, EVERYTHING), "(ip4)", id="everything narrows nothing"),
        pytest.param(both(), "(1)", id="all of none"),
        pytest.param(either([IP, TCP, IP]), "((ip4) || (tcp))", id="either, each once"),
        pytest.param(either([IP, EVERYTHING]), "(1)", id="one of them is everything"),
        pytest.param(either([]), "(0)", id="any of none"),
        pytest.param(both(IP, Not(either([TCP, IP]))), "((ip4) && (!((tcp) || (ip4))))", id="but for"),
        pytest.param(
            networks(["10.0.0.0/8", "192.168.0.0/16"], "src"), "(ip4.src == {10.0.0.0/8, 192.168.0.0/16})", id="4"
        ),
        pytest.param(
            networks(["fd00::/64", "10.0.0.0/8"], "dst"),
            "((ip4.dst == {10.0.0.0/8}) || (ip6.dst == {fd00::/64}))",
            id="both families",
        ),
        pytest.param(networks([], "src"), "(0)", id="no network"),
    ],
)
def test_a_match_as_text(match: Match, text: str) -> None:
    assert str(match) == text


NAMES = ("a", "b", "c")
trees = st.recursive(
    st.sampled_from(NAMES).map(Term),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: Both(tuple(parts))),
        st.lists(inner, max_size=3).map(lambda parts: Either(tuple(parts))),
        inner.map(Not),
        st.lists(inner, max_size=3).map(lambda parts: both(*parts)),
        st.lists(inner, max_size=3).map(either),
    ),
    max_leaves=8,
)


def holds(match: Match, world: dict[str, bool]) -> bool:
    match match:
        case Term(text):
            return world[text]
        case Both(parts):
            return all(holds(part, world) for part in parts)
        case Either(parts):
            return any(holds(part, world) for part in parts)
        case Not(part):
            return not holds(part, world)


@given(trees, st.fixed_dictionaries({name: st.booleans() for name in NAMES}))
def test_the_text_means_what_the_tree_does(match: Match, world: dict[str, bool]) -> None:
    text = str(match).replace("&&", " and ").replace("||", " or ").replace("!", " not ")
    assert bool(eval(text, {}, world)) == holds(match, world)  # noqa: S307 - of names that stand above
