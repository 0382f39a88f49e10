"""Which knobs of a virtual function are set for a NIC, and that undoing restores what was found."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attach.samples import MAC, attachment
from virtnet.api.records import Attachment
from virtnet.node.virtual_functions.knobs import KNOBS, Knob, Knobs, TxRates, Vlan, changed, untold, wanted

ZEROS = "00:00:00:00:00:00"
FRESH = Knobs(mac=ZEROS, spoof_check=True, trust=False)
BUSY = Knobs(
    mac="02:00:00:00:00:09",
    vlan=Vlan(id=7, qos=3),
    tx_rates=TxRates(min=10, max=100),
    spoof_check=False,
    trust=True,
    link_state="Enable",
)


def nic(vlan: int = 0, **settings: Any) -> Attachment:
    underlay = {"providerNetwork": "physnet", "vlan": vlan}
    return Attachment.model_validate(attachment(nic="sriov", underlay=underlay, virtual_function=settings or None))


@pytest.mark.parametrize(
    ("found", "attachment", "set_"),
    [
        pytest.param(FRESH, nic(), {"mac": MAC}, id="a MAC alone: all else stays"),
        pytest.param(BUSY, nic(vlan=7), {"mac": MAC}, id="all else stays, whatever it is"),
        pytest.param(BUSY, nic(), {"mac": MAC, "vlan": Vlan()}, id="another's VLAN goes"),
        pytest.param(FRESH, nic(vlan=100), {"mac": MAC, "vlan": Vlan(id=100)}, id="the Subnet's VLAN"),
        pytest.param(FRESH, nic(100, vlan_qos=3), {"mac": MAC, "vlan": Vlan(id=100, qos=3)}, id="its qos"),
        pytest.param(BUSY, nic(7, vlan_qos=0), {"mac": MAC, "vlan": Vlan(id=7)}, id="qos 0 is not unset"),
        pytest.param(
            FRESH, nic(9, vlan_protocol="802.1ad"), {"mac": MAC, "vlan": Vlan(id=9, protocol="802.1ad")}, id="802.1ad"
        ),
        pytest.param(FRESH, nic(max_tx_rate_mbps=50), {"mac": MAC, "tx_rates": TxRates(max=50)}, id="a rate"),
        pytest.param(
            BUSY, nic(7, max_tx_rate_mbps=0), {"mac": MAC, "tx_rates": TxRates(min=10)}, id="rate 0 is not unset"
        ),
        pytest.param(FRESH, nic(spoof_check=False), {"mac": MAC, "spoof_check": False}, id="spoofchk off"),
        pytest.param(BUSY, nic(7, trust=False), {"mac": MAC, "trust": False}, id="trust off is not unset"),
        pytest.param(FRESH, nic(trust=False, spoof_check=True), {"mac": MAC}, id="what is so already"),
        pytest.param(
            BUSY,
            nic(7).model_copy(update={"nic": "switchdev"}),
            {"mac": MAC, "vlan": Vlan()},
            id="no VLAN where OVN tags",
        ),
        pytest.param(BUSY, nic(7, link_state="Auto"), {"mac": MAC, "link_state": "Auto"}, id="link state"),
    ],
)
def test_knobs_that_are_set(found: Knobs, attachment: Attachment, set_: dict[Knob, Any]) -> None:
    needed = wanted(found, attachment)
    assert {knob: getattr(needed, knob) for knob in changed(found, needed)} == set_


def test_what_could_not_be_put_back() -> None:
    silent = Knobs(mac=ZEROS)
    assert untold(silent, wanted(silent, nic(trust=True, spoof_check=False))) == ("spoof_check", "trust")
    assert untold(silent, wanted(silent, nic())) == ()


def test_what_is_said_of_them() -> None:
    assert [BUSY.said(knob) for knob in KNOBS] == [
        "MAC 02:00:00:00:00:09",
        "VLAN 7, qos 3, 802.1Q",
        "min_tx_rate 10, max_tx_rate 100",
        "spoofchk off",
        "trust on",
        "state enable",
    ]


tags = st.integers(0, 4094)
switches = st.none() | st.booleans()
protocols = st.sampled_from(["802.1Q", "802.1ad"])
states = st.sampled_from(["Auto", "Enable", "Disable"])
rates = st.integers(0, 100_000)
found_knobs = st.builds(
    Knobs,
    mac=st.sampled_from([ZEROS, BUSY.mac]),
    vlan=st.builds(Vlan, id=tags, qos=st.integers(0, 7), protocol=protocols),
    tx_rates=st.builds(TxRates, min=rates, max=rates),
    spoof_check=switches,
    trust=switches,
    link_state=states,
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "vlan_qos": st.integers(0, 7),
        "vlan_protocol": protocols,
        "min_tx_rate_mbps": rates,
        "max_tx_rate_mbps": rates,
        "spoof_check": st.booleans(),
        "trust": st.booleans(),
        "link_state": states,
    },
)


def put(now: Knobs, knob: Knob, to: Knobs) -> Knobs:
    """What a driver makes of one knob that is set; ``test_sriov`` holds the igb to it."""
    return now.model_copy(update={knob: getattr(to, knob)})


@given(found_knobs, tags, settings, st.data())
def test_any_steps_undone_restore_what_was_found(
    found: Knobs, vlan: int, settings: dict[str, Any], data: st.DataObject
) -> None:
    needed = wanted(found, nic(vlan, **settings))
    steps = changed(found, needed)
    done = data.draw(st.integers(0, len(steps)))
    now = found
    for knob in steps[:done]:
        now = put(now, knob, needed)
    if done == len(steps):
        assert now == needed
    for knob in reversed(steps):  # also those that were not done: a crash leaves it open which were
        now = put(now, knob, found)
    assert now == found


@given(found_knobs, tags, settings)
def test_what_nobody_has_set_stays(found: Knobs, vlan: int, settings: dict[str, Any]) -> None:
    needed = wanted(found, nic(vlan, **settings))
    assert (needed.mac, needed.vlan.id) == (MAC, vlan)
    for knob in ("spoof_check", "trust", "link_state"):
        assert getattr(needed, knob) == settings.get(knob, getattr(found, knob))
    assert needed.tx_rates.max == settings.get("max_tx_rate_mbps", found.tx_rates.max)
    assert needed.tx_rates.min == settings.get("min_tx_rate_mbps", found.tx_rates.min)
    assert wanted(needed, nic(vlan, **settings)) == needed
