"""What benchmarks have found: a table for people, and a part of the JSON file that $BENCH_JSON names."""

import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

GOALS = {
    "northbound.ratio": 2,
    "northbound.audit_s": 2,
    "northbound.rss_mb": 400,
    "admission.p99_ratio": 3,
    "admission.worst_ms": 200,
    "admission.flood_p50_ratio": 2,
    "event.p50_ms": 20,
    "event.rate_per_s": -100,
    "scale.start_empty_s": 90,
    "scale.start_complete_s": 90,
    "scale.leader_changes": 0,
    "scale.rss_kb_per_port": 24,
    "scale.p50_ms": 20,
    "scale.p99_ms": 100,
    "beside.commit_p99_ms": 50,
    "cni.shim_p95_ms": 20,
    "cni.daemon_p95_ms": 30,
    "nics.inventory_s": 1,
    "nics.inventory_idle_cpu": 0.05,
    "vhostuser.send_ratio": -2,
    "vhostuser.port_ratio": -5,
}
"""The most that a figure may be; a negative goal is the least that it may be."""


def begin() -> None:
    """Print nothing but figures and warnings, and end at SIGTERM as at Ctrl-C: what was started is stopped."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def publish(title: str, figures: Mapping[str, float]) -> None:
    """Print figures by their dotted names, and merge them into the file."""
    table = Table("FIGURE", "VALUE", "GOAL", "", title=title, title_justify="left")
    for name, value in figures.items():
        goal = GOALS.get(name)
        words = ("", "") if goal is None else (f"{'≥' if goal < 0 else '≤'} {abs(goal)}", verdict(value, goal))
        table.add_row(name, f"{value:,.3f}".rstrip("0").rstrip("."), *words)
    Console().print(table)
    if path := os.environ.get("BENCH_JSON"):
        merge(Path(path), figures)


def verdict(value: float, goal: float) -> str:
    return "[green]reached" if (value <= goal if goal >= 0 else value >= -goal) else "[red]missed"


def merge(path: Path, figures: Mapping[str, float]) -> None:
    """Put figures into a JSON file, nested by their dotted names; what else is in it stays."""
    there: dict[str, Any] = json.loads(path.read_text()) if path.exists() and path.stat().st_size else {}
    for name, value in figures.items():
        *groups, last = name.split(".")
        place = there
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = round(value, 3)
    path.write_text(json.dumps(there, indent=2) + "\n")
