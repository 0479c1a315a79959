"""What `make distributed` says of a machine that lacks something, and the DAG that it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev import distributed_engine, postgres, redis

ROOT = Path(__file__).parent.parent
DAG_FILE = ROOT / "dev" / "dags" / "distributed_pipeline.py"


def test_a_machine_without_the_programs_is_told_the_packages_and_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN_FOLDERS", tmp_path)
    assert distributed_engine.main() == 2
    told = capsys.readouterr().err
    assert "Nothing was started or installed" in told
    assert "apt-get install postgresql" in told
    assert "apt-get install redis-server" in told


def test_a_machine_with_the_programs_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = tmp_path / "15" / "bin"
    programs.mkdir(parents=True)
    for name in ("initdb", "postgres", "redis-server"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(postgres, "DEBIAN_FOLDERS", tmp_path)
    assert distributed_engine.main() == 0
    assert capsys.readouterr().err == ""
    assert redis.program() == str(programs / "redis-server")


def test_the_look_for_programs_needs_nothing_but_python() -> None:
    ran = subprocess.run(
        [sys.executable, "-S", "-c", "import dev.distributed_engine"],
        cwd=ROOT,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


def test_the_page_names_the_packages_that_the_command_asks_for() -> None:
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    assert "apt-get install postgresql redis-server" in page
    assert "apt-get install postgresql" in postgres.MISSING
    assert "apt-get install redis-server" in redis.MISSING


def test_the_pipelines_bring_to_its_end_what_has_begun_and_survive_lost_workers() -> None:
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
