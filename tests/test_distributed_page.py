"""docs/distributed.md: its settings exist, its defaults are Airflow's, its table matches its formulas."""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path

import airflow
import pytest
from airflow.configuration import conf
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
SETTING = re.compile(r"^\| `\[(\w+)\] (\w+)` \|([^|]+)\|([^|]*)\|", re.MULTILINE)
NAMED = re.compile(r"`\[(\w+)\]\s(\w+)`")
AIRFLOW = Version(airflow.__version__)
# `make distributed` runs this with the Celery provider.
CELERY = importlib.util.find_spec("airflow.providers.celery") is not None
#: The default, and the first Airflow version with the setting.
SETTINGS = {
    (section, option): (default.strip(), since.strip()) for section, option, default, since in SETTING.findall(PAGE)
}


def exists(section: str, option: str) -> bool:
    since = SETTINGS[section, option][1]
    return (not since or Version(since) <= AIRFLOW) and (CELERY or section != "celery")


def default_of(section: str, option: str) -> str | None:
    if section == "celery":
        from airflow.providers.celery.get_provider_info import get_provider_info

        options: dict[str, dict[str, str]] = get_provider_info()["config"][section]["options"]
        return options[option]["default"]
    return conf.get_default_value(section, option)


def numbers(row: str) -> list[int]:
    return [int(cell.replace(",", "")) for cell in row.strip("|").split("|")]


def test_table_has_settings_of_every_section() -> None:
    assert {section for section, _ in SETTINGS} >= {"core", "triggerer", "celery", "scheduler", "api", "database"}


@pytest.mark.parametrize(("section", "option"), [setting for setting in SETTINGS if exists(*setting)])
def test_defaults_are_those_of_airflow(section: str, option: str) -> None:
    written = SETTINGS[section, option][0]
    assert str(default_of(section, option)).lower() in (written.lower(), f"{written}.0")


def test_named_settings_are_in_the_table() -> None:
    named = set(NAMED.findall(PAGE)) - {("celery_broker_transport_options", "visibility_timeout")}
    assert named - SETTINGS.keys() == set()


def test_pool_has_the_documented_argument() -> None:
    import inspect

    from airflow.models.pool import Pool

    assert "include_deferred" in inspect.signature(Pool.create_or_update_pool).parameters
    assert "airflow pools set mosaic_runs" in PAGE
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(["pools", "set", "mosaic_runs", "100", "runs", "--include-deferred"])
    assert arguments.include_deferred


def test_table_of_runs_matches_its_formulas() -> None:
    night, run, slice_seconds, bytes_seconds, capacity, poll_interval = 8 * 3600, 30 * 60, 3, 24, 1000, 30
    assert "For a night of 8 hours, runs of 30 minutes" in PAGE
    assert "(`B` = 24), `S` = 3,\n`capacity` = 1,000 and `poll_interval` = 30" in PAGE
    table = PAGE.split("API requests a second |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    rows = [numbers(row) for row in table]
    assert [row[0] for row in rows] == [10, 100, 1_000, 10_000, 100_000]
    for runs, *written in rows:
        waits = runs * run / night
        assert written == [
            math.ceil(waits),
            math.ceil(2 * runs * (4 * slice_seconds + bytes_seconds) / night),
            math.ceil(waits / capacity) + 1,
            math.ceil(runs / capacity) + 1,
            math.ceil(waits / poll_interval),
            math.ceil(40 * runs / night),
        ], f"the row of {runs:,} runs"


def test_pipelines_with_the_default_number_of_slots() -> None:
    slots, pipeline_seconds, night = 16, 36, 8 * 3600
    assert SETTINGS["core", "max_active_tasks_per_dag"][0] == str(slots)
    assert f"{slots * night // pipeline_seconds:,} pipelines in 8 hours" in PAGE
