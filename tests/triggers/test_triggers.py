"""The triggers on a real event loop: they only read, they bear faults, and they end with one event."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseTrigger
from mosaic_emulator import Emulator
from tasks.fakes import event_of, through_airflow
from tasks.fixtures import ACCOUNT, AGENT, effects, run_bounded, sent, until

from airflow_provider_mosaic.api import poll_state as waiting
from airflow_provider_mosaic.api import rate_limit as pacing
from airflow_provider_mosaic.api.access import Access
from airflow_provider_mosaic.api.poll_state import MAX_ERRORS, MAX_NOT_FOUND, MAX_REFUSALS
from airflow_provider_mosaic.durable.completion_waiter import read_event
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import (
    MosaicAvatarProfileTrigger,
    MosaicCreditsTrigger,
    MosaicRunTrigger,
    MosaicSocialPostTrigger,
)
from airflow_provider_mosaic.triggers import runs as triggers_runs

GET_RUN = "/agent_run/{run_id}"
RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))


@pytest.fixture
def run_id(mosaic: Emulator, hook: MosaicHook) -> str:
    mosaic.configure(hold_runs=True)
    return hook.run_agent(AGENT)


def waits_for(run_id: str, **options: Any) -> MosaicRunTrigger:
    return MosaicRunTrigger(**{"run_id": run_id, "poll_interval": 0.02, **options})


@pytest.mark.parametrize("status", ["completed", "partial_complete", "failed", "cancelled"])
def test_the_event_says_how_the_run_ended(mosaic: Emulator, run_id: str, status: str) -> None:
    mosaic.finish_run(run_id, status)
    assert event_of(waits_for(run_id)) == {"outcome": "ended", "id": run_id, "status": status}


def test_the_trigger_waits_through_unknown_statuses(mosaic: Emulator, run_id: str) -> None:
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, times=3, status="quality_check")
    mosaic.finish_run(run_id)
    assert event_of(waits_for(run_id))["status"] == "completed"
    assert sent(mosaic, "GET " + GET_RUN) == 4


def test_the_trigger_only_reads(mosaic: Emulator, run_id: str) -> None:
    event_of(waits_for(run_id, deadline=time.time() + 0.3))
    assert {request.partition(" ")[0] for request in mosaic.counts().requests} == {"GET", "POST"}
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "GET " + GET_RUN) > 3


@pytest.mark.parametrize("deadline", [0.0, 1.0])
def test_a_deadline_that_is_over_still_gives_the_run_one_look(mosaic: Emulator, run_id: str, deadline: float) -> None:
    assert event_of(waits_for(run_id, deadline=deadline)) == {"outcome": "timeout", "id": run_id}
    mosaic.finish_run(run_id)
    assert event_of(waits_for(run_id, deadline=deadline))["outcome"] == "ended"


@pytest.mark.alone
def test_the_deadline_is_kept_by_the_wall_clock_over_a_restart(mosaic: Emulator, run_id: str) -> None:
    deadline = time.time() + 0.5

    async def restarted() -> dict[str, Any]:
        first = asyncio.create_task(anext(waits_for(run_id, deadline=deadline).run()))
        await asyncio.sleep(0.3)
        first.cancel()
        return (await anext(waits_for(run_id, deadline=deadline).run())).payload

    event = run_bounded(restarted())
    assert event == {"outcome": "timeout", "id": run_id}
    assert deadline <= time.time() < deadline + 0.25


# Faults


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("server_error", {"status": 500}),
    ("server_error", {"status": 503, "body": "html", "retry_after": 0}),
    ("rate_limit", {"retry_after": 0}),
    ("reset", {}),
    ("answer_lost", {}),
    ("html", {}),
    ("truncated_json", {}),
    ("empty", {}),
]


@pytest.mark.parametrize(("fault", "options"), FAULTS, ids=lambda value: str(value))
def test_a_wait_outlives_nineteen_faults_in_a_row_and_gives_up_at_the_twentieth(
    mosaic: Emulator, run_id: str, fault: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise they would also have to last a quarter of an hour.
    monkeypatch.setattr(waiting, "ERRORS_TIMEOUT", 0.0)
    # A 429 that asks for no pause is given one all the same.
    monkeypatch.setattr(pacing, "_LONGEST_PAUSE", 0.002)
    mosaic.finish_run(run_id)
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_ERRORS - 1, **options)
    assert event_of(waits_for(run_id, poll_interval=0.002))["outcome"] == "ended"
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_ERRORS, **options)
    event = event_of(waits_for(run_id, poll_interval=0.002))
    assert event["outcome"] == "error"
    assert event["transient"] is True
    assert sent(mosaic, "GET " + GET_RUN) == 2 * MAX_ERRORS
    assert effects(mosaic) == {"runs_started": 1}


def test_a_good_look_in_between_begins_the_count_anew(mosaic: Emulator, run_id: str) -> None:
    for _ in range(2):
        mosaic.inject("server_error", method="GET", path=GET_RUN, times=MAX_ERRORS - 1)
        mosaic.inject("unknown_status", method="GET", path=GET_RUN, status="thinking")
    mosaic.finish_run(run_id)
    assert event_of(waits_for(run_id))["outcome"] == "ended"


def test_not_found_three_times_is_believed(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("not_found", method="GET", path=GET_RUN, times=MAX_NOT_FOUND - 1)
    assert event_of(waits_for(run_id))["outcome"] == "ended"
    mosaic.forget_run(run_id)
    event = event_of(waits_for(run_id))
    assert (event["outcome"], event["error"], event["transient"]) == ("error", "MosaicNotFoundError", False)


def test_not_found_is_not_believed_of_what_was_begun_a_moment_ago(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("not_found", method="GET", path=GET_RUN, times=MAX_NOT_FOUND + 5)
    assert event_of(waits_for(run_id, begun=time.time()))["outcome"] == "ended"


@pytest.mark.parametrize(
    ("fault", "error"), [("unauthorized", "MosaicAuthenticationError"), ("forbidden", "MosaicPermissionError")]
)
def test_a_refusal_is_believed_after_some_in_a_row_and_a_retry_may_find_it_mended(
    mosaic: Emulator, run_id: str, fault: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise they would also have to last five minutes.
    monkeypatch.setattr(waiting, "REFUSALS_TIMEOUT", 0.0)
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_REFUSALS)
    event = event_of(waits_for(run_id))
    assert (event["outcome"], event["error"], event["transient"]) == ("error", error, True)
    assert mosaic.api_key not in json.dumps(event)
    assert sent(mosaic, "GET " + GET_RUN) == MAX_REFUSALS


@pytest.mark.parametrize("fault", ["unauthorized", "forbidden"])
def test_fewer_refusals_or_ones_that_did_not_last_are_borne(mosaic: Emulator, run_id: str, fault: str) -> None:
    mosaic.inject(fault, method="GET", path=GET_RUN, times=MAX_REFUSALS + 3)
    mosaic.finish_run(run_id)
    assert event_of(waits_for(run_id))["outcome"] == "ended"
    assert sent(mosaic, "GET " + GET_RUN) == MAX_REFUSALS + 4


def test_the_server_is_given_the_time_that_it_asks_for(mosaic: Emulator, run_id: str) -> None:
    mosaic.finish_run(run_id)
    mosaic.inject("rate_limit", method="GET", path=GET_RUN, retry_after=1)
    event_of(waits_for(run_id))
    first, second = (request["time"] for request in mosaic.requests() if request["template"] == GET_RUN)
    assert second - first >= 1.0


def test_a_hanging_server_costs_one_look(mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = json.loads(mosaic.airflow_connection()) | {"extra": {"timeout": 1}}
    monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", json.dumps(impatient))
    mosaic.finish_run(run_id)
    mosaic.inject("hang", method="GET", path=GET_RUN)
    assert event_of(waits_for(run_id))["outcome"] == "ended"


def test_a_server_that_is_away_is_waited_for(mosaic: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "ERRORS_TIMEOUT", 0.0)
    monkeypatch.setenv(
        "AIRFLOW_CONN_MOSAIC_DEFAULT", '{"conn_type":"mosaic","host":"http://127.0.0.1:9","password":"k"}'
    )
    event = event_of(waits_for("r", poll_interval=0.001))
    assert (event["error"], event["transient"]) == ("MosaicTransportError", True)


def test_a_missing_connection_is_believed_after_some_lookups_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise they would also have to last five minutes.
    monkeypatch.setattr(waiting, "REFUSALS_TIMEOUT", 0.0)
    event = event_of(waits_for("r", mosaic_conn_id="nowhere"))
    assert (event["outcome"], event["error"], event["transient"]) == ("error", "MosaicConnectionError", True)
    assert "mosaic_conn_id='nowhere'" in event["message"]


WRONG = json.dumps({"conn_type": "mosaic", "password": ""})


@pytest.mark.parametrize("broken", [None, WRONG], ids=["not found", "without a key"])
def test_a_wait_whose_first_lookups_fail_goes_on_when_the_connection_is_back(
    mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch, broken: str | None
) -> None:
    good = mosaic.airflow_connection()
    if broken is None:
        monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")
    else:
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", broken)
    mosaic.finish_run(run_id)

    async def wait() -> dict[str, Any]:
        waiting_for = asyncio.create_task(anext(waits_for(run_id).run()))
        await asyncio.sleep(0.3)
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", good)
        return dict((await waiting_for).payload)

    assert run_bounded(wait())["outcome"] == "ended"


def test_a_killed_trigger_looks_its_connection_up_again_until_it_can_cancel(
    mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers_runs, "_LOOKUP_PAUSES", (0.05,) * 4)
    good = mosaic.airflow_connection()
    monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")

    async def kill() -> None:
        killed = asyncio.create_task(waits_for(run_id, cancel_on_kill=True).on_kill())
        await asyncio.sleep(0.08)
        monkeypatch.setenv("AIRFLOW_CONN_MOSAIC_DEFAULT", good)
        await killed

    run_bounded(kill())
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def test_a_connection_that_cannot_be_looked_up_for_a_while_does_not_end_the_wait(
    mosaic: Emulator, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat import connection as compat

    real, looks = compat.get_async_connection, []

    async def away_at_first(conn_id: str) -> Any:
        looks.append(conn_id)
        if len(looks) < 3:
            raise ConnectionError("the API server restarts")
        return await real(conn_id)

    monkeypatch.setattr(compat, "get_async_connection", away_at_first)
    mosaic.finish_run(run_id)
    assert event_of(waits_for(run_id))["outcome"] == "ended"
    assert len(looks) == 3


# The event loop


def test_a_cancelled_trigger_ends_as_cancelled_and_cancels_no_run(mosaic: Emulator, run_id: str) -> None:
    async def cancelled() -> None:
        waiting = asyncio.create_task(anext(waits_for(run_id, cancel_on_kill=True).run()))
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_bounded(cancelled())
    assert effects(mosaic) == {"runs_started": 1}


@pytest.mark.parametrize("way", ["ended", "cancelled", "error"])
def test_a_trigger_leaves_no_connection_open(
    mosaic: Emulator, run_id: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_mosaic.triggers import shared_client as session

    opened: list[Watched] = []
    closed: list[Watched] = []

    class Watched(session.AsyncClient):
        def __init__(self, access: Access) -> None:
            super().__init__(access)
            opened.append(self)

        async def aclose(self) -> None:
            closed.append(self)
            await super().aclose()

    monkeypatch.setattr(session, "AsyncClient", Watched)

    async def wait() -> None:
        waiting = asyncio.create_task(anext(waits_for(run_id).run()))
        await asyncio.to_thread(until, lambda: sent(mosaic, "GET " + GET_RUN) >= 2)
        if way == "ended":
            await asyncio.to_thread(mosaic.finish_run, run_id)
        elif way == "error":
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
def test_the_event_says_how_the_post_ended(
    mosaic: Emulator, hook: MosaicHook, failing: dict[str, str], status: str
) -> None:
    mosaic.configure(failing_platforms=failing)
    post = hook.create_post("Hello", platforms=["youtube", "tiktok"])
    event = event_of(MosaicSocialPostTrigger(post_id=post.post_id, poll_interval=0.02))
    assert event == {"outcome": "ended", "id": post.post_id, "status": status}
    assert effects(mosaic) == {"posts_made": 1}


def test_the_posts_deadline_is_kept(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(approval=True)
    post = hook.create_post("Hello", social_connection_ids=[ACCOUNT])
    trigger = MosaicSocialPostTrigger(post_id=post.post_id, poll_interval=0.02, deadline=time.time() + 0.1)
    assert event_of(trigger) == {"outcome": "timeout", "id": post.post_id}


# Avatar profiles and credits


@pytest.mark.parametrize(("failing", "status"), [({}, "ready"), ({"Host": "Two people"}, "failed")])
def test_the_event_says_how_the_profile_ended(
    mosaic: Emulator, hook: MosaicHook, failing: dict[str, str], status: str
) -> None:
    mosaic.configure(failing_avatars=failing, avatar_seconds=0.2)
    profile = hook.create_avatar_profile("Host", video_url="https://cdn.example.org/host.mp4")
    event = event_of(MosaicAvatarProfileTrigger(avatar_profile_id=profile.id, poll_interval=0.02))
    assert event == {"outcome": "ended", "id": profile.id, "status": status}
    assert effects(mosaic) == {"avatars_created": 1}


def test_the_profiles_deadline_is_kept(mosaic: Emulator, hook: MosaicHook) -> None:
    mosaic.configure(hold_avatars=True)
    profile = hook.create_avatar_profile("Host", video_url="https://cdn.example.org/host.mp4")
    trigger = MosaicAvatarProfileTrigger(avatar_profile_id=profile.id, poll_interval=0.02, deadline=time.time() + 0.1)
    assert event_of(trigger) == {"outcome": "timeout", "id": profile.id}


@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("balance", [100, 250.5, None])
def test_enough_credits_end_the_wait(mosaic: Emulator, shape: str, balance: float | None) -> None:
    mosaic.configure(credits=balance, credits_answer=shape)
    event = event_of(MosaicCreditsTrigger(min_credits=100, poll_interval=0.02))
    assert event == {"outcome": "ended", "id": "credits", "status": "enough"}


def test_too_few_credits_are_waited_out_until_the_deadline(mosaic: Emulator) -> None:
    mosaic.configure(credits=99.5)
    trigger = MosaicCreditsTrigger(min_credits=100, poll_interval=0.02, deadline=time.time() + 0.2)
    assert event_of(trigger) == {"outcome": "timeout", "id": "credits"}
    assert sent(mosaic, "GET /credits") > 2
    assert {request["method"] for request in mosaic.requests()} == {"GET"}


# On disk


ARGUMENTS = [
    (MosaicRunTrigger, {"run_id": "r"}),
    (
        MosaicRunTrigger,
        {
            "run_id": "r", "mosaic_conn_id": "other", "poll_interval": 5.5, "deadline": 1.5, "begun": 0.5,
            "cancel_on_kill": True,
        },
    ),
    (MosaicSocialPostTrigger, {"post_id": "p"}),
    (
        MosaicSocialPostTrigger,
        {"post_id": "p", "mosaic_conn_id": "other", "poll_interval": 5.5, "deadline": 1.5, "begun": 0.5},
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
def test_arguments_are_json_scalars_and_come_back_as_they_were(kind: type[BaseTrigger], given: dict[str, Any]) -> None:
    path, arguments = kind(**given).serialize()
    assert path == f"{kind.__module__}.{kind.__name__}"
    assert all(value is None or isinstance(value, (str, int, float, bool)) for value in arguments.values())
    assert arguments | given == arguments
    assert kind(**through_airflow(arguments)).serialize() == (path, arguments)


@pytest.mark.parametrize(("kind", "given"), ARGUMENTS)
def test_airflows_own_table_of_triggers_keeps_them(kind: type[BaseTrigger], given: dict[str, Any]) -> None:
    from airflow.models.trigger import Trigger

    path, arguments = kind(**given).serialize()
    row = Trigger(classpath=path, kwargs=arguments)
    assert row.kwargs == arguments


def test_there_are_recordings() -> None:
    assert {path.stem for path in RECORDED} >= {"run-0.1.0", "post-0.1.0", "avatar-0.1.0", "credits-0.1.0"}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_arguments_still_make_a_trigger_that_means_the_same(path: Path) -> None:
    from importlib import import_module

    recorded = json.loads(path.read_text())
    module, _, name = recorded["classpath"].rpartition(".")
    trigger = getattr(import_module(module), name)(**recorded["arguments"])
    assert trigger.serialize()[1] | recorded["arguments"] == trigger.serialize()[1]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_events_are_still_understood(path: Path) -> None:
    recorded = json.loads(path.read_text())
    for entry in recorded["events"]:
        if entry["raises"] is None:
            read_event(entry["event"], entry["event"]["id"], "It")
        else:
            with pytest.raises(Exception, match=r"(?s).*") as failure:
                read_event(entry["event"], entry["event"]["id"], "It")
            assert type(failure.value).__name__ == entry["raises"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_arguments_of_the_method_that_goes_on_are_still_taken(path: Path) -> None:
    import inspect

    from airflow_provider_mosaic import operators, sensors

    recorded = json.loads(path.read_text())
    for entry in recorded["resumes"]:
        kind = getattr(operators, entry["operator"], None) or getattr(sensors, entry["operator"])
        method = getattr(kind, entry["method"])
        inspect.signature(method).bind(None, {}, event=None, **entry["kwargs"])
