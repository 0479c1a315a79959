"""The metrics in the documentation and on the Grafana board are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

from airflow_provider_mosaic.api import metrics

ROOT = Path(__file__).parents[1]
NAMES = [name for metric in metrics.ALL for name in metric.names]
#: What statsd_exporter adds to the name of a timer.
TIMER_SUFFIXES = ("", "_sum", "_count")


def test_the_table_lists_every_metric() -> None:
    section = (ROOT / "docs" / "operations.md").read_text().partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert [name for row in rows for name in re.findall(r"`([^`]+)`", row)] == NAMES


def test_the_board_shows_every_metric_and_no_other() -> None:
    board = json.loads((ROOT / "docs" / "grafana-mosaic.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    shown = {name for expression in expressions for name in re.findall(r"airflow_\w+", expression)}
    exported = {f"airflow_{name.replace('.', '_')}" for name in NAMES}
    timer = f"airflow_{metrics.RUNS_DURATION.name.replace('.', '_')}"
    timers = {timer + suffix for suffix in TIMER_SUFFIXES}
    assert shown - timers == exported - timers
    assert timers <= shown
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
