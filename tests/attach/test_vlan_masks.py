"""What a trunk's NIC may not have, as masks: each other VLAN is met by one, and none of its own by any."""

from hypothesis import given
from hypothesis import strategies as st

from virtnet.node.vlan_masks import all_but

VLANS = range(4096)
RANGES = st.builds(
    lambda first, count: range(first, min(first + count, 4095)), st.integers(1, 4094), st.integers(1, 4094)
)


@given(st.lists(RANGES, max_size=8))
def test_each_other_vlan_is_met_once(permitted: list[range]) -> None:
    masks = list(all_but(permitted))
    met = [vlan for one in masks for vlan in VLANS if vlan & one.mask == one.vid]
    assert sorted(met) == [vlan for vlan in VLANS if not any(vlan in one for one in permitted)]


def test_a_nic_without_a_trunk_takes_one_mask() -> None:
    assert [tuple(one) for one in all_but([])] == [(0, 0)]
