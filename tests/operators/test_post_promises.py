"""Never post twice: lost responses, killed attempts, retries and clears of the post operator."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowFailException
from tasks.fakes import DagRun, Deferred, Killed, StateStore
from tasks.fixtures import ACCOUNT, OTHER_ACCOUNT, Clock, InBackground, effects, in_pause, sent, until
from tasks.task_runs import BOTH, fails_with, let_an_hour_pass, one_post, post_task, rendered

from airflow_provider_mosaic.api.endpoints.posts import Post
from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicNotFoundError,
    MosaicPostFailedError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.hooks.mosaic import MosaicHook

POST = "/social/post"


# Lost responses


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("response_lost", {}),
        ("reset", {"when": "after"}),
        ("server_error", {"status": 502, "effect": True, "body": "html"}),
        ("server_error", {"status": 504, "effect_after": 0.1}),
        ("truncated_json", {}),
        ("empty", {}),
    ],
    ids=lambda value: str(value),
)
def test_lost_post_is_found(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch, fault: str, options: dict[str, Any]
) -> None:
    mosaic.inject(fault, method="POST", path=POST, **options)
    # By then the late effect of the 504 shows.
    in_pause(clock, monkeypatch, lambda: until(mosaic.posts), number=3)
    task = post_task(StateStore())
    assert task.execute() == one_post(mosaic)["post_id"] == task.xcom("mosaic_post_id")
    assert sent(mosaic, "POST " + POST) == 1


@pytest.mark.parametrize("failing", [{"youtube": "Quota", "tiktok": "Quota"}, {"tiktok": "Quota"}])
def test_lost_post_that_failed_is_no_success_without_a_wait(
    mosaic: Emulator, clock: Clock, failing: dict[str, str]
) -> None:
    mosaic.configure(failing_platforms=failing, post_seconds=0)
    mosaic.inject("response_lost", method="POST", path=POST)
    task = post_task(StateStore(), wait_for_completion=False, **BOTH)
    with pytest.raises((MosaicPostFailedError, AirflowFailException), match="tiktok"):
        task.execute()
    assert task.xcom("mosaic_post_id") == one_post(mosaic)["post_id"]
    assert effects(mosaic) == {"posts_made": 1}


def test_lost_post_that_cannot_be_read_succeeds_without_a_wait(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("response_lost", method="POST", path=POST)
    mosaic.inject("forbidden", method="GET", path="/social/post/{post_id}", times=None)
    assert post_task(StateStore(), wait_for_completion=False).execute() == one_post(mosaic)["post_id"]


def test_post_without_effect_is_sent_again_after_two_minutes(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=POST, status=502)
    post_task(StateStore()).execute()
    assert effects(mosaic) == {"posts_made": 1}
    assert clock.elapsed >= 119


def test_delayed_list_is_read_until_it_shows_the_post(
    mosaic: Emulator, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(list_lag=3600)
    in_pause(clock, monkeypatch, lambda: mosaic.configure(list_lag=0), number=3)
    mosaic.inject("response_lost", method="POST", path=POST)
    post_task(StateStore()).execute()
    assert effects(mosaic) == {"posts_made": 1}
    assert sent(mosaic, "GET /social/posts") >= 8


@pytest.mark.parametrize("skew", [-540, 540], ids=["behind", "ahead"])
def test_server_clock_that_is_nine_minutes_off(mosaic: Emulator, clock: Clock, skew: int) -> None:
    mosaic.configure(clock_skew=skew)
    mosaic.inject("response_lost", method="POST", path=POST)
    post_task(StateStore()).execute()
    assert effects(mosaic) == {"posts_made": 1}


def create_other_post(store: StateStore, hook: MosaicHook, **post: Any) -> list[str]:
    """Create a post outside Airflow between the task's snapshot and its own request."""
    others: list[str] = []

    def make(value: dict[str, Any]) -> None:
        if "id" not in value and not others:
            others.append(hook.create_post(**post).post_id)

    store.after_set = make
    return others


def test_two_equal_posts_need_manual_review(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store = StateStore()
    create_other_post(store, hook, text="Hello", social_connection_ids=[ACCOUNT])
    mosaic.inject("response_lost", method="POST", path=POST, skip=1)
    message = fails_with(post_task(store).execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"posts_made": 2}
    for post in mosaic.posts():
        assert post["post_id"] in message


@pytest.mark.parametrize(
    "other",
    [
        {"text": "Another text", "social_connection_ids": [ACCOUNT]},
        {"text": "Hello", "social_connection_ids": [OTHER_ACCOUNT]},
        {"text": "Hello", "social_connection_ids": [ACCOUNT], "schedule_date": "2099-01-01T00:00:00Z"},
    ],
    ids=["text", "destination", "schedule"],
)
def test_different_post_is_not_adopted(mosaic: Emulator, clock: Clock, hook: MosaicHook, other: dict[str, Any]) -> None:
    store = StateStore()
    others = create_other_post(store, hook, **other)
    mosaic.inject("response_lost", method="POST", path=POST, skip=1)
    schedule = {"schedule_date": "2099-01-02T00:00:00Z"} if "schedule_date" in other else {}
    assert post_task(store, **schedule).execute() not in others
    assert effects(mosaic) == {"posts_made": 2}


@pytest.mark.parametrize(
    "other",
    [
        {"text": "Hello", "social_connection_ids": [ACCOUNT, OTHER_ACCOUNT]},
        {"text": "Hello to all", "social_connection_ids": [ACCOUNT]},
    ],
    ids=["one destination more", "more text"],
)
def test_changed_post_is_neither_adopted_nor_posted_again(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, other: dict[str, Any]
) -> None:
    store = StateStore()
    create_other_post(store, hook, **other)
    mosaic.inject("server_error", method="POST", path=POST, skip=1, status=502)
    message = fails_with(post_task(store).execute, MosaicAmbiguousOutcomeError)
    assert mosaic.posts()[0]["post_id"] in message
    assert "but it differs" in message
    assert effects(mosaic) == {"posts_made": 1}


def test_equal_post_of_a_sibling_is_no_candidate(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store, dag_run = StateStore(), DagRun(states={"post_0": "running", "post_1": "success"})
    others = create_other_post(store, hook, text="Hello", social_connection_ids=[ACCOUNT])
    make = store.after_set

    def own(value: dict[str, Any]) -> None:
        make(value)
        dag_run.xcoms[("post", 1, "mosaic_post_id")] = others[0]

    store.after_set = own
    mosaic.inject("response_lost", method="POST", path=POST, skip=1)
    assert post_task(store, dag_run=dag_run, map_index=0).execute() not in others
    assert effects(mosaic) == {"posts_made": 2}


@pytest.mark.parametrize("newer", [0, 100])
def test_equal_post_of_an_earlier_day_is_not_adopted(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, newer: int
) -> None:
    old = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    for number in range(newer):
        hook.create_post(f"Something else {number}", social_connection_ids=[ACCOUNT])
    mosaic.inject("server_error", method="POST", path=POST, status=502)
    assert post_task(StateStore()).execute() != old
    assert effects(mosaic) == {"posts_made": newer + 2}


def test_nothing_is_adopted_when_existing_posts_are_unknown(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    old = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    mosaic.inject("forbidden", method="GET", path="/social/posts")
    mosaic.inject("server_error", method="POST", path=POST, status=502)
    assert old in fails_with(post_task(StateStore()).execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"posts_made": 1}


# Retries


def test_attempt_killed_before_its_request_is_followed_by_a_search_and_a_post(mosaic: Emulator, clock: Clock) -> None:
    task = post_task(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    task.execute()
    assert effects(mosaic) == {"posts_made": 1}
    assert clock.elapsed >= 119


def test_attempt_killed_during_its_request_is_followed_by_an_adoption(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    task = post_task(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    assert task.execute() == post_id
    assert effects(mosaic) == {"posts_made": 1}


def test_failed_post_that_a_retry_finds_is_created_again(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    task = post_task(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.configure(failing_platforms={"youtube": "Quota"}, post_seconds=0)
    post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    until(lambda: one_post(mosaic)["status"] == "failed")
    mosaic.configure(failing_platforms={})
    assert task.execute() == mosaic.posts()[1]["post_id"] != post_id
    assert effects(mosaic) == {"posts_made": 2}


@pytest.mark.parametrize("wait", [False, True], ids=["without waiting", "waiting"])
@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        ({}, None),
        ({"hold_posts": True}, None),
        ({"approval": True}, None),
        ({}, "2099-01-01T00:00:00Z"),
        ({"failing_platforms": {"tiktok": "Video too long"}}, None),
    ],
    ids=["posted", "processing", "pending_approval", "scheduled", "partial_failure"],
)
def test_published_or_pending_post_is_never_created_again(
    mosaic: Emulator, settings: dict[str, Any], schedule: str | None, wait: bool
) -> None:
    mosaic.configure(**settings)
    task = post_task(
        StateStore().killing_at("id"), wait_for_completion=wait, deferrable=True, schedule_date=schedule, **BOTH
    )
    with pytest.raises(Killed):
        task.execute()
    until(lambda: one_post(mosaic)["status"] != "processing" or settings.get("hold_posts"))
    if settings.get("failing_platforms"):
        fails_with(task.execute, MosaicPostFailedError)
    else:
        result = task.execute()
        assert isinstance(result, Deferred) or result == one_post(mosaic)["post_id"]
    assert effects(mosaic) == {"posts_made": 1}


def test_failed_post_is_created_again_by_the_retry(mosaic: Emulator) -> None:
    mosaic.configure(failing_platforms={"youtube": "Quota"})
    task = post_task(StateStore(), wait_for_completion=True)
    with pytest.raises(MosaicPostFailedError, match=r"Nothing was published.*youtube.*Quota"):
        task.run_to_end()
    mosaic.configure(failing_platforms={})
    post_id = task.run_to_end()
    assert [post["status"] for post in mosaic.posts()] == ["failed", "posted"]
    assert post_id == mosaic.posts()[1]["post_id"]
    task.run_to_end()
    assert effects(mosaic) == {"posts_made": 2}


def test_failed_post_of_outputs_is_created_again_with_new_links(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, _ = rendered(mosaic, hook)
    mosaic.configure(failing_platforms={"youtube": "Quota"})
    task = post_task(StateStore(), wait_for_completion=True, run_id=run_id)
    with pytest.raises(MosaicPostFailedError):
        task.run_to_end()
    mosaic.configure(failing_platforms={})
    mosaic.expire_links()
    task.run_to_end()
    first, second = mosaic.posts()
    assert second["status"] == "posted"
    assert first["media_urls"] != second["media_urls"]


@pytest.mark.parametrize("attempts", [1, 2])
def test_scheduled_post_that_failed_is_not_created_after_its_time(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    # The server publishes the post at once.
    mosaic.configure(failing_platforms={"youtube": "Quota"}, hold_posts=True, clock_skew=3600)
    soon = datetime.now(timezone.utc) + timedelta(minutes=30)
    store = StateStore() if attempts == 1 else StateStore().killing_at("id")
    task = post_task(store, wait_for_completion=True, schedule_date=soon.isoformat())
    if attempts == 2:
        with pytest.raises(Killed):
            task.execute()

    def fail_afterwards() -> None:
        until(mosaic.posts)
        let_an_hour_pass(monkeypatch)
        mosaic.configure(hold_posts=False)

    with InBackground(fail_afterwards):
        assert "youtube" in fails_with(task.run_to_end, MosaicPostFailedError)
    assert effects(mosaic) == {"posts_made": 1}


def test_scheduled_post_that_failed_is_no_success_without_a_wait(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server publishes the post at once.
    mosaic.configure(failing_platforms={"youtube": "Quota"}, clock_skew=3600)
    soon = datetime.now(timezone.utc) + timedelta(minutes=30)
    task = post_task(StateStore().killing_at("id"), wait_for_completion=False, schedule_date=soon.isoformat())
    with pytest.raises(Killed):
        task.execute()
    until(lambda: one_post(mosaic)["status"] == "failed")
    let_an_hour_pass(monkeypatch)
    assert "youtube" in fails_with(task.execute, MosaicPostFailedError)
    assert effects(mosaic) == {"posts_made": 1}


def test_missing_post_is_not_created_again(mosaic: Emulator, clock: Clock) -> None:
    task = post_task(StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.inject("not_found", method="GET", path="/social/post/{post_id}", times=None)
    assert "Clearing this task" in fails_with(task.execute, MosaicNotFoundError)
    assert effects(mosaic) == {"posts_made": 1}


def test_clear_creates_a_new_post(mosaic: Emulator) -> None:
    task = post_task(StateStore())
    first = task.execute()
    task.clear()
    assert task.execute() != first
    assert effects(mosaic) == {"posts_made": 2}


def test_post_whose_text_changed_between_attempts_needs_manual_review(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore()
    first = post_task(store, text="Hello, attempt 1").execute()
    task = post_task(store, text="Hello, attempt 2")
    message = fails_with(task.execute, MosaicAmbiguousOutcomeError)
    assert f"runs adopt dag post manual__2026-01-01 {first} --item post" in message
    assert "Clearing this task alone publishes a second post." in message
    value = re.search(r"to (\{.*\}) and clear this task", message)
    assert value is not None
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.POST", value[1])
    task.clear()
    assert task.execute() == first
    assert effects(mosaic) == {"posts_made": 1}


def test_post_whose_wait_failed_continues_after_a_clear_that_names_it(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mosaic.configure(hold_posts=True)
    task = post_task(StateStore(), wait_for_completion=True, timeout=0.2)
    message = fails_with(task.execute, MosaicTimeoutError)
    post_id = one_post(mosaic)["post_id"]
    assert f"runs adopt dag post manual__2026-01-01 {post_id} --item post" in message
    assert "Clearing this task alone publishes a second post." in message
    value = re.search(r"to (\{.*\}) and clear this task", message)
    assert value is not None
    monkeypatch.setenv("AIRFLOW_VAR_MOSAIC_ADOPT.DAG.POST", value[1])
    mosaic.configure(hold_posts=False)
    until(lambda: one_post(mosaic)["status"] == "posted")
    task.clear()
    assert task.execute() == post_id
    assert effects(mosaic) == {"posts_made": 1}


def test_failed_post_is_created_again_with_a_changed_text(mosaic: Emulator) -> None:
    store = StateStore()
    mosaic.configure(failing_platforms={"youtube": "Quota"})
    with pytest.raises(MosaicPostFailedError):
        post_task(store, wait_for_completion=True).run_to_end()
    mosaic.configure(failing_platforms={})
    post_task(store, text="Goodbye", wait_for_completion=True).run_to_end()
    assert [post["status"] for post in mosaic.posts()] == ["failed", "posted"]


@pytest.mark.parametrize("changed", [{"text": "Something else entirely"}, {"schedule_date": "2100-01-01T00:00:00Z"}])
def test_possible_post_of_another_request_needs_manual_review(
    mosaic: Emulator, hook: MosaicHook, changed: dict[str, Any]
) -> None:
    store = StateStore().killing_at("intent")
    with pytest.raises(Killed):
        post_task(store).execute()
    hook.create_post("Hello", social_connection_ids=[ACCOUNT])
    assert "arguments have changed" in fails_with(post_task(store, **changed).execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"posts_made": 1}


def test_without_durable_a_retry_posts_again(mosaic: Emulator) -> None:
    store = StateStore()
    task = post_task(store, durable=False)
    assert task.execute() != task.execute()
    assert store.history == []


def test_without_a_store_a_retry_does_not_repeat_a_possible_post(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(failing_platforms={"tiktok": "Video too long"})
    task = post_task(None, wait_for_completion=True, **BOTH)
    fails_with(task.run_to_end, MosaicPostFailedError)
    assert one_post(mosaic)["post_id"] in fails_with(task.run_to_end, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"posts_made": 1}


@pytest.mark.parametrize("wait", [False, True], ids=["without waiting", "waiting"])
def test_failed_post_that_is_published_somewhere_is_not_created_again(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, wait: bool
) -> None:
    task = post_task(StateStore().killing_at("id"), wait_for_completion=wait, deferrable=True, **BOTH)
    with pytest.raises(Killed):
        task.execute()

    # Mosaic does not document whether "failed" means that nothing is published.
    destinations = (
        {"platform": "youtube", "post_url": "https://youtu.be/1"}, {"platform": "tiktok", "message": "Video too long"},
    )  # fmt: skip
    read = SyncClient.send

    def send(self: SyncClient, call: Any, **options: Any) -> Any:
        answer = read(self, call, **options)
        if not isinstance(answer, Post):
            return answer
        return Post.model_validate({"post_id": answer.post_id, "status": "failed", "destinations": destinations})

    monkeypatch.setattr(SyncClient, "send", send)
    message = fails_with(task.run_to_end, MosaicPostFailedError)
    assert "It was published on youtube" in message
    assert "Nothing was published" not in message
    assert effects(mosaic) == {"posts_made": 1}
