"""The plan of random faults, and a short run of it: a longer one is `make chaos`."""

import io
from contextlib import redirect_stdout

import pytest

from virtnet.lab.chaos import plan
from virtnet.lab.chaos.__main__ import Options, run


def test_a_seed_is_a_plan() -> None:
    plans = [list(plan.batches(seed, 95)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]
    assert sum(map(len, plans[0])) == 95
    for batch in plans[0]:
        assert batch[0].kind == "migrate"
        assert [fault.at for fault in batch] == sorted(fault.at for fault in batch)


def test_every_kind_of_fault_happens() -> None:
    faults = [fault for batch in plan.batches(3, 1000) for fault in batch]
    assert {fault.kind for fault in faults} == plan.KINDS.keys()
    assert {fault.victim for fault in faults if fault.kind == "kill"} == set(plan.DAEMONS)


@pytest.mark.lab
def test_after_random_faults_nothing_is_lost_leaked_or_doubled() -> None:
    said = io.StringIO()
    with redirect_stdout(said):
        code = run(Options(seed=7, faults=30, batch=10, seconds=60, lab="chaostest", keep=False))
    assert code == 0, said.getvalue()
    assert said.getvalue().startswith("chaos: make chaos SEED=7 FAULTS=30 BATCH=10")
