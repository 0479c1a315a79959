"""The post operator without errors: created once, waited for; media and schedules."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException, AirflowSkipException
from tasks.fakes import Deferred, Killed, StateStore
from tasks.fixtures import ACCOUNT, Clock, InBackground, effects, in_pause, sent, until
from tasks.task_runs import BOTH, fails_with, let_an_hour_pass, one_post, post_task, rendered

from airflow_provider_mosaic.api.errors import (
    MosaicPostFailedError,
    MosaicRunFailedError,
    MosaicRunPartialError,
    MosaicTimeoutError,
    MosaicValidationError,
)
from airflow_provider_mosaic.api.poll_state import PollState
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

POST = "/social/post"
GET_POST = "/social/post/{post_id}"
#: The emulator's agent with branches that end one after the other, each with an output.
TWO_VERSIONS = "a0000000-0000-4000-8000-000000000002"
WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


# Without errors


def test_post_is_created_once_and_its_id_is_pushed_at_once(mosaic: Emulator) -> None:
    task = post_task(StateStore())
    post_id = task.execute()
    assert post_id == one_post(mosaic)["post_id"] == task.xcom("mosaic_post_id")
    assert effects(mosaic) == {"posts_made": 1}
    assert sent(mosaic, "GET /social/post/{post_id}") == 0


@WAITS
def test_wait_for_completion(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_posts=True)
    task = post_task(StateStore(), wait_for_completion=True, deferrable=deferrable)

    def release() -> None:
        until(mosaic.posts)
        assert until(lambda: task.xcom("mosaic_post_id")) == one_post(mosaic)["post_id"]
        mosaic.configure(hold_posts=False)

    with InBackground(release):
        task.run_to_end()
    assert one_post(mosaic)["status"] == "posted"
    assert effects(mosaic) == {"posts_made": 1}


def test_trigger_arguments_are_json_scalars(mosaic: Emulator) -> None:
    mosaic.configure(hold_posts=True)
    deferred = post_task(StateStore(), wait_for_completion=True, deferrable=True).execute()
    assert isinstance(deferred, Deferred)
    for value in (*deferred.trigger_kwargs.values(), *deferred.kwargs.values()):
        assert value is None or isinstance(value, (str, int, float, bool))


@WAITS
@pytest.mark.parametrize(
    ("failing", "on_partial", "expected"),
    [
        ({}, "fail", None),
        ({"tiktok": "Video too long"}, "fail", MosaicPostFailedError),
        ({"tiktok": "Video too long"}, "warn", None),
        ({"tiktok": "Video too long"}, "skip", AirflowSkipException),
        ({"tiktok": "Video too long", "youtube": "Quota"}, "warn", MosaicPostFailedError),
    ],
)
def test_every_kind_of_wait_ends_alike(
    mosaic: Emulator, deferrable: bool, failing: dict[str, str], on_partial: str, expected: Any
) -> None:
    mosaic.configure(failing_platforms=failing)
    task = post_task(StateStore(), wait_for_completion=True, deferrable=deferrable, on_partial=on_partial, **BOTH)
    if expected is None:
        assert task.run_to_end() == one_post(mosaic)["post_id"]
    else:
        with pytest.raises((AirflowFailException, AirflowSkipException, MosaicPostFailedError)) as failure:
            task.run_to_end()
        assert expected in (type(failure.value), type(getattr(failure.value, "error", None)))
    assert effects(mosaic) == {"posts_made": 1}


def test_partial_failure_names_the_destinations_and_fails_without_retries(mosaic: Emulator) -> None:
    mosaic.configure(failing_platforms={"tiktok": "Video too long"})
    task = post_task(StateStore(), wait_for_completion=True, **BOTH)
    message = fails_with(task.run_to_end, MosaicPostFailedError)
    assert "It was published on youtube (emulatedfilms)" in message
    assert "failed on tiktok (emulatedfilms): Video too long" in message
    assert "Make a new post for the destinations that failed" in message


def test_timeout_of_a_scheduled_post_counts_from_its_schedule(mosaic: Emulator) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=5)
    task = post_task(StateStore(), wait_for_completion=True, deferrable=True, schedule_date=later, timeout=3600)
    deadline = task.execute().trigger_kwargs["deadline"]
    assert deadline == pytest.approx((later + timedelta(hours=1)).timestamp(), abs=2)


@WAITS
def test_timed_out_post_is_not_withdrawn_and_never_created_again(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_posts=True)
    task = post_task(StateStore(), wait_for_completion=True, deferrable=deferrable, timeout=0.2)
    assert "may be published later" in fails_with(task.run_to_end, MosaicTimeoutError)
    fails_with(task.run_to_end, MosaicTimeoutError)
    assert effects(mosaic) == {"posts_made": 1}
    assert one_post(mosaic)["status"] == "processing"


def test_failed_request_at_the_timeout_fails_no_published_post(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(hold_posts=True)
    # The first poll finds the post processing. The second one is at the timeout.
    mosaic.inject("server_error", method="GET", path=GET_POST, status=502, skip=1)
    task = post_task(StateStore(), wait_for_completion=True, timeout=60, poll_interval=600)

    def publish_at_the_timeout() -> None:
        mosaic.configure(hold_posts=False)
        until(lambda: one_post(mosaic)["status"] == "posted")
        monkeypatch.setattr(PollState, "expired", True)

    in_pause(clock, monkeypatch, publish_at_the_timeout)
    assert task.execute() == one_post(mosaic)["post_id"]
    assert mosaic.counts().faults_used == {"server_error": 1}


def test_execution_timeout_of_a_deferred_post_allows_a_retry(mosaic: Emulator) -> None:
    mosaic.configure(hold_posts=True)
    limits = {"execution_timeout": timedelta(seconds=100), "timeout": timedelta(seconds=200)}
    task = post_task(StateStore(), wait_for_completion=True, deferrable=True, **limits)
    deferred = task.execute()
    task.start_date -= timedelta(seconds=150)
    with pytest.raises(MosaicTimeoutError, match="execution_timeout"):
        task.resume(deferred, {"outcome": "timeout", "id": deferred.kwargs["post_id"]})
    assert isinstance(task.execute(), Deferred)
    assert effects(mosaic) == {"posts_made": 1}


# Outputs of a run as media


def test_outputs_of_a_run_are_posted_with_new_links(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    old_link = hook.get_run(run_id).outputs[0].video_url
    mosaic.expire_links()
    store = StateStore()
    task = post_task(store, run_id=run_id, wait_for_completion=True)
    task.run_to_end()
    [link] = one_post(mosaic)["media_urls"]
    assert link != old_link
    # Signed links are secrets: they are stored nowhere in Airflow.
    for kept in (store.history, task.dag_run.xcoms):
        assert link not in repr(kept)
        assert link.partition("?")[2] not in repr(kept)
    assert output_ids


@pytest.mark.parametrize("spelled", [str, str.upper], ids=["as listed", "in upper case"])
def test_output_ids_select_the_outputs(mosaic: Emulator, hook: MosaicHook, spelled: Callable[[str], str]) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    post_task(StateStore(), run_id=run_id, output_ids=[spelled(output_ids[0])]).execute()
    assert len(one_post(mosaic)["media_urls"]) == 1


def test_unknown_output_is_reported_with_the_known_ones(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    message = fails_with(post_task(StateStore(), run_id=run_id, output_ids=["another"]).execute, MosaicValidationError)
    assert "output_ids='another'" in message
    assert output_ids[0] in message
    assert effects(mosaic) == {"runs_started": 1}


def test_run_without_outputs_cannot_be_posted(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(late_output_seconds=3600)
    run_id, _ = rendered(mosaic, hook)
    assert "no outputs" in fails_with(post_task(StateStore(), run_id=run_id).execute, MosaicValidationError)
    assert mosaic.counts().posts_made == 0


@pytest.mark.parametrize("status", ["running", "failed", "cancelled"])
def test_outputs_of_an_unsuccessful_run_need_output_ids(mosaic: Emulator, hook: MosaicHook, status: str) -> None:
    mosaic.configure(node_seconds=100, speed=100)
    run_id = hook.run_agent(TWO_VERSIONS, video_urls=["https://cdn.example.org/talk.mp4"])
    until(lambda: hook.get_run(run_id).outputs)
    mosaic.configure(hold_runs=True)
    if status != "running":
        mosaic.finish_run(run_id, status)
    with pytest.raises(MosaicRunFailedError, match=rf"is (still )?{status}[.:] .*output_ids"):
        post_task(StateStore(), run_id=run_id).execute()
    assert mosaic.counts().posts_made == 0
    # The outputs of a failed run are not documented; the emulator shows none.
    outputs = hook.get_run(run_id).outputs
    assert outputs or status != "running"
    for output in outputs[:1]:
        post_task(StateStore(), run_id=run_id, output_ids=[output.output_id]).execute()
        assert len(one_post(mosaic)["media_urls"]) == 1


def test_outputs_of_a_partial_run_need_output_ids(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(node_seconds=100, speed=100)
    run_id = hook.run_agent(TWO_VERSIONS, video_urls=["https://cdn.example.org/talk.mp4"])
    until(lambda: hook.get_run(run_id).outputs)
    mosaic.finish_run(run_id, "partial_complete")
    # Mosaic does not resume such a run, so a retry would meet it again.
    assert "output_ids" in fails_with(post_task(StateStore(), run_id=run_id).execute, MosaicRunPartialError)
    assert mosaic.counts().posts_made == 0
    post_task(StateStore(), run_id=run_id, output_ids=hook.get_run(run_id).output_ids).execute()
    assert one_post(mosaic)["media_urls"]


def test_links_that_expire_before_the_schedule_are_rejected(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, _ = rendered(mosaic, hook)
    late = datetime.now(timezone.utc) + timedelta(days=8)
    message = fails_with(post_task(StateStore(), run_id=run_id, schedule_date=late).execute, MosaicValidationError)
    assert "schedule_date=" in message
    assert "7 days" in message
    assert mosaic.counts().posts_made == 0


# Schedules


def test_schedule_in_the_past_is_rejected_on_the_first_attempt(mosaic: Emulator) -> None:
    past = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    message = fails_with(post_task(StateStore(), schedule_date=past).execute, MosaicValidationError)
    assert f"schedule_date='{past}'" in message
    assert "in the past" in message
    assert sent(mosaic, "POST " + POST) == 0


def test_retry_after_the_schedule_continues_with_or_searches_the_post(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server publishes the posts at once.
    mosaic.configure(clock_skew=3600)
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(minutes=30)
    recorded = post_task(StateStore().killing_at("id"), schedule_date=soon, text="Recorded")
    lost = post_task(StateStore().killing_at("intent"), schedule_date=soon)
    never_made = post_task(StateStore().killing_at("intent"), schedule_date=soon, text="Never made")
    for task in (recorded, lost, never_made):
        with pytest.raises(Killed):
            task.execute()
    post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT], schedule_date=soon).post_id
    until(lambda: all(post["status"] == "posted" for post in mosaic.posts()))
    let_an_hour_pass(monkeypatch)
    assert recorded.execute() == mosaic.posts()[0]["post_id"]
    assert lost.execute() == post_id
    # If there is none, no late post is published.
    assert "in the past" in fails_with(never_made.execute, MosaicValidationError)
    assert effects(mosaic) == {"posts_made": 2}


def test_no_secret_in_the_store(mosaic: Emulator) -> None:
    store = StateStore()
    post_task(store, media_urls=["http://127.0.0.1:9/a.mp4?X-Amz-Signature=marked-secret"]).execute()
    assert store.history
    assert "marked-secret" not in json.dumps(store.history)
