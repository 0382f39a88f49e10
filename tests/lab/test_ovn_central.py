"""The central part of a lab's OVN is ready when nodes may come."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from virtnet.lab.ovn_central import OvnCentral

pytestmark = pytest.mark.system


@pytest.fixture
def central(tmp_path: Path) -> Iterator[OvnCentral]:
    ovn = OvnCentral(tmp_path)
    yield ovn
    ovn.destroy()


def test_northd_is_ready_once_it_has_begun_the_southbound_database(central: OvnCentral) -> None:
    """It calls itself active before: here it waits for the northbound database."""

    def start() -> bool:
        central.start("northd")
        return central.begun

    central.start("sb")
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start)
        with suppress(TimeoutError):
            starting.result(1)
        central.start("nb")
        assert starting.result()
