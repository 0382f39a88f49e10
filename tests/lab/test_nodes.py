"""A node of the lab, with the OVN that is there."""

import pytest

from virtnet.lab.nodes import takes_given_route


@pytest.mark.parametrize(
    ("said", "takes"),
    [
        pytest.param("ovn-controller 23.03.1\nOpen vSwitch Library 3.1.0\n", True, id="Debian 12"),
        pytest.param("ovn-controller 24.03.2\n", True, id="the last that names one end"),
        pytest.param("ovn-controller 24.09.0\n", False, id="the first that names both"),
        pytest.param("ovn-controller 25.03.0\nOpen vSwitch Library 3.5.0\n", False, id="Debian 13"),
        pytest.param("ovn-controller 100.01.0\n", False, id="far ahead"),
        pytest.param("ovn-controller of another kind\n", False, id="not told: the kernel's routes serve every OVN"),
    ],
)
def test_a_route_is_given_only_where_tunnels_find_it(said: str, takes: bool) -> None:
    assert takes_given_route(said) == takes
