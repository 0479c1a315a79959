"""The advice of docs/operations.md for a run that failed: only the missing nodes run again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import StateStore
from tasks.fixtures import Clock, effects
from tasks.task_runs import run_task


@pytest.mark.parametrize("make_store", [StateStore, lambda: None], ids=["with a store", "without a store"])
@pytest.mark.parametrize("on_retry", ["resume", "new", "fail"])
@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_cleared_task_resumes_a_run_that_ran_out_of_credits(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, make_store: Any, deferrable: bool, on_retry: str
) -> None:
    mosaic.configure(credits=0)
    task = run_task(make_store(), deferrable=deferrable, on_retry=on_retry)
    with pytest.raises(Exception, match="credits"):
        task.run_to_end()
    (run,) = mosaic.runs()
    assert (run["status"], run["needs_credits"]) == ("failed", True)

    mosaic.configure(credits=1000)
    decision = json.dumps({task.dag_run.run_id: task.xcom("mosaic_run_id")})
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.RUN", decision)
    task.clear()
    assert task.run_to_end() == run["run_id"]
    assert task.xcom("status") == "completed"
    assert effects(mosaic) == {"runs_started": 1, "runs_resumed": 1}
