"""The triggers on a real event loop: they only read, tolerate errors and fire one event."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.triggers.base import BaseTrigger
from mosaic_emulator import Emulator
from tasks.fakes import event_of, through_airflow
from tasks.fixtures import ACCOUNT, AGENT, InBackground, effects, run_bounded, sent, until
from tasks.other_mosaic import OtherMosaic, serving

from airflow_provider_mosaic import operators, sensors
from airflow_provider_mosaic.api import poll_state, rate_limit
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.poll_state import MAX_ERRORS, MAX_NOT_FOUND, MAX_REFUSALS, PollState
from airflow_provider_mosaic.durable.completion_waiter import read_event
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import (
    MosaicAvatarProfileTrigger,
    MosaicCreditsTrigger,
    MosaicRunTrigger,
    MosaicSocialPostTrigger,
    shared_client,
)
from airflow_provider_mosaic.triggers import runs as run_triggers

GET_RUN = "/agent_run/{run_id}"
RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True)
    return hook.run_agent(AGENT)


def run_trigger(run_id: str, **options: Any) -> MosaicRunTrigger:
    return MosaicRunTrigger(**{"run_id": run_id, "poll_interval": 0.02, **options})


@pytest.mark.parametrize("status", ["completed", "partial_complete", "failed", "cancelled"])
def test_the_event_of_an_ended_run(mosaic: Emulator, run_id: str, status: str) -> None:
    mosaic.finish_run(run_id, status)
    assert event_of(run_trigger(run_id)) == {"outcome": "ended", "id": run_id, "status": status}


def test_unknown_statuses_do_not_end_the_wait(mosaic: Emulator, run_id: str) -> None:
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, times=3, status="quality_check")
    mosaic.finish_run(run_id)
    assert event_of(run_trigger(run_id))["status"] == "completed"
    assert sent(mosaic, "GET " + GET_RUN) == 4


def test_the_trigger_only_reads(mosaic: Emulator, run_id: str) -> None:
    event_of(run_trigger(run_id, deadline=0.0))

    def end() -> None:
        until(lambda: sent(mosaic, "GET " + GET_RUN) > 3)
        mosaic.finish_run(run_id)

    with InBackground(end):
        event_of(run_trigger(run_id))
    assert {request.partition(" ")[0] for request in mosaic.counts().requests} == {"GET", "POST"}
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("deadline", [0.0, 1.0])
def test_a_run_is_polled_once_after_the_deadline(mosaic: Emulator, run_id: str, deadline: float) -> None:
    assert event_of(run_trigger(run_id, deadline=deadline)) == {"outcome": "timeout", "id": run_id}
    assert sent(mosaic, "GET " + GET_RUN) == 1
    mosaic.finish_run(run_id)
    assert event_of(run_trigger(run_id, deadline=deadline))["outcome"] == "ended"
    assert sent(mosaic, "GET " + GET_RUN) == 2


@pytest.mark.alone
def test_a_restart_does_not_extend_the_deadline(mosaic: Emulator, run_id: str) -> None:
    deadline = time.time() + 0.5

    async def restarted() -> dict[str, Any]:
        first = asyncio.create_task(anext(run_trigger(run_id, deadline=deadline).run()))
        await asyncio.sleep(0.3)
        first.cancel()
        return (await anext(run_trigger(run_id, deadline=deadline).run())).payload

    event = run_bounded(restarted())
    assert event == {"outcome": "timeout", "id": run_id}
    assert deadline <= time.time() < deadline + 0.25


# Errors


ERRORS: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 500}),
    ("server_error", {"status": 503, "body": "html", "retry_after": 0}),
    ("rate_limit", {"retry_after": 0}),
    ("reset", {}),
    ("response_lost", {}),
    ("html", {}),
    ("truncated_json", {}),
    ("empty", {}),
]


@pytest.mark.parametrize(("fault", "options"), ERRORS, ids=lambda value: str(value))
def test_the_twentieth_error_in_a_row_ends_the_wait(
    mosaic: Emulator, run_id: str, fault: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Count them without waiting for 15 minutes.
    monkeypatch.setattr(poll_state, "ERRORS_TIMEOUT", 0.0)
    # A 429 starts a cooldown although it does not ask for one.
    monkeypatch.setattr(rate_limit, "_MAX_OWN_COOLDOWN", 0.002)
    mosaic.finish_run(run_id)
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_ERRORS - 1, **options)
    assert event_of(run_trigger(run_id, poll_interval=0.002))["outcome"] == "ended"
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_ERRORS, **options)
    event = event_of(run_trigger(run_id, poll_interval=0.002))
    assert event["outcome"] == "error"
    assert event["transient"] is True
    assert sent(mosaic, "GET " + GET_RUN) == 2 * MAX_ERRORS
    assert effects(mosaic) == {"runs_started": 1}


def test_not_found_that_lasts_ends_the_wait(mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("not_found", method="GET", path=GET_RUN, times=MAX_NOT_FOUND + 2)
    assert event_of(run_trigger(run_id))["outcome"] == "ended"
    mosaic.forget_run(run_id)
    # Count them without waiting for a minute.
    monkeypatch.setattr(poll_state, "NOT_FOUND_TIMEOUT", 0.0)
    event = event_of(run_trigger(run_id))
    assert (event["outcome"], event["error"], event["transient"]) == ("error", "MosaicNotFoundError", False)


def test_not_found_does_not_end_the_wait_for_a_new_run(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("not_found", method="GET", path=GET_RUN, times=MAX_NOT_FOUND + 5)
    assert event_of(run_trigger(run_id, started_at=time.time()))["outcome"] == "ended"


@pytest.mark.parametrize(
    ("fault", "error"), [("unauthorized", "MosaicAuthenticationError"), ("forbidden", "MosaicPermissionError")]
)
def test_the_fifth_refusal_in_a_row_ends_the_wait_and_is_transient(
    mosaic: Emulator, run_id: str, fault: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Count them without waiting for five minutes.
    monkeypatch.setattr(poll_state, "REFUSALS_TIMEOUT", 0.0)
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_REFUSALS)
    event = event_of(run_trigger(run_id))
    assert (event["outcome"], event["error"], event["transient"]) == ("error", error, True)
    assert mosaic.api_key not in json.dumps(event)
    assert sent(mosaic, "GET " + GET_RUN) == MAX_REFUSALS


@pytest.mark.parametrize("fault", ["unauthorized", "forbidden"])
def test_refusals_within_five_minutes_are_tolerated(mosaic: Emulator, run_id: str, fault: str) -> None:
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_REFUSALS + 3)
    mosaic.finish_run(run_id)
    assert event_of(run_trigger(run_id))["outcome"] == "ended"
    assert sent(mosaic, "GET " + GET_RUN) == MAX_REFUSALS + 4


def test_retry_after_is_respected(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("rate_limit", method="GET", path=GET_RUN, retry_after=1)
    event_of(run_trigger(run_id))
    first, second = (request["time"] for request in mosaic.requests() if request["template"] == GET_RUN)
    assert second - first >= 1.0


def test_a_hanging_request_times_out(mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = json.loads(mosaic.airflow_connection()) | {"extra": {"timeout": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    mosaic.finish_run(run_id)
    mosaic.inject("hang", method="GET", path=GET_RUN)
    assert event_of(run_trigger(run_id))["outcome"] == "ended"


def test_connection_errors_are_transient(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_state, "ERRORS_TIMEOUT", 0.0)
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOSAIC_DEFAULT", '{"conn_type":"mosaic","host":"http://127.0.0.1:9","password":"k"}'
    )
    event = event_of(run_trigger("r", poll_interval=0.001))
    assert (event["error"], event["transient"]) == ("MosaicTransportError", True)


def test_a_missing_connection_ends_the_wait_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Count them without waiting for five minutes.
    monkeypatch.setattr(poll_state, "REFUSALS_TIMEOUT", 0.0)
    event = event_of(run_trigger("r", mosaic_conn_id="nowhere"))
    assert (event["outcome"], event["error"], event["transient"]) == ("error", "MosaicConnectionError", True)
    assert "mosaic_conn_id='nowhere'" in event["message"]


WRONG = json.dumps({"conn_type": "mosaic", "password": ""})


@pytest.mark.parametrize("broken", [None, WRONG], ids=["not found", "without a key"])
def test_a_wait_continues_when_its_connection_is_back(
    mosaic: Emulator,
    run_id: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: str | None,
) -> None:
    good = mosaic.airflow_connection()
    if broken is None:
        monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")
    else:
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", broken)
    mosaic.finish_run(run_id)

    async def wait() -> dict[str, Any]:
        task = asyncio.create_task(anext(run_trigger(run_id).run()))
        await asyncio.to_thread(until, lambda: "could not be read" in caplog.text)
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", good)
        return dict((await task).payload)

    with caplog.at_level(logging.INFO):
        assert run_bounded(wait())["outcome"] == "ended"


def test_a_killed_trigger_retries_the_lookup_of_its_connection(
    mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_triggers, "_PAUSES", (0.05,) * 4)
    good = mosaic.airflow_connection()
    monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")

    async def kill() -> None:
        killed = asyncio.create_task(run_trigger(run_id, cancel_on_kill=True).on_kill())
        await asyncio.sleep(0.08)
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", good)
        await killed

    run_bounded(kill())
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("place", ["triggerer", "dag.test()"])
def test_failed_lookups_of_the_connection_do_not_end_the_wait(
    mosaic: Emulator, run_id: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lookups = MosaicHook.get_connection, []

    def fail_at_first(conn_id: str) -> Any:
        lookups.append(conn_id)
        if len(lookups) < 3:
            raise ConnectionError("the API server restarts")
        return real(conn_id)

    async def awaited(conn_id: str) -> Any:
        return fail_at_first(conn_id)

    if place == "triggerer":
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(asend=None), raising=False)
        monkeypatch.setattr("airflow.providers.common.compat.connection.get_async_connection", awaited)
    else:
        monkeypatch.setattr(MosaicHook, "get_connection", staticmethod(fail_at_first))
    mosaic.finish_run(run_id)
    assert event_of(run_trigger(run_id))["outcome"] == "ended"
    assert len(lookups) == 3


# The event loop


def test_a_cancelled_trigger_cancels_no_run(mosaic: Emulator, run_id: str) -> None:
    async def cancelled() -> None:
        waiting = asyncio.create_task(anext(run_trigger(run_id, cancel_on_kill=True).run()))
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_bounded(cancelled())
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("end", ["ended", "cancelled", "error"])
def test_a_trigger_leaves_no_connection_open(
    mosaic: Emulator, run_id: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Watched] = []
    closed: list[Watched] = []

    class Watched(shared_client.AsyncClient):
        def __init__(self, access: Access) -> None:
            super().__init__(access)
            opened.append(self)

        async def aclose(self) -> None:
            closed.append(self)
            await super().aclose()

    monkeypatch.setattr(shared_client, "AsyncClient", Watched)
    monkeypatch.setattr(poll_state, "NOT_FOUND_TIMEOUT", 0.0)

    async def wait() -> None:
        waiting = asyncio.create_task(anext(run_trigger(run_id).run()))
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= 2)
        if end == "ended":
            await asyncio.to_thread(mosaic.finish_run, run_id)
        elif end == "error":
            await asyncio.to_thread(mosaic.forget_run, run_id)
        else:
            waiting.cancel()
        await asyncio.wait([waiting])

    run_bounded(wait())
    assert len(opened) == 1
    assert closed == opened


# Posts


@pytest.mark.parametrize(
    ("failing", "status"),
    [({}, "posted"), ({"youtube": "Quota"}, "partial_failure"), ({"youtube": "Q", "tiktok": "Q"}, "failed")],
)
def test_the_event_of_an_ended_post(mosaic: Emulator, hook: MosaicHook, failing: dict[str, str], status: str) -> None:
    mosaic.configure(failing_platforms=failing)
    post = hook.create_post("Hello", platforms=["youtube", "tiktok"])
    event = event_of(MosaicSocialPostTrigger(post_id=post.post_id, poll_interval=0.02))
    assert event == {"outcome": "ended", "id": post.post_id, "status": status}
    assert effects(mosaic) == {"posts_made": 1}


def test_the_deadline_of_a_post(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(approval=True)
    post = hook.create_post("Hello", social_connection_ids=[ACCOUNT])
    trigger = MosaicSocialPostTrigger(post_id=post.post_id, poll_interval=0.02, deadline=time.time() + 0.1)
    assert event_of(trigger) == {"outcome": "timeout", "id": post.post_id}


# Avatar profiles and credits


@pytest.mark.parametrize(("failing", "status"), [({}, "ready"), ({"Host": "Two people"}, "failed")])
def test_the_event_of_an_ended_profile(
    mosaic: Emulator, hook: MosaicHook, failing: dict[str, str], status: str
) -> None:
    mosaic.configure(failing_avatars=failing, avatar_seconds=0.2)
    profile = hook.create_avatar_profile("Host", video_url="https://cdn.example.org/host.mp4")
    event = event_of(MosaicAvatarProfileTrigger(avatar_profile_id=profile.id, poll_interval=0.02))
    assert event == {"outcome": "ended", "id": profile.id, "status": status}
    assert effects(mosaic) == {"avatars_created": 1}


def test_the_deadline_of_a_profile(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_avatars=True)
    profile = hook.create_avatar_profile("Host", video_url="https://cdn.example.org/host.mp4")
    trigger = MosaicAvatarProfileTrigger(avatar_profile_id=profile.id, poll_interval=0.02, deadline=time.time() + 0.1)
    assert event_of(trigger) == {"outcome": "timeout", "id": profile.id}


@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("balance", [100, 250.5, None])
def test_enough_credits_end_the_wait(mosaic: Emulator, shape: str, balance: float | None) -> None:
    mosaic.configure(credits=balance, credits_response=shape)
    event = event_of(MosaicCreditsTrigger(min_credits=100, poll_interval=0.02))
    assert event == {"outcome": "ended", "id": "credits", "status": "enough"}


@pytest.mark.parametrize("may_read_plan", [True, False])
def test_the_deadline_of_a_wait_for_credits(
    mosaic: Emulator, monkeypatch: pytest.MonkeyPatch, may_read_plan: bool
) -> None:
    mosaic.configure(credits=99.5)
    if not may_read_plan:
        mosaic.inject("server_error", method="GET", path="/plan", status=403, times=None)
    trigger = MosaicCreditsTrigger(min_credits=100, poll_interval=0.02, deadline=time.time() + 3600.0)

    def expire() -> None:
        until(lambda: sent(mosaic, "GET /credits") > 2)
        monkeypatch.setattr(PollState, "expired", True)

    with InBackground(expire):
        assert event_of(trigger) == {"outcome": "timeout", "id": "credits"}
    assert {request["method"] for request in mosaic.requests()} == {"GET"}


@pytest.mark.parametrize("status", [403, 404, 405, 500])
def test_plan_that_can_not_be_read_ends_no_wait_for_credits(
    mosaic: Emulator, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    mosaic.configure(credits=99)
    mosaic.inject("server_error", method="GET", path="/plan", status=status, times=None)
    trigger = MosaicCreditsTrigger(min_credits=100, poll_interval=0.02, deadline=time.time() + 60.0)

    def top_up() -> None:
        until(lambda: sent(mosaic, "GET /plan") >= 8)
        mosaic.configure(credits=100)

    with InBackground(top_up), caplog.at_level(logging.INFO):
        assert event_of(trigger) == {"outcome": "ended", "id": "credits", "status": "enough"}
    assert sent(mosaic, "GET /plan") <= sent(mosaic, "GET /credits")
    # The balance was read all the time.
    assert "could not be read" not in caplog.text


class BalanceAndPlan(OtherMosaic):
    """An API server with a balance, and with a plan that reports other credits."""

    def __init__(self, balance: int | None, plan: dict[str, Any]) -> None:
        super().__init__()
        self.balance, self.plan = balance, plan

    def answer(self, method: str, target: str) -> tuple[int, Any]:
        self.requests.append(target)
        if target == "/plan":
            return 200, self.plan
        return (403, {"error": "no access"}) if self.balance is None else (200, {"balance": self.balance})


def credits_event_of(
    monkeypatch: pytest.MonkeyPatch, other: BalanceAndPlan, act: Callable[[], Any] = lambda: None, **options: Any
) -> dict[str, Any]:
    """Return the event of a wait for 100 credits."""
    connection = {"conn_type": "mosaic", "host": other.url, "password": "mk_other"}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(connection))
    with InBackground(act):
        return event_of(MosaicCreditsTrigger(min_credits=100, poll_interval=0.02, **options))


@pytest.mark.parametrize("plan", [{"credits": {"balance": 100, "unlimited": False}}, {}], ids=str)
def test_only_the_balance_of_the_credits_counts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, plan: dict[str, Any]
) -> None:
    with serving(BalanceAndPlan(50, plan)) as other, caplog.at_level(logging.INFO):

        def top_up() -> None:
            until(lambda: other.requests.count("/plan") >= 3)
            other.balance = 200

        event = credits_event_of(monkeypatch, other, top_up, deadline=time.time() + 60.0)
    assert event == {"outcome": "ended", "id": "credits", "status": "enough"}
    assert other.requests.count("/plan") >= 3
    lines = [line for line in caplog.messages if line.startswith("The balance ")]
    assert lines == [f"The balance is {balance} credits; 100 are required." for balance in (50, 200)]


def test_plan_without_a_limit_ends_the_wait_for_credits(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(BalanceAndPlan(50, {"credits": {"unlimited": True}})) as other:
        event = credits_event_of(monkeypatch, other)
    assert event == {"outcome": "ended", "id": "credits", "status": "enough"}
    assert other.requests[-1] == "/plan"


@pytest.mark.parametrize("had_access", [True, False])
def test_balance_that_is_refused_ends_the_wait_although_the_plan_can_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, had_access: bool
) -> None:
    # Count the refusals without waiting for five minutes.
    monkeypatch.setattr(poll_state, "REFUSALS_TIMEOUT", 0.0)
    plan = {"credits": {"balance": 50, "unlimited": False}}
    with serving(BalanceAndPlan(50 if had_access else None, plan)) as other, caplog.at_level(logging.INFO):

        def revoke() -> None:
            until(lambda: "/plan" in other.requests or not had_access)
            other.balance = None

        event = credits_event_of(monkeypatch, other, revoke, deadline=time.time() + 60.0)
    assert (event["outcome"], event["error"]) == ("error", "MosaicPermissionError")
    assert other.requests[-MAX_REFUSALS:] == ["/credits"] * MAX_REFUSALS
    assert sum("could not be read" in line for line in caplog.messages) == 1
    assert "can be read again" not in caplog.text


# In Airflow's database


ARGUMENTS = [
    (MosaicRunTrigger, {"run_id": "r"}),
    (
        MosaicRunTrigger,
        {
            "run_id": "r", "mosaic_conn_id": "other", "poll_interval": 5.5, "deadline": 1.5, "started_at": 0.5,
            "cancel_on_kill": True,
        },
    ),
    (MosaicSocialPostTrigger, {"post_id": "p"}),
    (
        MosaicSocialPostTrigger,
        {"post_id": "p", "mosaic_conn_id": "other", "poll_interval": 5.5, "deadline": 1.5, "started_at": 0.5},
    ),
    (MosaicAvatarProfileTrigger, {"avatar_profile_id": "a"}),
    (
        MosaicAvatarProfileTrigger,
        {"avatar_profile_id": "a", "mosaic_conn_id": "other", "poll_interval": 5.5, "deadline": 1.5},
    ),
    (MosaicCreditsTrigger, {"min_credits": 100.0}),
    (MosaicCreditsTrigger, {"min_credits": 0.5, "mosaic_conn_id": "other", "poll_interval": 5.5, "deadline": 1.5}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "given"), ARGUMENTS)
def test_arguments_survive_serialization(kind: type[BaseTrigger], given: dict[str, Any]) -> None:
    path, arguments = kind(**given).serialize()
    assert path == f"{kind.__module__}.{kind.__name__}"
    assert all(value is None or isinstance(value, (str, int, float, bool)) for value in arguments.values())
    assert arguments | given == arguments
    assert kind(**through_airflow(arguments)).serialize() == (path, arguments)


@pytest.mark.parametrize(("kind", "given"), ARGUMENTS)
def test_arguments_survive_the_trigger_table(kind: type[BaseTrigger], given: dict[str, Any]) -> None:
    from airflow.models.trigger import Trigger

    path, arguments = kind(**given).serialize()
    row = Trigger(classpath=path, kwargs=arguments)
    assert row.kwargs == arguments


def test_there_are_recordings() -> None:
    assert {path.stem for path in RECORDED} >= {"run-0.1.0", "post-0.1.0", "avatar-0.1.0", "credits-0.1.0"}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_arguments_are_accepted(path: Path) -> None:
    recorded = json.loads(path.read_text())
    module, _, name = recorded["classpath"].rpartition(".")
    trigger = getattr(import_module(module), name)(**recorded["arguments"])
    assert trigger.serialize()[1] | recorded["arguments"] == trigger.serialize()[1]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_events_are_read(path: Path) -> None:
    recorded = json.loads(path.read_text())
    for entry in recorded["events"]:
        if entry["raises"] is None:
            read_event(entry["event"], entry["event"]["id"], "It")
        else:
            with pytest.raises(Exception, match=r"(?s).*") as failure:
                read_event(entry["event"], entry["event"]["id"], "It")
            assert type(failure.value).__name__ == entry["raises"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_arguments_of_the_resuming_method_are_accepted(path: Path) -> None:
    recorded = json.loads(path.read_text())
    for entry in recorded["resumes"]:
        kind = getattr(operators, entry["operator"], None) or getattr(sensors, entry["operator"])
        method = getattr(kind, entry["method"])
        bound = inspect.signature(method).bind(None, {}, event=None, **entry["kwargs"])
        # A sensor sets arguments that it does not know as its own.
        assert set(bound.arguments.get("item", ())) <= {getattr(kind, "_id_argument", None)}
