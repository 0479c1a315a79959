"""The page about fleets is true: its settings exist, its defaults are Airflow's, its table follows from its words."""

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
HERE = Version(airflow.__version__)
# `make distributed` runs this where the provider of Celery is installed.
CELERY = importlib.util.find_spec("airflow.providers.celery") is not None
#: The default and the Airflow that brought it, as written.
SETTINGS = {
    (section, option): (default.strip(), since.strip()) for section, option, default, since in SETTING.findall(PAGE)
}


def is_here(section: str, option: str) -> bool:
    since = SETTINGS[section, option][1]
    return (not since or Version(since) <= HERE) and (CELERY or section != "celery")


def default_of(section: str, option: str) -> str | None:
    if section == "celery":
        from airflow.providers.celery.get_provider_info import get_provider_info

        options: dict[str, dict[str, str]] = get_provider_info()["config"][section]["options"]
        return options[option]["default"]
    return conf.get_default_value(section, option)


def numbers(row: str) -> list[int]:
    return [int(cell.replace(",", "")) for cell in row.strip("|").split("|")]


def test_the_table_has_settings_of_every_part() -> None:
    assert {section for section, _ in SETTINGS} >= {"core", "triggerer", "celery", "scheduler", "api", "database"}


@pytest.mark.parametrize(("section", "option"), [setting for setting in SETTINGS if is_here(*setting)])
def test_every_setting_of_the_table_has_the_default_that_airflow_has(section: str, option: str) -> None:
    written = SETTINGS[section, option][0]
    assert str(default_of(section, option)).lower() in (written.lower(), f"{written}.0")


def test_every_setting_that_is_named_anywhere_is_in_the_table() -> None:
    named = set(NAMED.findall(PAGE)) - {("celery_broker_transport_options", "visibility_timeout")}
    assert named - SETTINGS.keys() == set()


def test_the_pool_has_the_argument_that_the_page_names() -> None:
    import inspect

    from airflow.models.pool import Pool

    assert "include_deferred" in inspect.signature(Pool.create_or_update_pool).parameters
    assert "airflow pools set mosaic_runs" in PAGE
    from airflow.cli.cli_parser import get_parser

    arguments = get_parser().parse_args(["pools", "set", "mosaic_runs", "100", "runs", "--include-deferred"])
    assert arguments.include_deferred


def test_the_table_of_runs_a_night_follows_from_the_words_above_it() -> None:
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


def test_what_a_dag_does_in_a_night_with_its_default_of_slots_is_as_written() -> None:
    slots, pipeline_seconds, night = 16, 36, 8 * 3600
    assert SETTINGS["core", "max_active_tasks_per_dag"][0] == str(slots)
    assert f"{slots * night // pipeline_seconds:,} pipelines in 8 hours" in PAGE
