"""Tasks and triggers count what they do, once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import StateStore
from tasks.fixtures import START, Clock, started
from tasks.task_runs import fail_first_attempt, fails_with, post_task, run_task

from airflow_provider_mosaic.api import metrics
from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

GET_RUN = "/agent_run/{run_id}"


class Recorder:
    """Counts metrics as Airflow's ``Stats`` gets them."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.durations: list[timedelta] = []

    def incr(self, stat: str, count: int = 1) -> None:
        self.counted[stat.removeprefix("mosaic.")] += count

    def timing(self, stat: str, dt: timedelta) -> None:
        assert stat == "mosaic.runs.duration"
        self.durations.append(dt)

    def without_polls(self) -> dict[str, int]:
        return {name: count for name, count in self.counted.items() if not name.startswith("polls.")}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(metrics, "_find_metrics", lambda: recorder)
    return recorder


@pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
def test_a_run(mosaic: Emulator, recorder: Recorder, deferrable: bool) -> None:
    mosaic.configure(hold_runs=deferrable)
    task = run_task(StateStore(), deferrable=deferrable)
    deferred = task.execute()
    if deferrable:
        mosaic.finish_run(started(mosaic))
        task.resume(deferred, deferred.wait())
    ends = {"waits.ended": 1} if deferrable else {}
    assert recorder.without_polls() == {"runs.started": 1, "runs.ended.completed": 1, **ends}
    assert recorder.counted["polls.single"] >= (3 if deferrable else 1)
    [duration] = recorder.durations
    assert timedelta(0) <= duration < timedelta(minutes=5)


def test_a_lost_response_and_a_repeated_request(mosaic: Emulator, clock: Clock, recorder: Recorder) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    # The first listing of existing runs.
    mosaic.inject("server_error", method="GET", path="/agent/{agent_id}/runs")
    run_task(StateStore()).run_to_end()
    assert recorder.without_polls() == {
        "requests.retried": 1,
        "responses.lost": 1,
        "runs.started": 1,
        "runs.ended.completed": 1,
    }


def test_an_ambiguous_outcome(mosaic: Emulator, clock: Clock, recorder: Recorder) -> None:
    mosaic.inject("response_lost", method="POST", path=START)
    fails_with(run_task(StateStore(), on_ambiguous="fail").execute, MosaicAmbiguousOutcomeError)
    assert recorder.without_polls() == {"responses.lost": 1, "outcomes.ambiguous": 1}


def test_a_run_that_a_retry_resumes(mosaic: Emulator, clock: Clock, recorder: Recorder) -> None:
    task = run_task(StateStore())
    fail_first_attempt(mosaic, task, "failed")
    task.run_to_end()
    assert recorder.without_polls() == {"runs.started": 1, "runs.resumed": 1, "runs.ended.completed": 1}


def test_a_post(mosaic: Emulator, clock: Clock, recorder: Recorder) -> None:
    post_task(StateStore(), wait_for_completion=True).run_to_end()
    assert recorder.without_polls() == {"posts.created": 1, "posts.ended.posted": 1}


def test_bytes(mosaic: Emulator, hook: MosaicHook, recorder: Recorder, tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    file.write_bytes(b"0" * 70_000)
    hook.upload_asset(file)
    assert recorder.without_polls() == {"bytes.uploaded": 70_000}


@pytest.mark.parametrize("problem", [OSError("no route to host"), RuntimeError("misconfigured")], ids=repr)
def test_a_broken_metrics_host_fails_no_task(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def broken() -> Any:
        raise problem

    monkeypatch.setattr(metrics, "_find_metrics", broken)
    assert run_task(StateStore(), deferrable=True).run_to_end()


def test_airflows_metrics_of_this_process_are_found() -> None:
    from airflow_provider_mosaic.airflow_compat import stats

    found = stats()
    assert callable(found.incr)
    assert callable(found.timing)
