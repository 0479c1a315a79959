"""The example DAGs as a DAG author reads them; no Airflow has to run for this."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from airflow.sdk import DAG

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "example_dags").glob("*.py"))


def load(path: Path) -> DAG:
    """Import a DAG file; the function that makes the DAG bears the file's name, as an author would have it."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = getattr(module, path.stem)()
    assert isinstance(made, DAG)
    return made


def lines_of_code(path: Path) -> int:
    """Lines that are neither empty, nor a comment, nor of the docstring."""
    text = path.read_text()
    docstring = ast.parse(text).body[0]
    assert docstring.end_lineno is not None
    rest = text.splitlines()[docstring.end_lineno :]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in rest)


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {"mosaic_quick_start", "mosaic_nightly_pipeline", "mosaic_wait_for_run"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_parses_and_explains_itself(path: Path) -> None:
    dag = load(path)
    assert dag.dag_id == path.stem
    assert dag.doc_md
    assert dag.doc_md.strip().startswith("###")
    dag.check_cycle()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_retries_and_waits_without_a_worker(path: Path) -> None:
    for task in load(path).tasks:
        arguments = task.partial_kwargs if hasattr(task, "partial_kwargs") else vars(task)
        assert arguments["retries"] == 2, task.task_id
        if task.task_type in ("MosaicRunAgentOperator", "MosaicRunSensor"):
            assert arguments["deferrable"] is True, task.task_id


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_uses_public_names_only(path: Path) -> None:
    modules = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
    assert modules <= {
        "datetime",
        "airflow.sdk",
        "airflow_provider_mosaic.operators",
        "airflow_provider_mosaic.sensors",
    }


def test_the_quick_start_is_under_twenty_lines_of_code() -> None:
    (path,) = (path for path in EXAMPLES if path.stem == "mosaic_quick_start")
    assert 0 < lines_of_code(path) < 20
