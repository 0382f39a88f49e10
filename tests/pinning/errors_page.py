"""docs/errors.md, made of the tables of what is refused and told: ``python -m tests.pinning.errors_page``."""

import re
import textwrap
from pathlib import Path

from tests.messages import (
    CNI,
    DELETIONS,
    DEVICES,
    NIC_POLICIES,
    NICS,
    NODES,
    PORTS,
    PROVIDERS,
    SUBNETS,
    VIRTUAL_FUNCTIONS,
    Section,
)
from tests.pinning.inputs import Row
from tests.pinning.refused_addresses import ADDRESSING
from tests.pinning.refused_groups import SECURITY
from tests.pinning.refused_macs import MACS
from tests.pinning.refused_mirrors import MIRRORS
from tests.pinning.refused_networks import NETWORKS
from tests.pinning.refused_nic_policies import NIC_POLICIES as REFUSED_NIC_POLICIES
from tests.pinning.refused_policies import POLICIES
from tests.pinning.refused_sites import SITES
from tests.pinning.refused_workloads import WORKLOADS

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
BEGIN = "<!-- What follows is generated: python -m tests.pinning.errors_page -->"
COLUMNS = 160
TABLE = {
    **ADDRESSING,
    **MACS,
    **SITES,
    **WORKLOADS,
    **POLICIES,
    **SECURITY,
    **NETWORKS,
    **REFUSED_NIC_POLICIES,
    **MIRRORS,
}


def page() -> str:
    """docs/errors.md."""
    head = PAGE.read_text().partition(BEGIN)[0]
    told = (NICS, DEVICES, NIC_POLICIES, PROVIDERS, SUBNETS, PORTS, DELETIONS, NODES, CNI, VIRTUAL_FUNCTIONS)
    later = [_observed(section) for section in told]
    sections = ["## What only a node or a later moment can know", "", *later]
    return head + BEGIN + "\n" + "\n".join([*sections, *(_section(name, rows) for name, rows in TABLE.items())])


def _observed(section: Section) -> str:
    lines = [f"| {row.given} | `{row.reason}` | {_quoted(row.message)} |" for row in section.rows]
    where = textwrap.fill(section.where, COLUMNS, break_long_words=False, break_on_hyphens=False)
    return "\n".join((where, "", "| what is there | reason | message |", "|---|---|---|", *lines, ""))


def _section(name: str, rows: tuple[Row, ...]) -> str:
    lines = [f"| {row.given} | {row.by} | {_shown(row)} |" for row in rows]
    return "\n".join((f"## {name}", "", "| what is written | refused by | with |", "|---|---|---|", *lines, ""))


def _shown(row: Row) -> str:
    return _quoted(re.sub("9{9,}", "999...", row.says.replace("<nil>: ", "")))


def _quoted(text: str) -> str:
    text = text.replace("NS", "demo")
    return f"`` {text} ``" if "`" in text else f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
