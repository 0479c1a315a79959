"""All sensors poll on a worker or in the triggerer, and only read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralTimeout,
)
from tasks.fakes import Deferred, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, OTHER_ACCOUNT, Clock, InBackground, sent, until

from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicError,
    MosaicNotFoundError,
    MosaicPostFailedError,
    MosaicTimeoutError,
)
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.sensors import (
    MosaicAvatarProfileSensor,
    MosaicCreditsSensor,
    MosaicRunSensor,
    MosaicSocialPostSensor,
)

WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
VIDEO = "https://cdn.example.org/host.mp4"


@dataclass(frozen=True)
class Kind:
    """A kind of sensor, and its item."""

    #: Creates an item that does not end by itself, and returns its id.
    create: Callable[[Emulator, MosaicHook], Any]
    #: Lets the item end successfully.
    finish: Callable[[Emulator], None]
    make: Callable[..., Any]
    path: str
    #: The return value.
    result: Callable[[Any], Any]


def hold_run(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True, render="tiny")
    return hook.run_agent(AGENT)


def hold_post(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_posts=True)
    return hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id


def hold_avatar(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_avatars=True, avatar_seconds=0)
    return hook.create_avatar_profile("Host", video_url=VIDEO).id


def hold_credits(mosaic: Emulator, hook: MosaicHook) -> int:
    mosaic.configure(credits=99)
    return 100


def released_post(mosaic: Emulator) -> None:
    mosaic.configure(hold_posts=False)
    until(lambda: mosaic.posts()[0]["status"] == "posted")


def released_avatar(mosaic: Emulator) -> None:
    mosaic.configure(hold_avatars=False)
    hook = MosaicHook()
    until(lambda: hook.list_avatar_profiles()[0].status == "ready")
    hook.close()


KINDS = {
    "run": Kind(
        create=hold_run,
        finish=lambda mosaic: mosaic.finish_run(mosaic.runs()[0]["run_id"]),
        make=lambda run_id, **options: MosaicRunSensor(task_id="wait", run_id=run_id, **options),
        path="/agent_run/{run_id}",
        result=lambda run_id: run_id,
    ),
    "post": Kind(
        create=hold_post,
        finish=released_post,
        make=lambda post_id, **options: MosaicSocialPostSensor(task_id="wait", post_id=post_id, **options),
        path="/social/post/{post_id}",
        result=lambda post_id: post_id,
    ),
    "avatar": Kind(
        create=hold_avatar,
        finish=released_avatar,
        make=lambda profile_id, **options: MosaicAvatarProfileSensor(
            task_id="wait", avatar_profile_id=profile_id, **options
        ),
        path="/avatar-profiles/{avatar_profile_id}",
        result=lambda profile_id: profile_id,
    ),
    "credits": Kind(
        create=hold_credits,
        finish=lambda mosaic: mosaic.configure(credits=120.5),
        make=lambda required, **options: MosaicCreditsSensor(task_id="wait", min_credits=required, **options),
        path="/credits",
        result=lambda required: 120.5,
    ),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def task_runner(make: Callable[..., Any], item: Any, **options: Any) -> TaskRunner:
    arguments = {"poll_interval": 0.05, **options}
    return TaskRunner(lambda: make(item, **arguments))


def error_event(item: Any, error: str, *, transient: bool) -> dict[str, Any]:
    """Return the event of a trigger that failed."""
    item_id = item if isinstance(item, str) else "credits"
    return {"outcome": "error", "id": item_id, "error": error, "message": "no luck", "transient": transient}


def returned(value: Any) -> Any:
    """Unwrap the return value of a poking sensor, as Airflow does."""
    return getattr(value, "xcom_value", value)


def only_reads(mosaic: Emulator, since: int) -> bool:
    return {request["method"] for request in mosaic.requests()[since:]} <= {"GET"}


# All sensors


@EVERY_KIND
@WAITS
def test_sensor_waits_for_the_end_and_only_reads(
    mosaic: Emulator, hook: MosaicHook, kind: Kind, deferrable: bool
) -> None:
    item = kind.create(mosaic, hook)
    request_count = len(mosaic.requests())
    task = task_runner(kind.make, item, deferrable=deferrable)

    def finish() -> None:
        until(lambda: sent(mosaic, "GET " + kind.path) >= 2)
        kind.finish(mosaic)

    with InBackground(finish):
        assert returned(task.run_to_end()) == kind.result(item)
    assert only_reads(mosaic, request_count)


@EVERY_KIND
@WAITS
def test_ended_item_needs_one_poll(mosaic: Emulator, hook: MosaicHook, kind: Kind, deferrable: bool) -> None:
    item = kind.create(mosaic, hook)
    kind.finish(mosaic)
    assert returned(task_runner(kind.make, item, deferrable=deferrable).execute()) == kind.result(item)
    # One more read of a run shows whether an output has come late.
    assert sent(mosaic, "GET " + kind.path) == (2 if kind is KINDS["run"] else 1)


@EVERY_KIND
def test_trigger_arguments_are_json_scalars(mosaic: Emulator, hook: MosaicHook, kind: Kind) -> None:
    task = task_runner(kind.make, kind.create(mosaic, hook), deferrable=True, timeout=77)
    deferred = task.execute()
    assert isinstance(deferred, Deferred)
    assert 17 <= deferred.timeout.total_seconds() <= 77
    for value in (*deferred.trigger_kwargs.values(), *deferred.kwargs.values()):
        assert value is None or isinstance(value, (str, int, float, bool))
    assert deferred.trigger().serialize() == (deferred.classpath, deferred.trigger_kwargs)


@EVERY_KIND
def test_sensor_defers_again_before_the_end(mosaic: Emulator, hook: MosaicHook, kind: Kind) -> None:
    item = kind.create(mosaic, hook)
    task = task_runner(kind.make, item, deferrable=True)
    deferred = task.execute()
    woken = {"outcome": "ended", "id": item if deferred.kwargs else "credits", "status": "novel"}
    again = task.resume(deferred, woken)
    assert isinstance(again, Deferred)
    assert (again.classpath, again.kwargs) == (deferred.classpath, deferred.kwargs)
    kind.finish(mosaic)
    assert task.resume(again, again.wait()) == kind.result(item)


@EVERY_KIND
@WAITS
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_timeout(mosaic: Emulator, hook: MosaicHook, kind: Kind, deferrable: bool, soft: bool) -> None:
    item = kind.create(mosaic, hook)
    request_count = len(mosaic.requests())
    task = task_runner(kind.make, item, deferrable=deferrable, timeout=0.2, soft_fail=soft)
    if deferrable:
        task.execute()
    with pytest.raises(AirflowSkipException if soft else (AirflowSensorTimeout, TaskDeferralTimeout)):
        task.on_timeout() if deferrable else task.execute()
    assert only_reads(mosaic, request_count)


@EVERY_KIND
def test_execution_timeout_while_deferred(mosaic: Emulator, hook: MosaicHook, kind: Kind) -> None:
    item = kind.create(mosaic, hook)
    request_count = len(mosaic.requests())
    with pytest.raises(MosaicTimeoutError):
        task_runner(kind.make, item, deferrable=True, execution_timeout=timedelta(seconds=0.2)).run_to_end()
    assert only_reads(mosaic, request_count)


@EVERY_KIND
@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_soft_fail_skips_every_failure_after_a_deferral(
    mosaic: Emulator, hook: MosaicHook, kind: Kind, option: str
) -> None:
    item = kind.create(mosaic, hook)
    limit = timedelta(seconds=0.2)
    with pytest.raises(AirflowSkipException):
        task_runner(kind.make, item, deferrable=True, execution_timeout=limit, **{option: True}).run_to_end()
    task = task_runner(kind.make, item, deferrable=True, **{option: True})
    with pytest.raises(AirflowSkipException):
        task.resume(task.execute(), error_event(item, "MosaicResponseError", transient=False))


@EVERY_KIND
def test_only_the_timeout_ends_a_long_outage(mosaic: Emulator, hook: MosaicHook, kind: Kind) -> None:
    item = kind.create(mosaic, hook)
    task = task_runner(kind.make, item, deferrable=True, timeout=500)
    deferred = task.execute()
    again = task.resume(deferred, error_event(item, "MosaicServerError", transient=True))
    assert isinstance(again, Deferred)
    assert again.kwargs == deferred.kwargs
    assert again.timeout <= timedelta(seconds=500)
    kind.finish(mosaic)
    assert task.resume(again, again.wait()) == kind.result(item)


@EVERY_KIND
@WAITS
@pytest.mark.parametrize("fault", ["server_error", "reset", "rate_limit", "html", "truncated_json"])
def test_transient_errors_are_tolerated(
    mosaic: Emulator, hook: MosaicHook, clock: Any, kind: Kind, fault: str, deferrable: bool
) -> None:
    item = kind.create(mosaic, hook)
    kind.finish(mosaic)
    # More than the client retries in one poll.
    options = {"retry_after": 0} if fault == "rate_limit" else {}
    mosaic.inject(fault, method="GET", path=kind.path, times=7, **options)
    assert returned(task_runner(kind.make, item, deferrable=deferrable).run_to_end()) == kind.result(item)


@EVERY_KIND
@WAITS
def test_wrong_key_fails_without_retries(mosaic: Emulator, hook: MosaicHook, kind: Kind, deferrable: bool) -> None:
    item = kind.create(mosaic, hook)
    mosaic.inject("unauthorized", method="GET", path=kind.path, times=None)
    with pytest.raises(AirflowFailException) as failure:
        task_runner(kind.make, item, deferrable=deferrable).execute()
    assert type(failure.value.error) is MosaicAuthenticationError


@EVERY_KIND
def test_reschedule_mode_frees_the_worker(mosaic: Emulator, hook: MosaicHook, kind: Kind) -> None:
    with pytest.raises(AirflowRescheduleException):
        task_runner(kind.make, kind.create(mosaic, hook), mode="reschedule", poll_interval=30).execute()


@pytest.mark.parametrize("name", ["run", "post", "avatar"])
@WAITS
def test_missing_item_fails_after_the_grace_period(mosaic: Emulator, name: str, deferrable: bool) -> None:
    with pytest.raises(AirflowFailException, match="'no-such-thing'") as failure:
        task_runner(KINDS[name].make, "no-such-thing", deferrable=deferrable).execute()
    assert type(failure.value.error) is MosaicNotFoundError
    assert sent(mosaic, "GET " + KINDS[name].path) == 5


@pytest.mark.parametrize("name", ["run", "post", "avatar"])
def test_deferred_sensor_keeps_its_item_though_the_template_changed(
    mosaic: Emulator, hook: MosaicHook, name: str
) -> None:
    kind = KINDS[name]
    item = kind.create(mosaic, hook)
    argument_values = [item]
    task = TaskRunner(lambda: kind.make(argument_values[-1], deferrable=True, poll_interval=0.05))
    deferred = task.execute()
    argument_values.append("another")
    kind.finish(mosaic)
    assert task.resume(deferred, deferred.wait()) == item


@EVERY_KIND
def test_pause_on_a_worker_is_poke_interval_if_given(kind: Kind) -> None:
    def poke_interval(defaults: dict[str, Any], **options: Any) -> float:
        with DAG("dag", schedule=None, default_args=defaults):
            return float(kind.make("1", **options).poke_interval)

    assert poke_interval({}, poll_interval=7) == 7
    assert poke_interval({"poll_interval": 7}) == 7
    assert poke_interval({}, poll_interval=7, poke_interval=300) == 300
    assert poke_interval({"poke_interval": 300}) == 300
    assert poke_interval({"poke_interval": 300}, poke_interval=7) == 7


# Failures


BOTH = [ACCOUNT, OTHER_ACCOUNT]


def ends_as(act: Callable[[], Any]) -> type[BaseException]:
    with pytest.raises((AirflowFailException, AirflowSkipException)) as failure:
        act()
    return AirflowSkipException if isinstance(failure.value, AirflowSkipException) else type(failure.value.error)


@WAITS
@pytest.mark.parametrize("when", ["at the first poll", "later"])
@pytest.mark.parametrize(
    ("failing", "on_partial", "soft", "expected"),
    [
        ({"tiktok": "Too long"}, "fail", False, MosaicPostFailedError),
        ({"tiktok": "Too long"}, "fail", True, AirflowSkipException),
        ({"tiktok": "Too long"}, "skip", False, AirflowSkipException),
        ({"tiktok": "Too long"}, "warn", False, None),
        ({"tiktok": "Too long", "youtube": "Quota"}, "warn", False, MosaicPostFailedError),
        ({"tiktok": "Too long", "youtube": "Quota"}, "skip", False, MosaicPostFailedError),
        ({"tiktok": "Too long", "youtube": "Quota"}, "warn", True, AirflowSkipException),
    ],
)
def test_failed_post_fails_or_skips_the_sensor(
    mosaic: Emulator,
    hook: MosaicHook,
    deferrable: bool,
    when: str,
    failing: dict[str, str],
    on_partial: str,
    soft: bool,
    expected: type[BaseException] | None,
) -> None:
    mosaic.configure(failing_platforms=failing, hold_posts=when == "later")
    post_id = hook.create_post("Hello", social_connection_ids=BOTH).post_id
    if when != "later":
        until(lambda: "fail" in mosaic.posts()[0]["status"])

    def release() -> None:
        if when == "later":
            until(lambda: sent(mosaic, "GET /social/post/{post_id}") >= 2)
            mosaic.configure(hold_posts=False)

    task = task_runner(KINDS["post"].make, post_id, deferrable=deferrable, on_partial=on_partial, soft_fail=soft)
    with InBackground(release):
        if expected is None:
            assert returned(task.run_to_end()) == post_id
        else:
            assert ends_as(task.run_to_end) is expected
    assert mosaic.counts().posts_made == 1


@WAITS
@pytest.mark.parametrize(("soft", "expected"), [(False, MosaicError), (True, AirflowSkipException)])
def test_failed_profile_fails_without_retries(
    mosaic: Emulator, hook: MosaicHook, deferrable: bool, soft: bool, expected: type[BaseException]
) -> None:
    mosaic.configure(failing_avatars={"Host": "Two people"}, avatar_seconds=0.2)
    profile = hook.create_avatar_profile("Host", video_url=VIDEO)
    task = task_runner(KINDS["avatar"].make, profile.id, deferrable=deferrable, soft_fail=soft)
    assert ends_as(task.run_to_end) is expected
    assert mosaic.counts().avatars_created == 1


def test_failed_profile_reports_the_reason(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(failing_avatars={"Host": "Two people"}, avatar_seconds=0)
    profile = hook.create_avatar_profile("Host", video_url=VIDEO)
    with pytest.raises(AirflowFailException, match=r"failed: Two people\. A failed profile stays failed"):
        task_runner(KINDS["avatar"].make, profile.id).execute()


# Credits


@WAITS
@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("required", [100, 100.0, "100"])
def test_exactly_min_credits_is_enough(mosaic: Emulator, deferrable: bool, shape: str, required: Any) -> None:
    mosaic.configure(credits=100, credits_response=shape)
    assert returned(task_runner(KINDS["credits"].make, required, deferrable=deferrable).execute()) == 100


def test_unlimited_credits_have_no_balance(mosaic: Emulator) -> None:
    mosaic.configure(credits=None, credits_response="nested")
    assert returned(task_runner(KINDS["credits"].make, 10**9, deferrable=True).execute()) is None


@WAITS
@pytest.mark.parametrize("balance", [0, 10_000])
def test_organization_without_a_limit_has_enough(mosaic: Emulator, deferrable: bool, balance: float) -> None:
    mosaic.configure(credits=None, unlimited_balance=balance)
    assert returned(task_runner(KINDS["credits"].make, 10**9, deferrable=deferrable).execute()) is None


@pytest.mark.parametrize("why", ["the plan changes later", "the plan can't be read at first"])
def test_deferred_sensor_learns_that_there_is_no_limit(mosaic: Emulator, clock: Clock, why: str) -> None:
    if why == "the plan changes later":
        mosaic.configure(credits=99)
    else:
        mosaic.configure(credits=None, unlimited_balance=0)
        # All attempts of the first poll.
        mosaic.inject("server_error", method="GET", path="/plan", times=6)
    task = task_runner(KINDS["credits"].make, 100, deferrable=True)
    deferred = task.execute()
    assert isinstance(deferred, Deferred)
    mosaic.configure(credits=None, unlimited_balance=0)
    event = deferred.wait()
    assert event == {"outcome": "ended", "id": "credits", "status": "enough"}
    assert task.resume(deferred, event) is None


def test_event_of_another_item_is_ignored(mosaic: Emulator, hook: MosaicHook) -> None:
    task = task_runner(KINDS["credits"].make, hold_credits(mosaic, hook), deferrable=True)
    assert isinstance(task.resume(task.execute(), {"outcome": "ended", "id": "a-run", "status": "enough"}), Deferred)


@WAITS
@EVERY_KIND
@pytest.mark.parametrize("when", ["at the first poll", "later"])
def test_responses_without_the_item_do_not_end_the_wait(
    mosaic: Emulator, hook: MosaicHook, kind: Kind, deferrable: bool, when: str
) -> None:
    id = kind.create(mosaic, hook)

    def interrupt() -> None:
        if when == "later":
            until(lambda: sent(mosaic, f"GET {kind.path}") >= before + 1)
            mosaic.inject("refusal", method="GET", path=kind.path, times=3)
        until(lambda: sent(mosaic, f"GET {kind.path}") >= before + 4)
        kind.finish(mosaic)

    before = sent(mosaic, f"GET {kind.path}")
    if when == "at the first poll":
        mosaic.inject("refusal", method="GET", path=kind.path, times=3)
    task = TaskRunner(lambda: kind.make(id, deferrable=deferrable, poll_interval=0.02))
    with InBackground(interrupt):
        ended = task.run_to_end()
    assert getattr(ended, "xcom_value", ended) == kind.result(id)
