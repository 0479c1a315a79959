"""A kill of a deferred task: its trigger cancels the run, unless another triggerer or attempt has it."""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import GetTaskStates, TaskStatesResult
from mosaic_emulator import Emulator
from tasks.fakes import Deferred, StateStore
from tasks.fixtures import effects, run_bounded, sent, started, until
from tasks.task_runs import run_task

from airflow_provider_mosaic.api import rate_limit
from airflow_provider_mosaic.api.call import Call
from airflow_provider_mosaic.api.errors import (
    MosaicAuthenticationError,
    MosaicConflictError,
    MosaicError,
    MosaicPermissionError,
    MosaicRateLimitError,
    MosaicServerError,
)
from airflow_provider_mosaic.clients import async_client
from airflow_provider_mosaic.clients.async_client import AsyncClient
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import MosaicRunTrigger, poller, shared_client, shared_pollers, task_states
from airflow_provider_mosaic.triggers import runs as run_triggers

CANCEL = "/agent_run/{run_id}/cancel"
GET_RUN = "/agent_run/{run_id}"


@pytest.fixture
def deferred(mosaic: Emulator) -> Deferred:
    mosaic.configure(hold_runs=True)
    deferred = run_task(StateStore(), deferrable=True).execute()
    assert isinstance(deferred, Deferred)
    return deferred


@dataclass
class Triggerer:
    """Airflow's triggerer, which runs the triggers of a mapped task or of one that is not mapped."""

    #: The states of the task instances, by their names.
    states: dict[str, str | None]
    failures: int = 0
    #: Reads after which the task is deferred again.
    reads_until_moved: int | None = None
    requests: list[Any] = field(default_factory=list)

    async def asend(self, request: Any) -> TaskStatesResult | None:
        if not isinstance(request, GetTaskStates):
            # A lookup of a connection masks its secrets.
            return None
        self.requests.append(request)
        if len(self.requests) <= self.failures:
            raise RuntimeError("the database is away")
        if self.reads_until_moved is not None and len(self.requests) > self.reads_until_moved:
            self.states = dict.fromkeys(self.states, "deferred")
        return TaskStatesResult(task_states={"manual__1": self.states})

    def trigger(self, deferred: Deferred, map_index: int = -1) -> Any:
        trigger: Any = deferred.trigger()
        trigger.task_instance = SimpleNamespace(dag_id="dag", run_id="manual__1", task_id="run", map_index=map_index)
        return trigger


@pytest.fixture
def triggerer(monkeypatch: pytest.MonkeyPatch) -> Triggerer:
    triggerer = Triggerer({})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", triggerer, raising=False)
    monkeypatch.setattr("airflow_provider_mosaic.triggers.runs._PAUSES", (0.01,) * 2)
    return triggerer


@pytest.mark.parametrize(
    "state",
    ["failed", "success", "restarting", "scheduled", "queued", "running", None, "deferred", "up_for_retry"],
)
def test_killed_trigger_cancels_the_run_unless_its_task_is_still_deferred(
    mosaic: Emulator, deferred: Deferred, triggerer: Triggerer, caplog: pytest.LogCaptureFixture, state: str | None
) -> None:
    """
    A triggerer that has stalled kills the triggers that another one has taken over.

    If that one has reported an error, a worker has ended the attempt, and a retry continues with the run.
    """
    triggerer.states["run"] = state
    with caplog.at_level("INFO"):
        asyncio.run(triggerer.trigger(deferred).on_kill())
    kept = {"deferred": "is deferred", "up_for_retry": "waits for its retry"}.get(str(state))
    assert (f"Run {started(mosaic)!r} keeps running: its task {kept}." in caplog.messages) is bool(kept)
    assert sent(mosaic, "POST " + CANCEL) == (kept is None)
    assert [(each.dag_id, each.run_ids, each.task_ids) for each in triggerer.requests[:1]] == [
        ("dag", ["manual__1"], ["run"])
    ]


@pytest.mark.parametrize("failures", [2, 3])
def test_killed_trigger_cancels_the_run_only_if_the_state_of_its_task_can_be_read(
    mosaic: Emulator, deferred: Deferred, triggerer: Triggerer, caplog: pytest.LogCaptureFixture, failures: int
) -> None:
    triggerer.states["run"], triggerer.failures = "failed", failures
    asyncio.run(triggerer.trigger(deferred).on_kill())
    kept = failures == 3
    assert (f"run {started(mosaic)!r} could not be cancelled. It may continue" in caplog.text) is kept
    assert sent(mosaic, "POST " + CANCEL) == (not kept)


def test_killed_triggers_of_a_mapped_task_share_the_read_of_their_states(
    mosaic: Emulator, triggerer: Triggerer
) -> None:
    mosaic.configure(hold_runs=True)
    triggerer.states = {"run_0": "deferred", "run_1": "failed", "run_12": "deferred"}
    deferrals = {index: run_task(StateStore(), deferrable=True).execute() for index in (0, 1, 2)}

    async def kill() -> None:
        await asyncio.gather(*(triggerer.trigger(each, index).on_kill() for index, each in deferrals.items()))

    asyncio.run(kill())
    states = {run["run_id"]: run["status"] for run in mosaic.runs()}
    assert [states[each.kwargs["run_id"]] for each in deferrals.values()] == ["running", "cancelled", "cancelled"]
    assert len([each for each in triggerer.requests if isinstance(each, GetTaskStates)]) == 1


def test_killed_trigger_cancels_the_run_although_airflow_cancels_the_kill(
    mosaic: Emulator, deferred: Deferred, triggerer: Triggerer
) -> None:
    """Airflow 3.3 cancels each trigger that has not ended in each loop of its triggerer."""
    triggerer.states["run"] = "failed"

    async def kill() -> None:
        killing = asyncio.create_task(triggerer.trigger(deferred).on_kill())
        await asyncio.sleep(0)
        killing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await killing
        await asyncio.to_thread(until, lambda: mosaic.counts().runs_cancelled)

    run_bounded(kill())
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


@pytest.mark.parametrize("fault", ["server_error", "rate_limit"])
def test_killed_trigger_repeats_no_cancel_once_a_new_attempt_is_deferred(
    mosaic: Emulator, deferred: Deferred, triggerer: Triggerer, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    triggerer.states["run"], triggerer.reads_until_moved = "running", 1
    mosaic.inject(fault, method="POST", path=CANCEL)
    with caplog.at_level("INFO"):
        run_bounded(triggerer.trigger(deferred).on_kill())
    assert "keeps running: its task is deferred. An earlier cancel failed: if the task" in caplog.messages[-1]
    assert sent(mosaic, "POST " + CANCEL) == 1
    assert effects(mosaic) == {"runs_started": 1}


def test_killed_trigger_whose_supervisor_does_not_respond_names_the_run(
    mosaic: Emulator,
    deferred: Deferred,
    triggerer: Triggerer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hang(request: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(triggerer, "asend", hang)
    monkeypatch.setattr(run_triggers, "_TIME_LIMIT", 0.3, raising=False)
    run_bounded(triggerer.trigger(deferred).on_kill(), 20)
    assert f"run {started(mosaic)!r} could not be cancelled" in caplog.messages[-1]
    assert "cancel it in the editor" in caplog.messages[-1]
    assert sent(mosaic, "POST " + CANCEL) == 0


def kill_three(
    mosaic: Emulator, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[AsyncClient], list[int]]:
    """Kill the triggers of three runs. Return the clients, and how many requests ran at the start of each."""
    clients: list[AsyncClient] = []
    running: list[int] = []

    class Watched(AsyncClient):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            clients.append(self)
            self.requests = 0

        async def send(self, *args: Any, **options: Any) -> Any:
            self.requests += 1
            running.append(self.requests)
            try:
                return await super().send(*args, **options)
            finally:
                self.requests -= 1

    for module in (async_client, shared_client):
        monkeypatch.setattr(module, "AsyncClient", Watched)
    mosaic.configure(hold_runs=True)
    triggerer.states = {f"run_{index}": "failed" for index in range(3)}
    deferrals = [run_task(StateStore(), deferrable=True).execute() for _ in range(3)]

    async def kill() -> None:
        await asyncio.gather(*(triggerer.trigger(each, index).on_kill() for index, each in enumerate(deferrals)))
        assert shared_pollers._pollers.get(asyncio.get_running_loop(), {}) == {}

    run_bounded(kill(), 60)
    return clients, running


def test_killed_triggers_share_a_client_and_send_few_cancels_at_once(
    mosaic: Emulator, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow kills all triggers of a DAG run at once."""
    monkeypatch.setattr(poller, "_MAX_CANCELS", 2, raising=False)
    clients, running = kill_three(mosaic, triggerer, monkeypatch)
    assert len(clients) == 1
    assert max(running) == 2
    assert effects(mosaic) == {"runs_started": 3, "runs_cancelled": 3}


def test_killed_triggers_share_a_rate_limit(
    mosaic: Emulator, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mosaic.inject("rate_limit", method="POST", path=CANCEL, retry_after=60)
    monkeypatch.setattr(poller, "_MAX_CANCELS", 1, raising=False)
    for limit in ("_TIME_LIMIT", "_MAX_QUEUE"):
        monkeypatch.setattr(run_triggers, limit, 2.0)
    kill_three(mosaic, triggerer, monkeypatch)
    assert sent(mosaic, "POST " + CANCEL) <= 1
    assert [sum(f"{count} cancel was sent" in line for line in caplog.messages) for count in ("A", "No")] == [1, 2]


def test_killed_trigger_without_cancel_on_kill_keeps_the_run(mosaic: Emulator) -> None:
    mosaic.configure(hold_runs=True)
    asyncio.run(run_task(StateStore(), deferrable=True, cancel_on_kill=False).execute().trigger().on_kill())
    assert effects(mosaic) == {"runs_started": 1}
    assert sent(mosaic, "POST " + CANCEL) == 0


@pytest.mark.parametrize(
    ("missing", "status", "event"),
    [
        (1, "running", "Mosaic accepted the cancel"),
        (1, "completed", "had ended already"),
        (None, "completed", "had ended already"),
        (None, "running", "could not be cancelled. It may continue and cost credits"),
    ],
)
def test_killed_trigger_sends_a_cancel_again_that_gets_a_404_and_then_reads_the_run(
    mosaic: Emulator,
    deferred: Deferred,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    missing: int | None,
    status: str,
    event: str,
) -> None:
    monkeypatch.setattr("airflow_provider_mosaic.triggers.runs._PAUSES", (0.01,) * 2)
    mosaic.configure(cancel_terminal_status=200)
    mosaic.inject("not_found", method="POST", path=CANCEL, times=missing)
    if status != "running":
        mosaic.finish_run(started(mosaic), status)
    reads = sent(mosaic, "GET " + GET_RUN)
    with caplog.at_level("INFO"):
        asyncio.run(deferred.trigger().on_kill())
    assert event in caplog.messages[-1]
    repeats = 0 if status == "completed" else missing or 2
    assert sent(mosaic, "POST " + CANCEL) == 1 + repeats
    assert sent(mosaic, "GET " + GET_RUN) == reads + (missing or 1 + repeats)


@pytest.mark.parametrize(
    ("reads_as_running", "event"),
    [(1, "had ended already"), (None, "could not be cancelled. It may continue and cost credits")],
)
def test_killed_trigger_sends_a_cancel_again_that_stopped_nothing_in_a_running_run(
    mosaic: Emulator,
    deferred: Deferred,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reads_as_running: int | None,
    event: str,
) -> None:
    """Mosaic may stop nothing while a run is queued, or between two nodes."""
    monkeypatch.setattr(run_triggers, "_PAUSES", (0.01,) * 2)
    # The emulator stops nothing in a run that has ended. Its reads show the run as running.
    mosaic.configure(cancel_terminal_status=200)
    mosaic.finish_run(started(mosaic))
    mosaic.inject("unknown_status", method="GET", path=GET_RUN, status="running", times=reads_as_running)
    with caplog.at_level("INFO"):
        asyncio.run(deferred.trigger().on_kill())
    assert event in caplog.messages[-1]
    assert sum("Mosaic found nothing to cancel in run" in line for line in caplog.messages) == (reads_as_running or 3)
    assert sent(mosaic, "POST " + CANCEL) == 1 + (reads_as_running or 2)


@pytest.mark.parametrize("prepare", ["ended", "broken", "forbidden", "no connection"])
def test_killed_trigger_that_cannot_cancel_raises_nothing(
    mosaic: Emulator, deferred: Deferred, prepare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_triggers, "_PAUSES", (0.1,))
    if prepare == "ended":
        mosaic.finish_run(started(mosaic))
    elif prepare == "broken":
        mosaic.inject("server_error", method="POST", path=CANCEL, status=502)
    elif prepare == "forbidden":
        mosaic.inject("forbidden", method="POST", path=CANCEL, times=None)
    else:
        monkeypatch.delenv("AIRFLOW_CONN_MOSAIC_DEFAULT")
    asyncio.run(deferred.trigger().on_kill())
    assert mosaic.counts().runs_cancelled == (1 if prepare == "broken" else 0)


def test_states_of_killed_tasks_are_dropped(
    mosaic: Emulator, deferred: Deferred, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mapped task has thousands of them."""
    monkeypatch.setattr(task_states, "_FRESH", 0.05)
    triggerer.states["run"] = "failed"

    async def kill() -> None:
        await triggerer.trigger(deferred).on_kill()
        await asyncio.to_thread(until, lambda: not task_states._batches)

    run_bounded(kill())
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


async def accept(call: Call[Any]) -> None:
    """Let a request succeed at once."""


@dataclass
class Client:
    """The client of a poller. Its server has only running runs."""

    #: Called before each response. It can raise the error of the request.
    respond: Callable[[Call[Any]], Awaitable[None]] = accept
    #: Method and run of each request.
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: Runs whose cancels were accepted.
    cancelled: list[str] = field(default_factory=list)

    async def send(self, call: Call[Any]) -> Any:
        run_id = call.ids["run_id"]
        self.requests.append((call.method, run_id))
        await self.respond(call)
        if call.method == "POST":
            self.cancelled.append(run_id)
        return call.read({"run_id": run_id, "status": "running"})

    async def open(self) -> None: ...

    def request_refresh(self) -> None: ...

    async def aclose(self) -> None: ...


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(shared_pollers, "SharedClient", lambda look_up: client)
    monkeypatch.setattr(run_triggers, "_PAUSES", (0.01,) * 2)
    return client


async def kill(*run_ids: str) -> None:
    """Kill the triggers of runs at the same time."""
    await asyncio.gather(*(MosaicRunTrigger(run_id=each, cancel_on_kill=True).on_kill() for each in run_ids))


def test_all_cancels_of_a_mass_kill_arrive_although_the_server_limits_each_burst(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "_FIRST_OWN_COOLDOWN", 0.05)
    monkeypatch.setattr(run_triggers, "_TIME_LIMIT", 10.0)
    run_ids = [f"r{number}" for number in range(60)]
    limited_until = 0.0

    async def limit_bursts(call: Call[Any]) -> None:
        nonlocal limited_until
        now = asyncio.get_running_loop().time()
        if now < limited_until:
            raise MosaicRateLimitError("slow down")
        if len(client.cancelled) % 3 == 2:
            limited_until = now + 0.04

    client.respond = limit_bursts
    run_bounded(kill(*run_ids))
    assert sorted(client.cancelled) == sorted(run_ids)


class Jumps(selectors.DefaultSelector):
    """A selector that does not wait."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "Nothing is left to wait for."
        self.waited += max(timeout, 0.0)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer: minutes take no time. It waits for no other thread."""

    def __init__(self) -> None:
        self._jumps = Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.waited


@pytest.mark.parametrize("has_errors", [False, True])
def test_all_cancels_of_a_mass_kill_arrive_although_the_server_permits_few_a_second(
    client: Client, monkeypatch: pytest.MonkeyPatch, has_errors: bool
) -> None:
    """The queue takes longer than the first cancel waits for a cooldown, and than the time limit of each cancel."""

    async def is_logged() -> None: ...

    monkeypatch.setattr(run_triggers, "log_in_thread", lambda log, line: None)
    monkeypatch.setattr(run_triggers, "wait_until_logged", is_logged)
    run_ids = [f"r{number}" for number in range(400)]
    requests: Counter[int] = Counter()
    failed: set[str] = set()

    async def limit(call: Call[Any]) -> None:
        second = int(asyncio.get_running_loop().time())
        requests[second] += 1
        is_limited = requests[second] > 2
        await asyncio.sleep(0.1)
        if is_limited:
            raise MosaicRateLimitError("slow down", retry_after=1.0)
        run_id = call.ids["run_id"]
        if has_errors and run_id.endswith("0") and run_id not in failed:
            failed.add(run_id)
            raise MosaicServerError("away")

    client.respond = limit
    loop = JumpingLoop()
    try:
        loop.run_until_complete(kill(*run_ids))
    finally:
        loop.close()
    assert sorted(client.cancelled) == sorted(run_ids)
    # Few are sent before the first 429 of a second arrives, and none after it.
    assert max(requests.values()) < 2 * poller._MAX_CANCELS


@pytest.mark.parametrize("error", [MosaicConflictError, MosaicAuthenticationError, MosaicPermissionError])
def test_cancel_that_is_rejected_once_is_sent_again(client: Client, error: type[MosaicError]) -> None:
    errors = [error("rejected")]

    async def reject_once(call: Call[Any]) -> None:
        if call.method == "POST" and errors:
            raise errors.pop()

    client.respond = reject_once
    run_bounded(kill("r0"))
    assert client.cancelled == ["r0"]


def test_killed_trigger_looks_up_the_connection_before_it_reads_the_state_of_its_task(
    mosaic: Emulator, deferred: Deferred, triggerer: Triggerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow lookup leaves no time in which the task can move before the cancel is sent."""
    triggerer.states["run"] = "failed"
    look_up = MosaicHook.look_up_access

    async def recorded(hook: MosaicHook) -> Any:
        triggerer.requests.append("lookup")
        return await look_up(hook)

    monkeypatch.setattr(MosaicHook, "look_up_access", recorded)
    run_bounded(triggerer.trigger(deferred).on_kill())
    first, second = triggerer.requests
    assert first == "lookup"
    assert isinstance(second, GetTaskStates)
    assert effects(mosaic) == {"runs_started": 1, "runs_cancelled": 1}


def cancels_of(client: Client, run_id: str) -> int:
    return client.requests.count(("POST", run_id))


async def hang(call: Call[Any]) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("is_limited", [False, True])
def test_first_cancel_does_not_wait_for_the_end_of_a_long_cooldown(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_limited: bool
) -> None:
    """A server that limits polls for minutes may still accept a cancel."""
    monkeypatch.setattr(run_triggers, "_MAX_COOLDOWN", 0.1, raising=False)
    for limit_name in ("_TIME_LIMIT", "_MAX_QUEUE"):
        monkeypatch.setattr(run_triggers, limit_name, 1.0)

    async def limit(call: Call[Any]) -> None:
        if call.method == "GET" or is_limited:
            raise MosaicRateLimitError("slow down", retry_after=300)

    async def scenario() -> None:
        wait = asyncio.create_task(anext(MosaicRunTrigger(run_id="r0").run()))  # type: ignore[arg-type]
        await asyncio.to_thread(until, lambda: client.requests)
        await kill("r1")
        wait.cancel()
        await asyncio.wait([wait])

    client.respond = limit
    run_bounded(scenario())
    assert cancels_of(client, "r1") == 1
    assert client.cancelled == ([] if is_limited else ["r1"])
    reported = "cancel it in the editor. The time limit is over. A cancel was sent. slow down" in caplog.text
    assert reported is is_limited


def test_cancel_that_hangs_is_sent_again_and_holds_its_slot_for_a_short_time(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(poller, "_MAX_CANCELS", 1)
    monkeypatch.setattr(poller, "_MAX_CANCEL_SECONDS", 0.05, raising=False)
    monkeypatch.setattr(run_triggers, "_TIME_LIMIT", 2.0)

    async def hang_once(call: Call[Any]) -> None:
        if call.ids["run_id"] == "r0" or cancels_of(client, "r1") == 1:
            await hang(call)

    client.respond = hang_once
    run_bounded(kill("r0", "r1"))
    assert client.cancelled == ["r1"]
    assert cancels_of(client, "r0") == 3
    assert "A cancel was sent. Could not cancel run 'r0'" in caplog.messages[-1]


def test_time_limit_of_a_cancel_starts_with_its_first_slot(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "_MAX_CANCELS", 1)
    monkeypatch.setattr(run_triggers, "_TIME_LIMIT", 1.0)

    async def respond_late(call: Call[Any]) -> None:
        await asyncio.sleep(0.4)

    client.respond = respond_late
    run_bounded(kill("r0", "r1", "r2", "r3"))
    assert sorted(client.cancelled) == ["r0", "r1", "r2", "r3"]


def test_triggerer_that_ends_during_a_cancel_names_the_run(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.respond = hang

    async def scenario() -> None:
        killing = asyncio.create_task(kill("r0"))
        await asyncio.to_thread(until, lambda: client.requests)
        # Airflow does so after a second, and closes the task's log.
        killing.cancel()
        await asyncio.wait([killing])
        await asyncio.to_thread(until, lambda: "Cancelling run 'r0' unless" in caplog.text)
        assert "could not be cancelled" not in caplog.text

    with caplog.at_level("INFO"):
        run_bounded(scenario())
    assert "run 'r0' could not be cancelled" in caplog.messages[-1]
    assert caplog.messages[-1].endswith("The triggerer ends. A cancel was sent.")
