"""Never post twice: the post operator's life, with and without mishaps."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from tasks.airflow_exceptions import AirflowFailException, AirflowSkipException
from tasks.fixtures import ACCOUNT, AGENT, OTHER_ACCOUNT, Clock, Meanwhile, effects, sent, until
from tasks.standins import DagRun, Deferred, Killed, Life, StateStore

from airflow_provider_mosaic.api.errors import (
    MosaicAmbiguousOutcomeError,
    MosaicNotFoundError,
    MosaicPostFailedError,
    MosaicTimeoutError,
    MosaicValidationError,
)
from airflow_provider_mosaic.emulator import Emulator
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.operators import MosaicSocialPostOperator

POST = "/social/post"
WAYS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])


def life(
    store: StateStore | None = None, *, dag_run: DagRun | None = None, map_index: int = -1, **options: Any
) -> Life:
    arguments: dict[str, Any] = {
        "task_id": "post", "text": "Hello", "social_connection_ids": [ACCOUNT], "poll_interval": 0.05, **options,
    }  # fmt: skip
    return Life(
        lambda: MosaicSocialPostOperator(**{name: each for name, each in arguments.items() if each is not None}),
        store=store,
        dag_run=dag_run,
        map_index=map_index,
    )


def gives_up(act: Callable[[], Any], kind: type[Exception]) -> str:
    with pytest.raises(AirflowFailException) as failure:
        act()
    assert type(failure.value.__cause__) is kind
    assert str(failure.value).startswith(f"{kind.__name__}: ")
    return str(failure.value)


def one_post(mosaic: Emulator) -> dict[str, Any]:
    [post] = mosaic.posts()
    return post


# Without mishaps


def test_a_post_is_made_once_and_its_id_is_there_at_once(mosaic: Emulator) -> None:
    task = life(StateStore())
    post_id = task.execute()
    assert post_id == one_post(mosaic)["post_id"] == task.xcom("mosaic_post_id")
    assert effects(mosaic) == {"posts_made": 1}
    assert sent(mosaic, "GET /social/post/{post_id}") == 0


@WAYS
def test_asked_to_the_task_waits_until_the_post_is_out(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_posts=True)
    task = life(StateStore(), wait_for_completion=True, deferrable=deferrable)

    def release() -> None:
        until(mosaic.posts)
        assert until(lambda: task.xcom("mosaic_post_id")) == one_post(mosaic)["post_id"]
        mosaic.configure(hold_posts=False)

    with Meanwhile(release):
        task.see_through()
    assert one_post(mosaic)["status"] == "posted"
    assert effects(mosaic) == {"posts_made": 1}


def test_what_goes_into_the_triggerer_is_json_scalars(mosaic: Emulator) -> None:
    mosaic.configure(hold_posts=True)
    deferred = life(StateStore(), wait_for_completion=True, deferrable=True).execute()
    assert isinstance(deferred, Deferred)
    for value in (*deferred.trigger_kwargs.values(), *deferred.kwargs.values()):
        assert value is None or isinstance(value, (str, int, float, bool))


BOTH = {"social_connection_ids": [ACCOUNT, OTHER_ACCOUNT]}


@WAYS
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
def test_every_way_to_wait_takes_the_same_verdict(
    mosaic: Emulator, deferrable: bool, failing: dict[str, str], on_partial: str, expected: Any
) -> None:
    mosaic.configure(failing_platforms=failing)
    task = life(StateStore(), wait_for_completion=True, deferrable=deferrable, on_partial=on_partial, **BOTH)
    if expected is None:
        assert task.see_through() == one_post(mosaic)["post_id"]
    else:
        with pytest.raises((AirflowFailException, AirflowSkipException, MosaicPostFailedError)) as failure:
            task.see_through()
        assert expected in (type(failure.value), type(failure.value.__cause__))
    assert effects(mosaic) == {"posts_made": 1}


def test_a_partial_failure_names_the_destinations_and_burns_no_retries(mosaic: Emulator) -> None:
    mosaic.configure(failing_platforms={"tiktok": "Video too long"})
    task = life(StateStore(), wait_for_completion=True, **BOTH)
    message = gives_up(task.see_through, MosaicPostFailedError)
    assert "It is out on youtube (emulatedfilms)" in message
    assert "failed on tiktok (emulatedfilms): Video too long" in message
    assert "make a new post for the destinations that failed" in message


def test_the_time_for_a_scheduled_post_counts_from_its_schedule(mosaic: Emulator) -> None:
    later = datetime.now(timezone.utc) + timedelta(hours=5)
    task = life(StateStore(), wait_for_completion=True, deferrable=True, schedule_date=later, timeout=3600)
    deadline = task.execute().trigger_kwargs["deadline"]
    assert deadline == pytest.approx((later + timedelta(hours=1)).timestamp(), abs=2)


@WAYS
def test_a_post_that_is_not_out_in_time_is_left_alone_and_never_made_again(mosaic: Emulator, deferrable: bool) -> None:
    mosaic.configure(hold_posts=True)
    task = life(StateStore(), wait_for_completion=True, deferrable=deferrable, timeout=0.2)
    assert "It may come out yet" in gives_up(task.see_through, MosaicTimeoutError)
    gives_up(task.see_through, MosaicTimeoutError)
    assert effects(mosaic) == {"posts_made": 1}
    assert one_post(mosaic)["status"] == "processing"


# Outputs of a run as media


def rendered(mosaic: Emulator, hook: MosaicHook) -> tuple[str, list[str]]:
    run_id = hook.run_agent(AGENT)
    run = until(lambda: next((r for r in mosaic.runs() if r["run_id"] == run_id and r["status"] == "completed"), None))
    return run_id, run["output_ids"]


def test_the_outputs_of_a_run_are_posted_by_links_that_are_fetched_now(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    old_link = hook.get_run(run_id).outputs[0].video_url
    mosaic.expire_links()
    store = StateStore()
    task = life(store, run_id=run_id, wait_for_completion=True)
    task.see_through()
    [link] = one_post(mosaic)["media_urls"]
    assert link != old_link
    # The links sign for whoever holds them: they lie nowhere in Airflow.
    for kept in (store.history, task.dag_run.xcoms):
        assert link not in repr(kept)
        assert link.partition("?")[2] not in repr(kept)
    assert output_ids


def test_only_the_wanted_outputs_are_posted(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    life(StateStore(), run_id=run_id, output_ids=output_ids[:1]).execute()
    assert len(one_post(mosaic)["media_urls"]) == 1


def test_an_output_that_the_run_does_not_have_is_said_with_those_that_it_has(
    mosaic: Emulator, hook: MosaicHook
) -> None:
    run_id, output_ids = rendered(mosaic, hook)
    message = gives_up(life(StateStore(), run_id=run_id, output_ids=["another"]).execute, MosaicValidationError)
    assert "output_ids='another'" in message
    assert output_ids[0] in message
    assert effects(mosaic) == {"runs_started": 1}


def test_a_run_without_outputs_cannot_be_posted(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_runs=True)
    run_id = hook.run_agent(AGENT)
    assert "no outputs" in gives_up(life(StateStore(), run_id=run_id).execute, MosaicValidationError)
    assert mosaic.counts().posts_made == 0


def test_links_that_would_lapse_before_the_schedule_are_refused(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, _ = rendered(mosaic, hook)
    late = datetime.now(timezone.utc) + timedelta(days=8)
    message = gives_up(life(StateStore(), run_id=run_id, schedule_date=late).execute, MosaicValidationError)
    assert "schedule_date=" in message
    assert "7 days" in message
    assert mosaic.counts().posts_made == 0


# Lost answers


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("answer_lost", {}),
        ("reset", {"when": "after"}),
        ("server_error", {"status": 502, "effect": True, "body": "html"}),
        ("server_error", {"status": 504, "effect_after": 0.1}),
        ("truncated_json", {}),
        ("empty", {}),
    ],
    ids=lambda value: str(value),
)
def test_a_post_whose_answer_was_lost_is_found(
    mosaic: Emulator, clock: Clock, fault: str, options: dict[str, Any]
) -> None:
    mosaic.inject(fault, method="POST", path=POST, **options)
    task = life(StateStore())
    assert task.execute() == one_post(mosaic)["post_id"] == task.xcom("mosaic_post_id")
    assert sent(mosaic, "POST " + POST) == 1


def test_a_post_that_surely_was_not_made_is_sent_once_more_after_two_minutes(mosaic: Emulator, clock: Clock) -> None:
    mosaic.inject("server_error", method="POST", path=POST, status=502)
    life(StateStore()).execute()
    assert effects(mosaic) == {"posts_made": 1}
    assert sum(clock.pauses) >= 119


def test_a_list_that_lags_is_looked_at_until_it_shows_the_post(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(list_lag=0.1)
    mosaic.inject("answer_lost", method="POST", path=POST)
    life(StateStore()).execute()
    assert effects(mosaic) == {"posts_made": 1}


@pytest.mark.parametrize("skew", [-540, 540], ids=["behind", "ahead"])
def test_a_server_whose_clock_is_nine_minutes_off_is_understood(mosaic: Emulator, clock: Clock, skew: int) -> None:
    mosaic.configure(clock_skew=skew)
    mosaic.inject("answer_lost", method="POST", path=POST)
    life(StateStore()).execute()
    assert effects(mosaic) == {"posts_made": 1}


def made_meanwhile(store: StateStore, hook: MosaicHook, **post: Any) -> list[str]:
    """Someone else makes a post between this task's look and its own request."""
    others: list[str] = []

    def make(value: dict[str, Any]) -> None:
        if "id" not in value and not others:
            others.append(hook.create_post(**post).post_id)

    store.after_set = make
    return others


def test_two_posts_alike_are_left_to_a_person(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store = StateStore()
    made_meanwhile(store, hook, text="Hello", social_connection_ids=[ACCOUNT])
    mosaic.inject("answer_lost", method="POST", path=POST, skip=1)
    message = gives_up(life(store).execute, MosaicAmbiguousOutcomeError)
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
def test_a_post_that_differs_is_not_taken_for_the_lost_one(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, other: dict[str, Any]
) -> None:
    store = StateStore()
    others = made_meanwhile(store, hook, **other)
    mosaic.inject("answer_lost", method="POST", path=POST, skip=1)
    schedule = {"schedule_date": "2099-01-02T00:00:00Z"} if "schedule_date" in other else {}
    assert life(store, **schedule).execute() not in others
    assert effects(mosaic) == {"posts_made": 2}


def test_a_post_alike_that_a_sibling_made_is_left_out(mosaic: Emulator, clock: Clock, hook: MosaicHook) -> None:
    store, dag_run = StateStore(), DagRun(states={"post_0": "running", "post_1": "success"})
    others = made_meanwhile(store, hook, text="Hello", social_connection_ids=[ACCOUNT])
    make = store.after_set

    def own(value: dict[str, Any]) -> None:
        make(value)
        dag_run.xcoms[("post", 1, "mosaic_post_id")] = others[0]

    store.after_set = own
    mosaic.inject("answer_lost", method="POST", path=POST, skip=1)
    assert life(store, dag_run=dag_run, map_index=0).execute() not in others
    assert effects(mosaic) == {"posts_made": 2}


@pytest.mark.parametrize("newer", [0, 100])
def test_a_post_alike_of_an_earlier_day_is_never_taken_for_the_lost_one(
    mosaic: Emulator, clock: Clock, hook: MosaicHook, newer: int
) -> None:
    old = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    for number in range(newer):
        hook.create_post(f"Something else {number}", social_connection_ids=[ACCOUNT])
    mosaic.inject("server_error", method="POST", path=POST, status=502)
    assert life(StateStore()).execute() != old
    assert effects(mosaic) == {"posts_made": newer + 2}


def test_when_the_posts_before_are_not_known_nothing_is_adopted(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    old = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    mosaic.inject("forbidden", method="GET", path="/social/posts")
    mosaic.inject("server_error", method="POST", path=POST, status=502)
    assert old in gives_up(life(StateStore()).execute, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"posts_made": 1}


# Retries


def test_a_try_that_died_before_it_sent_anything_is_followed_by_one_that_looks_and_then_posts(
    mosaic: Emulator, clock: Clock
) -> None:
    task = life(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    task.execute()
    assert effects(mosaic) == {"posts_made": 1}
    assert sum(clock.pauses) >= 119


def test_a_try_that_died_with_its_request_on_the_way_is_followed_by_one_that_finds_the_post(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    task = life(StateStore().killing_at("intent"))
    with pytest.raises(Killed):
        task.execute()
    post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id
    assert task.execute() == post_id
    assert effects(mosaic) == {"posts_made": 1}


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
def test_a_post_that_is_out_or_may_come_out_is_never_made_again(
    mosaic: Emulator, settings: dict[str, Any], schedule: str | None, wait: bool
) -> None:
    mosaic.configure(**settings)
    task = life(
        StateStore().killing_at("id"), wait_for_completion=wait, deferrable=True, schedule_date=schedule, **BOTH
    )
    with pytest.raises(Killed):
        task.execute()
    until(lambda: one_post(mosaic)["status"] != "processing" or settings.get("hold_posts"))
    if settings.get("failing_platforms") and wait:
        gives_up(task.execute, MosaicPostFailedError)
    else:
        came = task.execute()
        assert isinstance(came, Deferred) or came == one_post(mosaic)["post_id"]
    assert effects(mosaic) == {"posts_made": 1}


def test_a_post_that_failed_everywhere_is_made_again_by_the_retry(mosaic: Emulator) -> None:
    mosaic.configure(failing_platforms={"youtube": "Quota"})
    task = life(StateStore(), wait_for_completion=True)
    with pytest.raises(MosaicPostFailedError, match=r"Nothing is out.*youtube.*Quota"):
        task.see_through()
    mosaic.configure(failing_platforms={})
    post_id = task.see_through()
    assert [post["status"] for post in mosaic.posts()] == ["failed", "posted"]
    assert post_id == mosaic.posts()[1]["post_id"]
    task.see_through()
    assert effects(mosaic) == {"posts_made": 2}


def test_a_post_of_outputs_that_failed_is_made_again_with_fresh_links(mosaic: Emulator, hook: MosaicHook) -> None:
    run_id, _ = rendered(mosaic, hook)
    mosaic.configure(failing_platforms={"youtube": "Quota"})
    task = life(StateStore(), wait_for_completion=True, run_id=run_id)
    with pytest.raises(MosaicPostFailedError):
        task.see_through()
    mosaic.configure(failing_platforms={})
    mosaic.expire_links()
    task.see_through()
    first, second = mosaic.posts()
    assert second["status"] == "posted"
    assert first["media_urls"] != second["media_urls"]


def test_a_post_that_vanished_is_not_made_again(mosaic: Emulator, clock: Clock) -> None:
    task = life(StateStore().killing_at("id"))
    with pytest.raises(Killed):
        task.execute()
    mosaic.inject("not_found", method="GET", path="/social/post/{post_id}", times=None)
    assert "clear the task" in gives_up(task.execute, MosaicNotFoundError)
    assert effects(mosaic) == {"posts_made": 1}


def test_a_clear_makes_the_post_again(mosaic: Emulator) -> None:
    task = life(StateStore())
    first = task.execute()
    task.clear()
    assert task.execute() != first
    assert effects(mosaic) == {"posts_made": 2}


def test_another_text_is_another_order(mosaic: Emulator) -> None:
    store = StateStore()
    first = life(store).execute()
    assert life(store, text="Goodbye").execute() != first


def test_without_durable_a_retry_posts_again(mosaic: Emulator) -> None:
    store = StateStore()
    task = life(store, durable=False)
    assert task.execute() != task.execute()
    assert store.history == []


def test_without_a_store_a_retry_does_not_post_again_what_may_be_its_own(mosaic: Emulator, clock: Clock) -> None:
    mosaic.configure(failing_platforms={"tiktok": "Video too long"})
    task = life(None, wait_for_completion=True, **BOTH)
    gives_up(task.see_through, MosaicPostFailedError)
    assert one_post(mosaic)["post_id"] in gives_up(task.see_through, MosaicAmbiguousOutcomeError)
    assert effects(mosaic) == {"posts_made": 1}


# Schedules


def test_a_schedule_in_the_past_is_refused_on_the_first_try(mosaic: Emulator) -> None:
    past = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    message = gives_up(life(StateStore(), schedule_date=past).execute, MosaicValidationError)
    assert f"schedule_date='{past}'" in message
    assert "in the past" in message
    assert sent(mosaic, "POST " + POST) == 0


def test_a_retry_after_the_schedule_goes_on_with_the_post_of_the_first_try_or_looks_for_it(
    mosaic: Emulator, clock: Clock, hook: MosaicHook
) -> None:
    soon = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=1)
    noted = life(StateStore().killing_at("id"), schedule_date=soon, text="Noted")
    lost = life(StateStore().killing_at("intent"), schedule_date=soon)
    never_made = life(StateStore().killing_at("intent"), schedule_date=soon, text="Never made")
    for task in (noted, lost, never_made):
        with pytest.raises(Killed):
            task.execute()
    post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT], schedule_date=soon).post_id
    until(lambda: datetime.now(timezone.utc) > soon + timedelta(seconds=1.1))
    assert noted.execute() == mosaic.posts()[0]["post_id"]
    assert lost.execute() == post_id
    # And where there is none, a post that comes too late is not published unasked.
    assert "in the past" in gives_up(never_made.execute, MosaicValidationError)
    assert effects(mosaic) == {"posts_made": 2}


def test_no_secret_lies_in_the_store(mosaic: Emulator) -> None:
    store = StateStore()
    life(store, media_urls=["http://127.0.0.1:9/a.mp4?X-Amz-Signature=marked-secret"]).execute()
    assert store.history
    assert "marked-secret" not in json.dumps(store.history)
