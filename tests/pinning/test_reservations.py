"""Which of the addresses that are held for nobody yet are looked at when there are too few."""

from dataclasses import replace

import pytest

from virtnet.addressing.held import HeldAddress
from virtnet.api import SubnetRef
from webhooks.reservations import CREATED_WITHIN, Reservations

BOTH = ("IPv4", "IPv6")
LAN = SubnetRef(kind="ClusterSubnet", name="lan")


class Now:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def known(now: Now) -> Reservations:
    return Reservations(now)


def lease(address: str, namespace: str = "a") -> HeldAddress:
    port = f"{namespace}/vm.lan"
    return HeldAddress(
        f"{address}.lan",
        "u",
        "1",
        address,
        LAN,
        port,
        "VirtualMachine",
        "vm",
        "lan",
        bound=False,
        owner_uid="",
        open_claim="",
    )


ONE, TWO, OTHER, SIX = lease("10.0.0.1"), lease("10.0.0.2"), lease("10.0.0.3", "b"), lease("fd00::1")


def fill(known: Reservations, now: Now) -> None:
    """One each second."""
    for one in (ONE, TWO, OTHER, SIX):
        known.add(one)
        now.seconds += 1


@pytest.mark.parametrize(
    ("seconds", "kinds", "namespace", "found"),
    [
        pytest.param(0, ["IPv4"], "", [], id="none, while a create may be under way"),
        pytest.param(CREATED_WITHIN - 3, ["IPv4"], "", [ONE, TWO], id="the oldest first, no young one"),
        pytest.param(CREATED_WITHIN, ["IPv4"], "", [ONE, TWO, OTHER], id="of one family"),
        pytest.param(CREATED_WITHIN, BOTH, "a", [ONE, TWO, SIX], id="of one namespace"),
        pytest.param(CREATED_WITHIN, ["MAC"], "", [], id="no MACs"),
    ],
)
def test_who_is_overdue(
    known: Reservations, now: Now, seconds: float, kinds: list[str], namespace: str, found: list[HeldAddress]
) -> None:
    fill(known, now)
    now.seconds += seconds
    assert list(known.overdue(LAN, kinds, namespace)) == found
    assert list(known.overdue(LAN, kinds, namespace)) == found, "a look changes nothing"


def test_what_was_looked_at_is_left_alone(known: Reservations, now: Now) -> None:
    fill(known, now)
    now.seconds += CREATED_WITHIN
    with known.looking_at(ONE):
        assert list(known.overdue(LAN, ["IPv4"])) == [TWO, OTHER]
    known.postpone(ONE)
    assert list(known.overdue(LAN, ["IPv4"])) == [TWO, OTHER]
    now.seconds += CREATED_WITHIN
    assert list(known.overdue(LAN, ["IPv4"])) == [TWO, OTHER, ONE]


def test_a_claim_made_again_is_young(known: Reservations, now: Now) -> None:
    fill(known, now)
    now.seconds += CREATED_WITHIN
    known.discard(ONE)
    known.add(replace(ONE, version="2"))
    assert list(known.overdue(LAN, ["IPv4"])) == [TWO, OTHER]


def test_what_is_gone_is_not_counted(known: Reservations, now: Now) -> None:
    fill(known, now)
    assert (known.count("a", LAN, BOTH), known.count("b", LAN, BOTH)) == (3, 1)
    for one in (ONE, TWO, OTHER, SIX):
        known.discard(one)
    known.postpone(ONE)
    now.seconds += CREATED_WITHIN
    assert (known.count("a", LAN, BOTH), list(known.overdue(LAN, BOTH))) == (0, [])
