"""``runs adopt`` names the item of a task in the Variable that the task reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator
from mosaic_emulator import Emulator
from mosaic_emulator.dag_testing import run_dag

from airflow_provider_mosaic.cli import runs, task_instances
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicCancelRunOperator, MosaicRunAgentOperator

from .conftest import Result

Run = Callable[..., Result]
AGENT = "a0000000-0000-4000-8000-000000000004"
VARIABLE = "mosaic_adopt.nightly.edit"


class OtherProvidersOperator(BaseOperator):
    """An operator that has nothing to do with Mosaic."""

    def execute(self, context: Any) -> None:
        pass


class OwnRunOperator(MosaicRunAgentOperator):
    """A user's operator that starts a run."""


@pytest.fixture
def dag_run_id(database: None, mosaic_emulator: Emulator, saved_connection: str, run: Run) -> str:
    """A DAG run in Airflow's database. Its tasks use a connection that is there too."""
    mosaic_emulator.configure(hold_runs=True)
    with DAG("nightly", schedule=None) as dag:
        options: dict[str, Any] = {"agent_id": AGENT, "wait_for_completion": False, "mosaic_conn_id": saved_connection}
        edit = MosaicRunAgentOperator(task_id="edit", **options)
        MosaicRunAgentOperator.partial(task_id="mapped", **options).expand(callback_url=["https://a.example", None])
        MosaicCancelRunOperator(task_id="cancel", run_id=edit.output, mosaic_conn_id=saved_connection)
        OtherProvidersOperator(task_id="mail")
        OwnRunOperator(task_id="own", **options)
    return str(run_dag(dag).run_id)


@pytest.fixture
def entries(database: None) -> Iterator[Callable[..., Any]]:
    """Return a function that reads the Variable of a task, or writes its text."""
    from airflow.models import Variable

    def read_or_write(text: str | None = None, name: str = VARIABLE) -> Any:
        if text is not None:
            Variable.set(name, text)
        saved = Variable.get(name, default_var=None)
        return None if saved is None else json.loads(saved)

    yield read_or_write
    for task_id in ("edit", "mapped", "cancel", "mail", "own"):
        Variable.delete(f"mosaic_adopt.nightly.{task_id}")


def test_the_variable_names_the_run(run: Run, dag_run_id: str, entries: Callable[..., Any], hook: MosaicHook) -> None:
    mosaic_run_id = hook.run_agent(AGENT)
    # The connection is that of the task: mosaic_default leads nowhere.
    done = run("runs", "adopt", "nightly", "edit", dag_run_id, mosaic_run_id)
    assert (done.status, done.err) == (0, "")
    assert VARIABLE in done.out
    assert "Clear the task" in done.out
    first = entries()[dag_run_id]
    assert first["id"] == mosaic_run_id

    # Entries of other DAG runs stay, and a later decision replaces an earlier one.
    entries(json.dumps({"manual__before": "an-id", dag_run_id: "another-id"}))
    assert run("runs", "adopt", "nightly", "edit", dag_run_id, mosaic_run_id).status == 0
    second = entries()[dag_run_id]
    assert entries() == {"manual__before": "an-id", dag_run_id: second}
    # The same id at another time is another decision: a task that adopted the run before adopts it again.
    assert second["id"] == mosaic_run_id
    assert second["named_at"] > first["named_at"]

    done = run("runs", "adopt", "nightly", "mapped", dag_run_id, mosaic_run_id, "--map-index", "1")
    assert done.status == 0, done.err
    assert entries(name="mosaic_adopt.nightly.mapped")[f"{dag_run_id}[1]"]["id"] == mosaic_run_id


def test_the_agent_of_the_task_may_be_spelled_in_another_way(
    run: Run, dag_run_id: str, entries: Callable[..., Any], hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic_run_id = hook.run_agent(AGENT)
    find = runs.find_task_instance
    monkeypatch.setattr(runs, "find_task_instance", lambda *key: replace(find(*key), agent_id=AGENT.upper()))
    assert run("runs", "adopt", "nightly", "edit", dag_run_id, mosaic_run_id).status == 0
    assert entries()[dag_run_id]["id"] == mosaic_run_id


def test_nothing_is_written_if_it_cannot_be_right(
    run: Run, dag_run_id: str, entries: Callable[..., Any], hook: MosaicHook, mosaic_emulator: Emulator
) -> None:
    mosaic_run_id = hook.run_agent(AGENT)
    other_agent = hook.run_agent(mosaic_emulator.agent_id, video_urls=["https://www.youtube.com/watch?v=aqz-KE-bpKQ"])
    cases: list[tuple[tuple[str, ...], str]] = [
        (("nightly", "edit", dag_run_id, "no-such-run"), "Could not read run 'no-such-run'"),
        (("nightly", "edit", dag_run_id, other_agent), f"not of the task's '{AGENT}'"),
        (("nightly", "edit", "manual__never", mosaic_run_id), "DAG run 'manual__never' of DAG 'nightly' has no task"),
        (("nightly", "edit", dag_run_id, mosaic_run_id, "--map-index", "0"), "The task is not mapped"),
        (("nightly", "mapped", dag_run_id, mosaic_run_id), "pass --map-index, from 0 to 1"),
        (("nightly", "mapped", dag_run_id, mosaic_run_id, "--map-index", "2"), "pass --map-index, from 0 to 1"),
        (("nightly", "edit", dag_run_id, mosaic_run_id, "--item", "post"), f"Could not read post '{mosaic_run_id}'"),
        (("nightly", "edit", dag_run_id, mosaic_run_id, "--conn-id", "missing_conn"), "mosaic_conn_id='missing_conn'"),
    ]
    for arguments, text in cases:
        done = run("runs", "adopt", *arguments)
        assert (done.status, done.out) == (1, ""), arguments
        assert text in done.err
        assert 1 <= len(done.err.splitlines()) <= 3
    assert entries() is None


@pytest.mark.parametrize(
    ("task_id", "options", "text"),
    [
        ("cancel", (), "never continues with an item"),
        ("cancel", ("--item", "run"), "never continues with an item"),
        ("mail", (), "If it is a subclass of one, pass --item."),
        ("own", (), "If it is a subclass of one, pass --item."),
    ],
)
def test_a_task_that_never_reads_the_variable_gets_none(
    run: Run,
    dag_run_id: str,
    entries: Callable[..., Any],
    hook: MosaicHook,
    task_id: str,
    options: tuple[str, ...],
    text: str,
) -> None:
    done = run("runs", "adopt", "nightly", task_id, dag_run_id, hook.run_agent(AGENT), *options)
    assert (done.status, done.out) == (1, "")
    assert text in done.err
    assert "edit, mapped" in done.err
    assert entries(name=f"mosaic_adopt.nightly.{task_id}") is None


def test_item_names_what_a_subclass_creates(
    run: Run, dag_run_id: str, entries: Callable[..., Any], hook: MosaicHook
) -> None:
    mosaic_run_id = hook.run_agent(AGENT)
    done = run("runs", "adopt", "nightly", "own", dag_run_id, mosaic_run_id, "--item", "run")
    assert (done.status, done.err) == (0, "")
    assert entries(name="mosaic_adopt.nightly.own")[dag_run_id]["id"] == mosaic_run_id


def test_a_variable_of_another_form_is_left_alone(
    run: Run, dag_run_id: str, database: None, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models import Variable

    mosaic_run_id = hook.run_agent(AGENT)
    Variable.set(VARIABLE, "not JSON")
    done = run("runs", "adopt", "nightly", "edit", dag_run_id, mosaic_run_id)
    assert done.status == 1
    assert "it is not JSON" in done.err
    assert Variable.get(VARIABLE) == "not JSON"
    Variable.delete(VARIABLE)

    # Airflow reads the environment first, so what a command saves would not count.
    monkeypatch.setenv(f"AIRFLOW_VAR_{VARIABLE.upper()}", "{}")
    done = run("runs", "adopt", "nightly", "edit", dag_run_id, mosaic_run_id)
    assert done.status == 1
    assert "Set it there to " + json.dumps({dag_run_id: {"id": mosaic_run_id}})[:-2] in done.err


def test_a_database_without_tables_is_an_error_of_two_lines(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    environment = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}"}
    done = subprocess.run(
        [sys.executable, "-m", "airflow_provider_mosaic", "runs", "adopt", "nightly", "edit", "manual__1", "an-id"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "no such table" in done.stderr.splitlines()[-2]
    assert "--verbose" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("when", ["between read and write", "after the write"])
@pytest.mark.parametrize("exists", [False, True], ids=["new Variable", "existing Variable"])
def test_two_commands_at_once_keep_both_entries(
    run: Run,
    dag_run_id: str,
    entries: Callable[..., Any],
    hook: MosaicHook,
    monkeypatch: pytest.MonkeyPatch,
    exists: bool,
    when: str,
) -> None:
    name = "mosaic_adopt.nightly.mapped"
    mosaic_run_id = hook.run_agent(AGENT)
    if exists:
        entries(json.dumps({"manual__before": "an-id"}), name)
    real = task_instances._replace_value

    def replace_value(*arguments: Any) -> bool:
        monkeypatch.setattr(task_instances, "_replace_value", real)
        written = real(*arguments) if when == "after the write" else None
        adopted = run("runs", "adopt", "nightly", "mapped", dag_run_id, mosaic_run_id, "--map-index", "1")
        assert adopted.status == 0, adopted.err
        return real(*arguments) if written is None else written

    monkeypatch.setattr(task_instances, "_replace_value", replace_value)
    done = run("runs", "adopt", "nightly", "mapped", dag_run_id, mosaic_run_id, "--map-index", "0")
    assert done.status == 0, done.err
    saved = entries(name=name)
    assert [saved.pop(f"{dag_run_id}[{index}]")["id"] for index in (0, 1)] == [mosaic_run_id] * 2
    assert saved == ({"manual__before": "an-id"} if exists else {})
