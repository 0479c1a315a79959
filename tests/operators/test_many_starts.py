"""The snapshot before a start needs few requests, with any number of recent runs."""

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
    """Return the ids of 250 runs of the last two minutes: 150, then 100 at one moment."""
    mosaic.configure(hold_runs=True, clock_skew=-120)
    ids = {hook.run_agent(AGENT) for _ in range(150)}
    mosaic.configure(clock_skew=-30)
    return ids | {hook.run_agent(AGENT) for _ in range(100)}


# For the first start, the page of 100 runs of one moment does not show whether more runs of that moment follow.
@pytest.mark.parametrize(("order", "requests"), [("newest", [2, 1, 1]), ("oldest", [3, 3, 3])])
def test_snapshot_needs_one_request_for_a_list_sorted_newest_first(
    mosaic: Emulator, before: set[str], order: str, requests: list[int]
) -> None:
    mosaic.configure(list_order=order, clock_skew=0)
    request_counts = []
    for _ in range(3):
        seen = sent(mosaic, LIST)
        run_task(StateStore(), wait_for_completion=False).execute()
        request_counts.append(sent(mosaic, LIST) - seen)
        # The next start comes some seconds after the newest runs.
        mosaic.configure(clock_skew=30 * len(request_counts))
    assert request_counts == requests


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("skew", [-540, 0, 540])
@pytest.mark.parametrize("fault", ["response_lost", "server_error"])
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
    monkeypatch.setattr(runs, "_MAX_EXISTING", 200)
    mosaic.configure(list_order=order, clock_skew=0)
    mosaic.inject("response_lost", method="POST", path=START)
    task = run_task(StateStore(), wait_for_completion=False)
    if adopted:
        assert task.execute() not in before
    else:
        fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"runs_started": 251}
