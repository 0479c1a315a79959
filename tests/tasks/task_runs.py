"""Tasks of the operators that most tests run, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicRunAgentOperator, MosaicSocialPostOperator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import DagRun, Killed, StateStore, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, OTHER_ACCOUNT, started, until

#: Makes an operator as an item of a mapped task, which validates its arguments when it runs.
LATE: dict[str, Any] = {"_airflow_from_mapped": True}
#: Two destinations of a post.
BOTH = {"social_connection_ids": [ACCOUNT, OTHER_ACCOUNT]}


def run_task(
    store: StateStore | None = None,
    *,
    dag_run: DagRun | None = None,
    map_index: int = -1,
    others: Callable[[], Any] = lambda: None,
    **options: Any,
) -> TaskRunner:
    """Return a task ``run`` of the agent without inputs."""
    return TaskRunner(run_operator(**options), store=store, dag_run=dag_run, map_index=map_index, others=others)


def run_operator(**options: Any) -> Callable[[], MosaicRunAgentOperator]:
    """Return what makes the operator of :func:`run_task`."""
    arguments = {"task_id": "run", "agent_id": AGENT, "poll_interval": 0.05, **options}
    return lambda: MosaicRunAgentOperator(**arguments)


def post_task(
    store: StateStore | None = None, *, dag_run: DagRun | None = None, map_index: int = -1, **options: Any
) -> TaskRunner:
    """Return a task ``post``."""
    arguments: dict[str, Any] = {
        "task_id": "post", "text": "Hello", "social_connection_ids": [ACCOUNT], "poll_interval": 0.05, **options,
    }  # fmt: skip
    return TaskRunner(
        lambda: MosaicSocialPostOperator(**{name: each for name, each in arguments.items() if each is not None}),
        store=store,
        dag_run=dag_run,
        map_index=map_index,
    )


def one_post(mosaic: Emulator) -> dict[str, Any]:
    """Return the only post."""
    [post] = mosaic.posts()
    return post


def let_an_hour_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the schedules of posts in the next hour pass at once."""
    later = SimpleNamespace(now=lambda tz: datetime.now(tz) + timedelta(hours=1))
    # Where a schedule is compared with the current time.
    for module in ("api.endpoints.posts", "tasks.posts"):
        monkeypatch.setattr(f"airflow_provider_mosaic.{module}.datetime", later)


def rendered(mosaic: Emulator, hook: MosaicHook) -> tuple[str, list[str]]:
    """Return a completed run and its outputs."""
    run_id = hook.run_agent(AGENT)
    run = until(lambda: next((r for r in mosaic.runs() if r["run_id"] == run_id and r["status"] == "completed"), None))
    return run_id, run["output_ids"]


def fails_with(act: Callable[[], Any], kind: type[Exception]) -> str:
    """Return the message of a failure without retries."""
    with pytest.raises(AirflowFailException) as failure:
        act()
    assert type(failure.value.error) is kind
    assert str(failure.value).startswith(f"{kind.__name__}: ")
    return str(failure.value)


def fail_first_attempt(mosaic: Emulator, task: TaskRunner, status: str, **end: Any) -> str:
    """Kill the first attempt after the start of its run, and end the run."""
    assert task.store is not None
    task.store.killing_at("id")
    mosaic.configure(hold_runs=True)
    with pytest.raises(Killed):
        task.execute()
    run_id = started(mosaic)
    mosaic.finish_run(run_id, status, **end)
    mosaic.configure(hold_runs=False)
    return run_id
