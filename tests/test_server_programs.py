"""The check for the programs of PostgreSQL and Redis, and the DAG of `make distributed`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev import server_programs

ROOT = Path(__file__).parent.parent
DAG_FILE = ROOT / "dev" / "dags" / "distributed_pipeline.py"


def test_missing_programs_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(server_programs, "DEBIAN_FOLDERS", tmp_path)
    assert server_programs.main() == 2
    printed = capsys.readouterr().err
    assert "Nothing was started or installed" in printed
    assert "apt-get install postgresql" in printed
    assert "apt-get install redis-server" in printed


def test_nothing_is_reported_if_all_programs_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "15" / "bin"
    programs.mkdir(parents=True)
    for name in ("initdb", "postgres", "redis-server"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(server_programs, "DEBIAN_FOLDERS", tmp_path)
    assert server_programs.main() == 0
    assert capsys.readouterr().err == ""
    assert server_programs.redis_program() == str(programs / "redis-server")


def test_check_needs_the_standard_library_only() -> None:
    result = subprocess.run(
        [sys.executable, "-S", "-c", "import dev.server_programs"],
        cwd=ROOT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_docs_name_the_packages() -> None:
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    assert "apt-get install postgresql redis-server" in page
    assert "apt-get install postgresql" in server_programs.POSTGRES_MISSING
    assert "apt-get install redis-server" in server_programs.REDIS_MISSING


def test_dag_finishes_started_pipelines_first_and_retries() -> None:
    space: dict[str, object] = {"__name__": "distributed_pipeline"}
    exec(compile(DAG_FILE.read_text(encoding="utf-8"), str(DAG_FILE), "exec"), space)
    from airflow.sdk import DAG

    from airflow_provider_mosaic.operators import MosaicRunAgentOperator

    dag = space["distributed_pipeline"]()  # type: ignore[operator]
    assert isinstance(dag, DAG)
    steps = [f"pipeline.{step}" for step in ("upload", "edit", "download")]
    assert set(steps) < set(dag.task_ids)
    for step in steps:
        task = dag.get_task(step)
        assert task.retries >= 2
        assert "upstream" in str(task.weight_rule).lower()
    edit = dag.get_task("pipeline.edit")
    assert isinstance(edit, MosaicRunAgentOperator)
    assert edit.deferrable
