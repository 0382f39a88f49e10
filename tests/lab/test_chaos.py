"""The plan of random faults, and a short run of it: a longer one is `make chaos`."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from virtnet.lab.alone import alone
from virtnet.lab.chaos import plan
from virtnet.lab.chaos.__main__ import Options, _kept, main, run
from virtnet.lab.lab import Lab


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


def test_a_second_run_of_one_name_leaves_the_firsts_lab_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Lab, "down", lambda _: pytest.fail("the first one's lab was taken down"))
    with alone("chaosalone"):
        assert main(["--lab", "chaosalone"]) == 2
    said = capsys.readouterr()
    assert said.err == "chaos: another run has lab chaosalone; wait for its end, or choose another name with --lab\n"
    assert not said.out


def test_the_logs_outlive_the_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state, elsewhere = tmp_path / "lab", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (state / "pods/one").mkdir(parents=True)
    (state / "pods/one/serial.log").write_text("ready")
    (state / "pods/one/sandbox.json").write_text("{}")
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    for _ in range(2):
        kept = _kept(state, 7)
        assert [path for path in kept.rglob("*") if path.is_file()] == [kept / "pods/one/serial.log"]


@pytest.mark.lab
def test_after_random_faults_nothing_is_lost_leaked_or_doubled() -> None:
    said = io.StringIO()
    with redirect_stdout(said):
        code = run(Options(seed=7, faults=30, batch=10, seconds=60, lab="chaostest", keep=False))
    assert code == 0, said.getvalue()
    assert said.getvalue().startswith("chaos: make chaos SEED=7 FAULTS=30 BATCH=10")
    tenant = re.search(r"the other tenant did (\d+) things and was refused (\d+)", said.getvalue())
    assert tenant is not None
    assert min(map(int, tenant.groups())) > 0
