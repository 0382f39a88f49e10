"""Real OVN databases for tests. ``virtnet.lab.ovn_central`` starts them; here are only the fixtures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from virtnet.lab.ovn_central import OvnCentral


@pytest.fixture
def central(tmp_path: Path) -> Iterator[OvnCentral]:
    """Nothing runs yet: the test starts the daemons that it needs."""
    ovn = OvnCentral(tmp_path)
    yield ovn
    ovn.destroy()


@pytest.fixture
def northbound_server(central: OvnCentral) -> OvnCentral:
    """An empty northbound database, nothing else."""
    central.start("nb")
    return central


@pytest.fixture
def ovn(central: OvnCentral) -> OvnCentral:
    """Both databases and northd."""
    central.start()
    return central
