"""``min_credits`` is checked before a new run is started, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, AirflowSkipException
from tasks.fakes import Deferred, Killed, StateStore, TaskRunner
from tasks.fixtures import AGENT, START, Clock, effects, sent

from airflow_provider_mosaic.api.endpoints.billing import get_plan
from airflow_provider_mosaic.api.errors import MosaicNeedsCreditsError, MosaicServerError
from airflow_provider_mosaic.api.responses import Response
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicRunAgentOperator

SHAPES = pytest.mark.parametrize("shape", ["flat", "nested"])


def task_runner(store: StateStore | None = None, **options: Any) -> TaskRunner:
    arguments = {"task_id": "run", "agent_id": AGENT, "poll_interval": 0.05, "min_credits": 100, **options}
    return TaskRunner(lambda: MosaicRunAgentOperator(**arguments), store=store or StateStore())


@SHAPES
@pytest.mark.parametrize(("credits", "min_credits_option"), [(100, 100), (1000.5, "100"), (None, 10_000), (100, 0)])
def test_enough_credits_start_the_run(mosaic: Emulator, shape: str, credits: Any, min_credits_option: Any) -> None:
    mosaic.configure(credits=credits, credits_response=shape)
    task_runner(min_credits=min_credits_option).run_to_end()
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "GET /credits") == 1


@SHAPES
@pytest.mark.parametrize("balance", [0, -5])
def test_organization_without_a_limit_is_never_short(mosaic: Emulator, shape: str, balance: float) -> None:
    mosaic.configure(credits=None, unlimited_balance=balance, credits_response=shape)
    task_runner().run_to_end()
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("status", [403, 404])
def test_plan_that_can_not_be_read_means_a_limit(mosaic: Emulator, status: int) -> None:
    mosaic.configure(credits=99)
    mosaic.inject("server_error", method="GET", path="/plan", status=status, times=None)
    with pytest.raises(AirflowFailException, match="min_credits=100"):
        task_runner().execute()
    assert effects(mosaic) == {}


@pytest.mark.parametrize(("option", "expected"), [("fail", AirflowFailException), ("skip", AirflowSkipException)])
@pytest.mark.parametrize("response", [Response(204, {}, b""), Response(200, {}, b"null"), Response(200, {}, b"<p>")])
def test_plan_without_a_readable_body_means_a_limit(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, response: Response, option: str, expected: type[Exception]
) -> None:
    mosaic.configure(credits=99)
    monkeypatch.setattr(MosaicHook, "get_plan", lambda hook: get_plan().result(response))
    with pytest.raises(expected, match="min_credits=100"):
        task_runner(on_short_of_credits=option).execute()
    assert effects(mosaic) == {}


def test_plan_that_can_not_be_read_now_is_retried(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(credits=None, unlimited_balance=0)
    mosaic.inject("server_error", method="GET", path="/plan", times=None)
    with pytest.raises(MosaicServerError):
        task_runner().execute()
    assert effects(mosaic) == {}


@SHAPES
@pytest.mark.parametrize("credits", [99, 99.5, 0, -5])
def test_too_few_credits_start_nothing_and_fail_without_retries(mosaic: Emulator, shape: str, credits: float) -> None:
    mosaic.configure(credits=credits, credits_response=shape)
    store = StateStore()
    with pytest.raises(AirflowFailException, match=r"MosaicNeedsCreditsError: .*min_credits=100") as failure:
        task_runner(store).execute()
    assert type(failure.value.error) is MosaicNeedsCreditsError
    assert f"{credits:g} credits" in str(failure.value)
    assert effects(mosaic) == {}
    assert sent(mosaic, "POST " + START) == 0
    # Nothing was started, so there is no record of a start.
    assert not any("started_at" in value for _, value in store.history)


def test_too_few_credits_skip_the_task(mosaic: Emulator) -> None:
    mosaic.configure(credits=99)
    with pytest.raises(AirflowSkipException, match="This attempt started no run and paid nothing"):
        task_runner(on_short_of_credits="skip").execute()
    assert effects(mosaic) == {}


def test_without_min_credits_the_balance_is_not_read(mosaic: Emulator) -> None:
    task_runner(min_credits=None).run_to_end()
    assert sent(mosaic, "GET /credits") == 0


def test_unreadable_balance_starts_nothing(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="GET", path="/credits", times=None)
    with pytest.raises(MosaicServerError):
        task_runner().execute()
    assert effects(mosaic) == {}


def test_retry_of_an_active_run_needs_no_credits(mosaic: Emulator) -> None:
    mosaic.configure(credits=100, hold_runs=True)
    task = task_runner(StateStore(), deferrable=True)
    assert isinstance(task.execute(), Deferred)
    mosaic.configure(credits=0)
    assert isinstance(task.execute(), Deferred)
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "GET /credits") == 1


def test_retry_that_finds_its_run_needs_no_credits(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(credits=100, node_credits=1)
    store = StateStore().killing_at("id")
    task = task_runner(store)
    with pytest.raises(Killed):
        task.execute()
    assert task.run_to_end() == mosaic.runs()[0]["run_id"]
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "GET /credits") == 1


def test_new_run_after_a_failed_one_needs_credits(mosaic: Emulator) -> None:
    mosaic.configure(credits=100, failing_nodes={"Captions": "No speech was found"})
    task = task_runner(StateStore(), on_retry="new")
    with pytest.raises(Exception, match="No speech was found"):
        task.execute()
    mosaic.configure(credits=0)
    with pytest.raises(AirflowFailException, match=r"MosaicNeedsCreditsError.* This attempt started no run and paid"):
        task.execute()
    assert effects(mosaic) == {"runs_started": 1}
