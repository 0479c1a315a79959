"""What was there before a start is known at a small price, however many runs the agent has begun lately."""

from __future__ import annotations

import pytest
from mosaic_emulator import Emulator
from tasks.fakes import StateStore
from tasks.fixtures import AGENT, START, Clock, effects, sent
from tasks.task_runs import fails_with, run_task

from airflow_provider_mosaic.api.errors import MosaicAmbiguousOutcomeError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks import runs

LIST = "GET /agent/{agent_id}/runs"


@pytest.fixture
def before(mosaic: Emulator, hook: MosaicHook) -> set[str]:
    """Runs of the last two minutes: 150 that are older, then 100 in one moment."""
    mosaic.configure(hold_runs=True, clock_skew=-120)
    ids = {hook.run_agent(AGENT) for _ in range(150)}
    mosaic.configure(clock_skew=-30)
    return ids | {hook.run_agent(AGENT) for _ in range(100)}


# The 100 of one moment leave it open, for the first of the three, whether others of that moment are behind them.
@pytest.mark.parametrize(("order", "requests"), [("newest", [2, 1, 1]), ("oldest", [3, 3, 3])])
def test_snapshot_needs_one_request_for_a_list_sorted_newest_first(
    mosaic: Emulator, before: set[str], order: str, requests: list[int]
) -> None:
    mosaic.configure(list_order=order, clock_skew=0)
    looks = []
    for _ in range(3):
        seen = sent(mosaic, LIST)
        run_task(StateStore(), wait_for_completion=False).execute()
        looks.append(sent(mosaic, LIST) - seen)
        # The next one comes when the newest are some seconds old.
        mosaic.configure(clock_skew=30 * len(looks))
    assert looks == requests


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("skew", [-540, 0, 540])
@pytest.mark.parametrize("fault", ["answer_lost", "server_error"])
def test_no_existing_run_is_adopted(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, order: str, skew: int, fault: str
) -> None:
    mosaic.configure(hold_runs=True, clock_skew=skew - 40)
    before = {hook.run_agent(AGENT) for _ in range(30)}
    mosaic.configure(clock_skew=skew - 20)
    before |= {hook.run_agent(AGENT) for _ in range(60)}
    mosaic.configure(clock_skew=skew)
    before |= {hook.run_agent(AGENT) for _ in range(60)}
    mosaic.configure(list_order=order)
    mosaic.inject(fault, method="POST", path=START)
    run_id = run_task(StateStore(), wait_for_completion=False).execute()
    assert run_id not in before
    assert effects(mosaic) == {"runs_started": 151}


@pytest.mark.parametrize(("order", "adopted"), [("newest", True), ("oldest", False)])
def test_unsorted_list_needs_more_requests(
    mosaic: Emulator,
    clock: Clock,
    before: set[str],
    monkeypatch: pytest.MonkeyPatch,
    order: str,
    adopted: bool,
) -> None:
    monkeypatch.setattr(runs, "_MOST_PRESENT", 200)
    mosaic.configure(list_order=order, clock_skew=0)
    mosaic.inject("answer_lost", method="POST", path=START)
    task = run_task(StateStore(), wait_for_completion=False)
    if adopted:
        assert task.execute() not in before
    else:
        fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 251}
