"""Fixtures for the tests of tasks, operators, sensors and triggers."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from typing import Any, TypeVar

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic.agents_as_code import agents_by_name
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.durable import reads
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks import reporting, run_cancels
from airflow_provider_mosaic.triggers import shared_pollers as polling

T = TypeVar("T")

#: The emulator's agent that takes no input.
AGENT = "a0000000-0000-4000-8000-000000000004"
START = "/agent/{agent_id}/run"
ACCOUNT = "c0000000-0000-4000-8000-000000000001"
OTHER_ACCOUNT = "c0000000-0000-4000-8000-000000000002"


TASK_MODULES = ("runs", "run_cancels", "run_resumes", "post_waits", "youtube")


#: The pauses of late effects, which :func:`short_pauses` shortens.
LATE_EFFECT_PAUSES = reads._PAUSES

#: The limits of a kill in seconds, which :func:`short_pauses` raises.
KILL_LIMITS = {name: getattr(run_cancels, name) for name in ("_CHECK_TIMEOUT", "_LAST_REQUEST_TIMEOUT")}


class Clock:
    """A clock that a sleep advances. It really sleeps a little, so that other threads run."""

    def __init__(self) -> None:
        self._slept = self._stepped = 0.0
        self._made_at = time.monotonic()
        #: The requested sleeps.
        self.pauses: list[float] = []
        #: Called after each sleep.
        self.on_sleep: Callable[[], None] = lambda: None

    @property
    def elapsed(self) -> float:
        """Seconds of sleeps and of work. On a busy machine the code works longer, and sleeps less before a deadline."""
        return self.monotonic() - self._made_at

    def time(self) -> float:
        return time.time() + self._slept + self._stepped

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._stepped += seconds

    def sleep(self, seconds: float) -> None:
        really = min(seconds, 0.02)
        self.pauses.append(seconds)
        time.sleep(really)
        self._slept += seconds - really
        self.on_sleep()

    def monotonic(self) -> float:
        return time.monotonic() + self._slept


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the two minutes of a search pass at once. Triggers keep the real clock."""
    clock = Clock()
    modules = ("create_once", "completion_waiter", "reads")
    for name in (*(f"durable.{each}" for each in modules), *(f"tasks.{each}" for each in TASK_MODULES)):
        module = import_module(f"airflow_provider_mosaic.{name}")
        if hasattr(module, "time"):
            monkeypatch.setattr(module, "time", clock)
    monkeypatch.setitem(SyncClient.__init__.__kwdefaults__, "sleep", clock.sleep)  # type: ignore[index]
    return clock


def in_pause(clock: Clock, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], *, number: int = 1) -> None:
    """
    Call a function at the start of a pause of the task. The pauses between the requests of one call do not count.

    :param number: Which of the next pauses.
    """
    sleep, numbers = clock.sleep, itertools.count(1)

    def act_and_sleep(seconds: float) -> None:
        if next(numbers) == number:
            act()
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", act_and_sleep)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten pauses, with the same number of reads, defer for as short as possible, and let a kill take long."""
    monkeypatch.setattr(reads, "_PAUSES", (0.01,) * len(reads._PAUSES))
    monkeypatch.setattr(polling, "shortest_deferral", lambda: 0.0)
    # A busy machine stalls for longer than a kill may take.
    for name in KILL_LIMITS:
        monkeypatch.setattr(run_cancels, name, 60.0)


@pytest.fixture
def mosaic(mosaic_emulator: Emulator, mosaic_connection: str) -> Emulator:
    """Return the emulator, with the connection ``mosaic_default`` to it."""
    return mosaic_emulator


@pytest.fixture
def as_production_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the emulator as the production API, whose agents the editor shows."""
    monkeypatch.setattr(reporting, "_API_HOST", "127.0.0.1")


@pytest.fixture
def hook(mosaic: Emulator) -> Iterator[MosaicHook]:
    hook = MosaicHook()
    yield hook
    hook.close()


@pytest.fixture(autouse=True)
def no_duplicate_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check for duplicate agents without a delay."""
    monkeypatch.setattr(agents_by_name, "_DUPLICATE_DELAY", 0.0)


class Lookups:
    """Connection lookups on workers that fail as Airflow's do."""

    def __init__(self) -> None:
        self._failing = 0.0

    def fail(self, times: float = float("inf")) -> None:
        """Let the next lookups fail."""
        self._failing = times

    def one_fails(self) -> bool:
        """Return whether the current lookup fails."""
        self._failing -= 1
        return self._failing >= 0


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    """Let lookups fail. Airflow's client reports an error of its API server as a missing connection."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    lookups, real = Lookups(), MosaicHook.get_connection

    def get_connection(conn_id: str) -> Any:
        if lookups.one_fails():
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
        return real(conn_id)

    monkeypatch.setattr(MosaicHook, "get_connection", staticmethod(get_connection))
    return lookups


def until(read: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Call a function until it returns something."""
    deadline = time.monotonic() + seconds
    while not (result := read()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.005)
    return result


def run_bounded(coroutine: Coroutine[Any, Any, T], seconds: float = 120.0) -> T:
    """Run a coroutine as :func:`asyncio.run` does, with a timeout. A wait that never ends fails the test."""

    async def bounded() -> T:
        return await asyncio.wait_for(coroutine, seconds)

    return asyncio.run(bounded())


class InBackground:
    """Runs a function on another thread while the task runs, and waits for it."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> InBackground:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(90)
        assert not self._thread.is_alive(), "the function never returned"
        if self._error is not None:
            raise self._error


def started(mosaic: Emulator, count: int = 1) -> str:
    """Return the last run, once there are ``count``."""
    runs = until(lambda: (all_runs := mosaic.runs()) and len(all_runs) >= count and all_runs)
    return str(runs[-1]["run_id"])


def effects(mosaic: Emulator) -> dict[str, int]:
    """Return what the server did, without reads."""
    counts = mosaic.counts()
    names = (
        "runs_started", "runs_resumed", "runs_cancelled", "posts_made", "uploads_stored", "uploads_finalized",
        "avatars_created", "channels_added", "channels_removed",
    )  # fmt: skip
    return {name: getattr(counts, name) for name in names if getattr(counts, name)}


def nothing_was_done(mosaic: Emulator) -> bool:
    """Return whether only reads were sent."""
    return effects(mosaic) == {} and all(request["method"] == "GET" for request in mosaic.requests())


def sent(mosaic: Emulator, request: str) -> int:
    """Return how many requests of a kind the server received."""
    return mosaic.counts().requests.get(request, 0)
