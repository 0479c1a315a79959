"""An argument that was given and came to nothing, in Airflow's task runner: nothing is paid or posted without it."""

from __future__ import annotations

import os
import re
import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tasks.fixtures import AGENT, effects, nothing_was_done

from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.hooks.mosaic import MosaicHook


@pytest.fixture(scope="module")
def dags() -> Iterator[dict[str, Any]]:
    """What the file with the DAGs has, by name."""
    from airflow.utils.db import initdb

    initdb()
    file = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "came_to_nothing.py"
    file.parent.mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).parent / "dags" / file.name, file)
    yield runpy.run_path(str(file))
    file.unlink()


def ends(run: Any, cases: dict[str, Any]) -> dict[str, str]:
    """How the task under trial ended in each case; a mapped one is there once."""
    states = {ti.task_id: str(ti.state) for ti in run.get_task_instances()}
    return {name: states[f"case_{number}.act"] for number, name in enumerate(cases)}


# Airflow runs a DAG with a task or two for each case: some five seconds.
def test_it_is_refused_by_name_and_nothing_is_sent(
    dags: dict[str, Any], mosaic: Emulator, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    run = dags["refused"].test()
    assert ends(run, dags["REFUSED"]) == dict.fromkeys(dags["REFUSED"], "failed")
    assert nothing_was_done(mosaic)
    complaint = (
        r"MosaicFailException: MosaicValidationError: (\S+)=\S+: it came to nothing: look at the task that should"
    )
    named = set(re.findall(complaint, caplog.text + "".join(capfd.readouterr())))
    assert named == {re.sub("_(of|by)_.*", "", name) for name in dags["REFUSED"]}


def test_a_none_that_was_written_means_none(dags: dict[str, Any], mosaic: Emulator) -> None:
    run = dags["taken"].test()
    assert ends(run, dags["TAKEN"]) == dict.fromkeys(dags["TAKEN"], "success")
    assert effects(mosaic) == {"runs_started": len(dags["TAKEN"])}


def test_a_callback_that_came_to_nothing_is_not_taken_away(
    dags: dict[str, Any], mosaic: Emulator, hook: MosaicHook
) -> None:
    hook.add_youtube_channels(AGENT, ["@demo"], trigger_callback_url="https://example.com/hook")
    dags["callback"].test()
    assert hook.list_triggers(AGENT)[0].callback_url == "https://example.com/hook"
