"""Static checks of the example DAGs."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException
from airflow.sdk import DAG

from airflow_provider_mosaic import operators, sensors

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "example_dags").glob("*.py"))


def load(path: Path) -> DAG:
    """Import a DAG file and return its DAG. The DAG function has the name of the file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, path.stem)()
    assert isinstance(made, DAG)
    return made


def lines_of_code(path: Path) -> int:
    """Count the lines without empty lines, comments and docstrings."""
    text = path.read_text()
    docstring = ast.parse(text).body[0]
    assert docstring.end_lineno is not None
    rest = text.splitlines()[docstring.end_lineno :]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in rest)


def test_examples_exist() -> None:
    assert {path.stem for path in EXAMPLES} >= {"mosaic_quick_start", "mosaic_nightly_pipeline", "mosaic_wait_for_run"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_parses_and_has_a_docstring(path: Path) -> None:
    dag = load(path)
    assert dag.dag_id == path.stem
    assert dag.doc_md
    assert dag.doc_md.strip().startswith("###")
    dag.check_cycle()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_retries_and_defers(path: Path) -> None:
    for task in load(path).tasks:
        arguments = task.partial_kwargs if hasattr(task, "partial_kwargs") else vars(task)
        assert arguments["retries"] == 2, task.task_id
        if "deferrable" in signature(getattr(task, "operator_class", type(task)).__init__).parameters:
            # A post without wait_for_completion does not defer.
            waits = arguments.get("wait_for_completion", task.task_type != "MosaicSocialPostOperator")
            assert arguments["deferrable"] is waits, task.task_id


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_uses_public_names(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules <= {
        "airflow.providers.common.compat.sdk",
        "datetime",
        "typing",
        "pendulum",
        "airflow.sdk",
        "airflow_provider_mosaic.assets",
        "airflow_provider_mosaic.hooks",
        "airflow_provider_mosaic.operators",
        "airflow_provider_mosaic.sensors",
    }
    assert {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names} <= {"json", "logging"}


def test_examples_use_every_operator_and_sensor() -> None:
    used = {getattr(task, "operator_class", type(task)).__name__ for path in EXAMPLES for task in load(path).tasks}
    assert [name for name in (*operators.__all__, *sensors.__all__) if name not in used] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_documents_requirements_and_costs(path: Path) -> None:
    said = " ".join(load(path).doc_md.split())
    assert "connection `mosaic_default`" in said
    assert re.search(r"\bcosts? ", said), "it says neither that it costs credits nor that it doesn't"


def test_examples_are_documented() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    assert [path.name for path in EXAMPLES if f"(../example_dags/{path.name})" not in page] == []


def test_quick_start_has_under_twenty_lines() -> None:
    (path,) = (path for path in EXAMPLES if path.stem == "mosaic_quick_start")
    assert 0 < lines_of_code(path) < 20


def nightly_pipeline() -> list[Callable[..., Any]]:
    """Return the functions that find recordings and mark them as started and as complete."""
    (path,) = (path for path in EXAMPLES if path.stem == "mosaic_nightly_pipeline")
    pipeline = load(path)
    assert "recording.mark_started" in pipeline.get_task("recording.edit").upstream_task_ids
    names = ("new_recordings", "recording.mark_started", "recording.mark_complete")
    return [pipeline.get_task(name).python_callable for name in names]


def test_started_recording_is_edited_again_only_if_its_mark_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_RECORDINGS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_RESULTS", str(tmp_path / "results"))
    new_recordings, mark_started, mark_complete = nightly_pipeline()
    for name in ("done", "failed", "new"):
        (tmp_path / f"{name}.mp4").touch()
    done, failed, new = new_recordings(run_id="scheduled__1")
    for recording in (done, failed):
        mark_started(recording["destination"], run_id="scheduled__1")
    mark_complete(["first.mp4"], done["destination"])
    # A failed download leaves a part of the files.
    (Path(failed["destination"]) / "first.mp4").touch()
    # A clear of the whole DAG run starts again.
    assert new_recordings(run_id="scheduled__1") == [failed, new]
    mark_started(failed["destination"], run_id="scheduled__1")
    assert new_recordings(run_id="scheduled__2") == [new]
    [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith(f"{failed['source']} was started in DAG run scheduled__1 and is not complete.")
    mark = Path(failed["destination"]) / "_STARTED"
    assert f"delete {mark}." in warning
    with pytest.raises(AirflowSkipException, match="DAG run scheduled__1 has started this recording"):
        mark_started(failed["destination"], run_id="backfill__1")
    mark.unlink()
    assert new_recordings(run_id="scheduled__2") == [failed, new]


def test_recordings_that_differ_only_in_their_suffix_have_own_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_RECORDINGS", str(tmp_path))
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_RESULTS", str(tmp_path / "results"))
    new_recordings, mark_started, mark_complete = nightly_pipeline()
    for name in ("talk.mov", "talk.mp4"):
        (tmp_path / name).touch()
    first, second = new_recordings(run_id="scheduled__1")
    assert first["destination"] != second["destination"]
    mark_started(first["destination"], run_id="scheduled__1")
    mark_complete(["first.mp4"], first["destination"])
    assert new_recordings(run_id="scheduled__2") == [second]
