"""What the controller tells Prometheus, and what its alerts and docs say of that."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.controllers.journals import NOW, journal
from virtnet.controllers.metrics import Metrics
from virtnet.handoff.facts import HandoffReport
from virtnet.handoff.machine import Ending, HandoffOutcome
from webhooks.measured import registry as webhook_registry

REPOSITORY = Path(__file__).parents[2]
JOURNAL = replace(journal(), settled=NOW + timedelta(seconds=2, milliseconds=41))
REPORT = HandoffReport(gate_opened=NOW, probed=NOW, answered=NOW, forwarded_frames=14)


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((REPOSITORY / "manifests/monitoring/rules.yaml").read_text())
    return [rule for group in rules["spec"]["groups"] for rule in group["rules"]]


def test_a_committed_handoff_is_measured() -> None:
    metrics = Metrics()
    metrics.handoff(Ending(outcome=HandoffOutcome.COMMITTED, journal=JOURNAL, report=REPORT))
    value = metrics.registry.get_sample_value
    assert value("virtnet_migrations_total", {"result": "committed"}) == 1
    assert value("virtnet_migration_port_arm_duration_seconds_sum") == pytest.approx(0.012)
    assert value("virtnet_migration_port_handoff_duration_seconds_sum") == pytest.approx(0.041)
    assert value("virtnet_migration_forwarded_frames_sum") == 14
    assert value("virtnet_silent_guests_total") == 0
    assert value("virtnet_unverified_guests_total") == 0


@pytest.mark.parametrize(
    ("outcome", "report", "silent", "unasked"),
    [
        pytest.param(HandoffOutcome.COMMITTED, HandoffReport(probed=NOW), 1, 0, id="asked in vain"),
        pytest.param(HandoffOutcome.COMMITTED, HandoffReport(), 0, 1, id="not asked"),
        pytest.param(HandoffOutcome.ROLLED_BACK, HandoffReport(), 0, 0, id="it never left"),
        pytest.param(HandoffOutcome.ABANDONED, HandoffReport(probed=NOW), 0, 0, id="it has ended"),
    ],
)
def test_a_guest_that_nobody_has_heard_is_counted(
    outcome: HandoffOutcome, report: HandoffReport, silent: int, unasked: int
) -> None:
    metrics = Metrics()
    metrics.handoff(Ending(outcome=outcome, journal=replace(JOURNAL, bound=None), report=report))
    value = metrics.registry.get_sample_value
    assert value("virtnet_silent_guests_total") == silent
    assert value("virtnet_unverified_guests_total") == unasked
    assert value("virtnet_migration_port_arm_duration_seconds_count") == 0
    assert value("virtnet_migration_forwarded_frames_count") == 0
    assert value("virtnet_migration_port_handoff_duration_seconds_count") == (outcome is HandoffOutcome.COMMITTED)


def exported() -> set[str]:
    metrics = Metrics()
    metrics.handoff(Ending(outcome=HandoffOutcome.COMMITTED, journal=JOURNAL, report=REPORT))
    metrics.transactions.labels("ok").observe(0.01)
    families = list(metrics.registry.collect())
    return {family.name for family in families} | {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("alert", [pytest.param(alert, id=alert["alert"]) for alert in alerts()])
def test_an_alert_is_of_a_metric_that_there_is_and_says_what_to_do(alert: dict[str, Any]) -> None:
    named = set(re.findall(r"virtnet_\w+", alert["expr"]))
    assert named
    assert named <= exported() | {family.name for family in webhook_registry.collect()}
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"].keys() >= {"summary", "description", "runbook_url"}
    page, _, heading = alert["annotations"]["runbook_url"].rpartition("/docs/")[2].partition("#")
    titles = re.findall(r"^#+ (.*)$", (REPOSITORY / "docs" / page).read_text(), re.MULTILINE)
    assert heading in [title.lower().replace(" ", "-") for title in titles]


def test_the_docs_name_the_metrics_of_handoffs() -> None:
    named = set(re.findall(r"`(virtnet_\w+)", (REPOSITORY / "docs/handoff.md").read_text()))
    assert named
    assert named <= exported()
    assert {
        name for name in exported() if re.fullmatch(r"virtnet_(migration\w*|handoffs\w*)_(stuck|frames|seconds)", name)
    } <= named
