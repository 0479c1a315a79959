"""Deferrable tasks under ``dag.test()``, which runs triggers inline and drops the arguments of a deferral."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import ACCOUNT, AGENT, effects

from airflow_provider_mosaic.hooks.mosaic import MosaicHook

ROOT = Path(__file__).resolve().parents[2]
HOLDS = ("hold_runs", "hold_posts", "hold_avatars")


@pytest.fixture(scope="module")
def dags(dag_test_api: None) -> Iterator[dict[str, Any]]:
    """Return the contents of the DAG files, by name."""
    from airflow.utils.db import initdb

    initdb()
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    folder.mkdir(exist_ok=True)
    names: dict[str, Any] = {}
    files = [
        Path(__file__).parent / "dags" / "under_dag_test.py",
        ROOT / "example_dags" / "mosaic_resume_failed_runs.py",
    ]
    for file in files:
        shutil.copyfile(file, folder / file.name)
        names |= runpy.run_path(str(folder / file.name))
    yield names
    for file in files:
        (folder / file.name).unlink()


def failed_run(mosaic: Emulator, hook: MosaicHook) -> str:
    run_id = hook.run_agent(AGENT)
    mosaic.finish_run(run_id, "failed")
    return run_id


@pytest.fixture
def deferred(monkeypatch: pytest.MonkeyPatch, mosaic: Emulator) -> list[str]:
    """Return the triggers that ran. Let the items that they wait for end, or their deadline pass if it is near."""
    import airflow.sdk.definitions.dag as airflow_dag

    ran: list[str] = []
    run_in_line = airflow_dag._run_inline_trigger

    def recording(trigger: Any, *args: Any, **kwargs: Any) -> Any:
        ran.append(type(trigger).__name__)
        if getattr(trigger, "deadline", None) is None or trigger.deadline > time.time() + 60:
            mosaic.configure(**dict.fromkeys(HOLDS, False))
        else:
            trigger.deadline = time.time()
        return run_in_line(trigger, *args, **kwargs)

    monkeypatch.setattr(airflow_dag, "_run_inline_trigger", recording)
    return ran


def states(run: Any) -> dict[str, str]:
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}": str(ti.state)
        for ti in run.get_task_instances()
    }


GIVEN: dict[str, Callable[[Emulator, MosaicHook], str]] = {
    "run": lambda mosaic, hook: "",
    "resume": lambda mosaic, hook: failed_run(mosaic, hook),
    "see_run": lambda mosaic, hook: hook.run_agent(AGENT),
    "post": lambda mosaic, hook: "",
    "see_post": lambda mosaic, hook: hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id,
    "see_avatar": lambda mosaic, hook: (
        hook.create_avatar_profile("Host", video_url="https://cdn.example.org/host.mp4").id
    ),
}


@pytest.mark.parametrize("case", GIVEN)
def test_deferred_task_ends(
    dags: dict[str, Any],
    mosaic: Emulator,
    hook: MosaicHook,
    deferred: list[str],
    capfd: pytest.CaptureFixture[str],
    case: str,
) -> None:
    mosaic.configure(**dict.fromkeys(HOLDS, True))
    given = GIVEN[case](mosaic, hook)
    run = dags[f"deferred_{case}"].test(run_conf={"given": given})
    assert states(run) == {"act": "success"}
    assert len(deferred) == 1
    # Airflow would log an error for each button without a link.
    assert "XCom not found" not in "".join(capfd.readouterr())
    if given:
        assert run.get_task_instance("act").xcom_pull(task_ids="act") == given


def test_run_that_takes_too_long_is_cancelled(dags: dict[str, Any], mosaic: Emulator, deferred: list[str]) -> None:
    mosaic.configure(hold_runs=True)
    run = dags["too_long"].test()
    assert states(run) == {"run": "failed"}
    assert deferred == ["MosaicRunTrigger"]
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_trigger_finds_a_connection_in_the_database(
    dags: dict[str, Any], mosaic: Emulator, deferred: list[str]
) -> None:
    from airflow.models import Connection
    from airflow.utils.session import create_session

    connection = json.loads(mosaic.airflow_connection())
    with create_session() as session:
        session.add(Connection(conn_id="mosaic_in_database", **connection))
    mosaic.configure(hold_runs=True)
    run = dags["in_database"].test()
    assert states(run) == {"run": "success"}
    assert deferred == ["MosaicRunTrigger"]


# The example DAG that maps over existing runs


def test_failed_runs_are_resumed(dags: dict[str, Any], mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_runs=True)
    failed_run(mosaic, hook)
    mosaic.configure(hold_runs=False)
    run = dags["mosaic_resume_failed_runs"]().test(run_conf={"agent": AGENT})
    ends = states(run)
    assert {task_id.partition("_")[0]: state for task_id, state in ends.items() if state != "success"} == {
        "cancel": "skipped"
    }
    assert mosaic.counts().runs_resumed == 1
