"""Airflow does not return the connection for a while: no sensor is skipped for it, or fails at once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest.mock import MagicMock

import pytest
from mosaic_emulator import Emulator
from tasks.airflow_exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferralTimeout
from tasks.fakes import Deferred, TaskRunner
from tasks.fixtures import ACCOUNT, AGENT, Clock, Lookups, effects, until
from tasks.kills import supervisor

from airflow_provider_mosaic.api.errors import MosaicConnectionError, MosaicError, MosaicTimeoutError
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.sensors import (
    MosaicAvatarProfileSensor,
    MosaicCreditsSensor,
    MosaicRunSensor,
    MosaicSocialPostSensor,
)

__all__ = ["supervisor"]

WAITS = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferrable"])
SOFT = pytest.mark.parametrize("soft_fail", [False, True], ids=["hard", "soft_fail"])
Ready = Callable[[], None]
AVATAR = "/avatar-profiles/{avatar_profile_id}"


def waits(kind: str, mosaic: Emulator, hook: MosaicHook, **options: Any) -> tuple[TaskRunner, Ready]:
    """Return a sensor for an item that has not ended, and a function that ends the item."""
    mosaic.configure(hold_runs=True, hold_posts=True, credits=0)
    arguments: dict[str, Any] = {"task_id": "wait", "poll_interval": 0.05, **options}
    if kind == "run":
        run_id = hook.run_agent(AGENT)
        return TaskRunner(lambda: MosaicRunSensor(run_id=run_id, **arguments)), lambda: mosaic.finish_run(run_id)
    if kind == "post":
        post_id = hook.create_post("Hello", social_connection_ids=[ACCOUNT]).post_id

        def publish() -> None:
            mosaic.configure(hold_posts=False)
            until(lambda: mosaic.posts()[0]["status"] == "posted")

        return TaskRunner(lambda: MosaicSocialPostSensor(post_id=post_id, **arguments)), publish
    if kind == "avatar":
        profile = hook.create_avatar_profile("Host", video_url="https://cdn.example.org/host.mp4")
        until(lambda: hook.get_avatar_profile(profile.id).status == "ready")
        mosaic.inject("unknown_status", method="GET", path=AVATAR, times=None, status="almost")
        return TaskRunner(
            lambda: MosaicAvatarProfileSensor(avatar_profile_id=profile.id, **arguments)
        ), mosaic.clear_faults
    return TaskRunner(lambda: MosaicCreditsSensor(min_credits=10, **arguments)), lambda: mosaic.configure(credits=100)


KINDS = pytest.mark.parametrize("kind", ["run", "post", "avatar", "credits"])


def returned(value: Any) -> Any:
    """Unwrap the return value of a poking sensor, as Airflow does."""
    return getattr(value, "xcom_value", value)


@KINDS
@WAITS
@SOFT
def test_first_poll_tolerates_failed_lookups(
    mosaic: Emulator, hook: MosaicHook, lookups: Lookups, kind: str, deferrable: bool, soft_fail: bool
) -> None:
    task, ready = waits(kind, mosaic, hook, deferrable=deferrable, soft_fail=soft_fail)
    ready()
    lookups.fail(2)
    assert returned(task.run_to_end()) is not None


@WAITS
@SOFT
def test_lasting_failed_lookups_fail_the_attempt_and_skip_nothing(
    mosaic: Emulator, hook: MosaicHook, lookups: Lookups, deferrable: bool, soft_fail: bool
) -> None:
    task, _ = waits("run", mosaic, hook, deferrable=deferrable, soft_fail=soft_fail)
    lookups.fail()
    with pytest.raises(MosaicConnectionError):
        task.execute()


@SOFT
def test_poking_sensor_tolerates_failed_lookups_for_minutes(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, lookups: Lookups, soft_fail: bool
) -> None:
    task, ready = waits("run", mosaic, hook, deferrable=False, soft_fail=soft_fail)
    operator = task._new()
    context: Any = {"ti": MagicMock(try_number=1, max_tries=0), "task": operator}
    assert operator.poke(context) is None
    lookups.fail(20)
    ready()
    assert returned(operator.poke(context)) is not None
    lookups.fail()
    with pytest.raises(MosaicConnectionError):
        operator.poke(context)
    # As long as a refusal is tolerated.
    assert clock.elapsed >= 300


def test_poking_sensor_whose_supervisor_died_fails(
    mosaic: Emulator, hook: MosaicHook, supervisor: socket.socket
) -> None:
    task, _ = waits("run", mosaic, hook, deferrable=False)
    operator = task._new()
    context: Any = {"ti": MagicMock(try_number=1, max_tries=0), "task": operator}
    assert operator.poke(context) is None
    supervisor.close()
    with pytest.raises(MosaicError, match="Airflow's supervisor of this process died"):
        operator.poke(context)


@KINDS
@SOFT
def test_deferred_sensor_continues_after_failed_lookups(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, lookups: Lookups, kind: str, soft_fail: bool
) -> None:
    task, ready = waits(kind, mosaic, hook, deferrable=True, soft_fail=soft_fail)
    deferred = task.execute()
    ready()
    event = deferred.wait()
    lookups.fail(7)
    assert returned(task.resume(deferred, event)) is not None


@SOFT
def test_deferred_sensor_fails_the_attempt_after_lasting_failed_lookups(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, lookups: Lookups, soft_fail: bool
) -> None:
    task, _ = waits("run", mosaic, hook, deferrable=True, soft_fail=soft_fail)
    deferred = task.execute()
    lookups.fail()
    error = {"outcome": "error", "error": "MosaicConnectionError", "message": "gone", "transient": True}
    for event in (None, {**error, "id": deferred.kwargs["run_id"]}):
        with pytest.raises(MosaicConnectionError):
            task.resume(deferred, event)


# Sensors that were queued after the wait


@KINDS
def test_item_that_ended_while_the_sensor_was_queued_is_taken(mosaic: Emulator, hook: MosaicHook, kind: str) -> None:
    task, ready = waits(kind, mosaic, hook, deferrable=True, execution_timeout=timedelta(seconds=60))
    deferred = task.execute()
    trigger_id = next(
        (deferred.kwargs[key] for key in ("run_id", "post_id", "avatar_profile_id") if key in deferred.kwargs),
        "credits",
    )
    timeout = {"outcome": "timeout", "id": trigger_id}
    with pytest.raises(MosaicTimeoutError):
        task.resume(deferred, timeout)
    with pytest.raises((AirflowSensorTimeout, TaskDeferralTimeout)):
        task.on_timeout()
    ready()
    assert returned(task.resume(deferred, timeout)) is not None
    assert returned(task.on_timeout()) is not None


def test_timed_out_sensor_is_not_skipped_for_failed_lookups(
    mosaic: Emulator, hook: MosaicHook, clock: Clock, lookups: Lookups
) -> None:
    task, ready = waits("run", mosaic, hook, deferrable=True, soft_fail=True)
    assert isinstance(task.execute(), Deferred)
    lookups.fail()
    with pytest.raises(MosaicConnectionError):
        task.on_timeout()
    lookups.fail(3)
    ready()
    assert returned(task.on_timeout()) is not None
    assert effects(mosaic) == {"runs_started": 1}


def test_timed_out_sensor_is_skipped_softly(mosaic: Emulator, hook: MosaicHook) -> None:
    task, _ = waits("run", mosaic, hook, deferrable=True, soft_fail=True)
    task.execute()
    with pytest.raises(AirflowSkipException):
        task.on_timeout()
