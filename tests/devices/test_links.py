"""Links that come and go, as a node tells of them."""

from hypothesis import given
from hypothesis import strategies as st

from virtnet.node.devices.found import Netdev
from virtnet.node.devices.links import STEADY_SECONDS, Counted, count, due

STEPS = st.lists(
    st.tuples(st.sampled_from(("Up", "NoCarrier", "Disabled")), st.integers(0, 1), st.floats(0.1, 30)), max_size=30
)


def test_a_link_that_flaps_is_told_of_once() -> None:
    counted = count({}, [Netdev("eth0", "Up")], 0)
    told = []
    for second in range(1, 60):
        counted = count(counted, [Netdev("eth0", "Up" if second % 2 else "NoCarrier", "", second)], second)
        told.append(counted["eth0"].state)
    assert told == ["Up"] + ["NoCarrier"] * 58


def test_a_link_that_stays_up_counts_as_up_again() -> None:
    counted = count({}, [Netdev("eth0", "NoCarrier")], 0)
    counted = count(counted, [Netdev("eth0", "Up", "", 1)], 5)
    assert (counted["eth0"].state, due(counted)) == ("NoCarrier", 5 + STEADY_SECONDS)
    counted = count(counted, [Netdev("eth0", "Up", "", 1)], 5 + STEADY_SECONDS)
    assert (counted["eth0"].state, due(counted)) == ("Up", None)


def test_a_flap_that_nobody_has_seen_counts() -> None:
    """The kernel counts carriers that were back before anybody looked."""
    counted = count({}, [Netdev("eth0", "NoCarrier")], 0)
    counted = count(counted, [Netdev("eth0", "Up", "", 1)], 5)
    counted = count(counted, [Netdev("eth0", "Up", "", 3)], 5 + STEADY_SECONDS)
    assert counted["eth0"] == Counted("NoCarrier", 3, 5 + STEADY_SECONDS)


@given(STEPS)
def test_up_is_said_only_of_what_has_stayed_up_and_down_at_once(steps: list[tuple[str, int, float]]) -> None:
    counted: dict[str, Counted] = {}
    now, changes, since = 0.0, 0, None
    for state, flaps, seconds in steps:
        now, changes = now + seconds, changes + flaps
        was = counted.get("eth0")
        counted = count(counted, [Netdev("eth0", state, "", changes)], now)  # type: ignore[arg-type]
        if state != "Up":
            since = None
            assert counted["eth0"].state == state
        elif was is not None and was.state != "Up":
            since = now if since is None or flaps else since
            assert (counted["eth0"].state == "Up") == (now - since >= STEADY_SECONDS)
