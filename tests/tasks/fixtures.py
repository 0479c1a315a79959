"""Fixtures that the tests of tasks, operators, sensors and triggers share."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from importlib import import_module
from typing import Any, TypeVar

import pytest
from mosaic_emulator import Emulator

from airflow_provider_mosaic import links
from airflow_provider_mosaic.clients.sync_client import SyncClient
from airflow_provider_mosaic.durable import completion_waiter as waiting
from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.tasks import outputs
from airflow_provider_mosaic.triggers import shared_pollers as polling

T = TypeVar("T")

#: The emulator's agent that takes no input.
AGENT = "a0000000-0000-4000-8000-000000000004"
START = "/agent/{agent_id}/run"
ACCOUNT = "c0000000-0000-4000-8000-000000000001"
OTHER_ACCOUNT = "c0000000-0000-4000-8000-000000000002"


TASK_MODULES = ("run_waits", "post_waits", "existing_runs", "youtube", "outputs")


class Clock:
    """A clock that a sleep moves on, instead of waiting for it; a little is really waited, so that others get on."""

    def __init__(self) -> None:
        self._ahead = 0.0
        #: What was asked for.
        self.pauses: list[float] = []

    def time(self) -> float:
        return time.time() + self._ahead

    def sleep(self, seconds: float) -> None:
        really = min(seconds, 0.02)
        self.pauses.append(seconds)
        time.sleep(really)
        self._ahead += seconds - really

    def monotonic(self) -> float:
        return self.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Two minutes of looking pass at once. The deadlines of waits are not touched by it."""
    clock = Clock()
    modules = ("create_once", "completion_waiter")
    for name in (*(f"durable.{each}" for each in modules), *(f"tasks.{each}" for each in TASK_MODULES)):
        module = import_module(f"airflow_provider_mosaic.{name}")
        if hasattr(module, "time"):
            monkeypatch.setattr(module, "time", clock)
    monkeypatch.setitem(SyncClient.__init__.__kwdefaults__, "sleep", clock.sleep)  # type: ignore[index]
    return clock


@pytest.fixture(autouse=True)
def short_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there is believed sooner, after as many looks; and no supervisor has to notice a deferral here."""
    monkeypatch.setattr(outputs, "_PAUSES", (0.01,) * len(outputs._PAUSES))
    monkeypatch.setattr(waiting, "_NEW_PAUSES", (0.01,) * len(waiting._NEW_PAUSES))
    monkeypatch.setattr(polling, "shortest_deferral", lambda: 0.0)


@pytest.fixture
def mosaic(mosaic_emulator: Emulator, mosaic_connection: str) -> Emulator:
    """A local Mosaic, and the connection ``mosaic_default`` to it."""
    return mosaic_emulator


@pytest.fixture
def as_mosaic_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's address is taken for that of Mosaic, whose editor shows its agents."""
    monkeypatch.setattr(links, "_API_HOST", "127.0.0.1")


@pytest.fixture
def hook(mosaic: Emulator) -> Iterator[MosaicHook]:
    hook = MosaicHook()
    yield hook
    hook.close()


class Lookups:
    """The lookups of connections on workers: as many as wanted fail, as Airflow has them fail."""

    def __init__(self) -> None:
        self._failing = 0.0

    def fail(self, times: float = float("inf")) -> None:
        """Let the next ones fail."""
        self._failing = times

    def one_fails(self) -> bool:
        """Whether the present one does."""
        self._failing -= 1
        return self._failing >= 0


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    """Airflow's API server fails at times, and its client reports that there is no such connection."""
    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    lookups, real = Lookups(), MosaicHook.get_connection

    def get_connection(conn_id: str) -> Any:
        if lookups.one_fails():
            raise AirflowNotFoundException(f"The conn_id `{conn_id}` isn't defined")
        return real(conn_id)

    monkeypatch.setattr(MosaicHook, "get_connection", staticmethod(get_connection))
    return lookups


def until(look: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Look until there is something to see."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
    return seen


def run_bounded(course: Coroutine[Any, Any, T], seconds: float = 120.0) -> T:
    """
    What :func:`asyncio.run` does, for so many seconds at most: a wait that should have ended fails the test then, and
    so does what it waited for and what went wrong on another thread.
    """

    async def bounded() -> T:
        return await asyncio.wait_for(course, seconds)

    return asyncio.run(bounded())


class Meanwhile:
    """Something that happens on another thread while the task works; it must have come to its end."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self._act()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(15)
        assert not self._thread.is_alive(), "what should have happened meanwhile never came to its end"
        if self._error is not None:
            raise self._error


def started(mosaic: Emulator, count: int = 1) -> str:
    """The run that was started last, once there are so many."""
    runs = until(lambda: (all_runs := mosaic.runs()) and len(all_runs) >= count and all_runs)
    return str(runs[-1]["run_id"])


def effects(mosaic: Emulator) -> dict[str, int]:
    """What the server did, the reads left out."""
    counts = mosaic.counts()
    names = (
        "runs_started", "runs_resumed", "runs_cancelled", "posts_made", "uploads_stored", "uploads_finalized",
        "avatars_created", "channels_added", "channels_removed",
    )  # fmt: skip
    return {name: getattr(counts, name) for name in names if getattr(counts, name)}


def nothing_was_done(mosaic: Emulator) -> bool:
    """Whether nothing was sent but reads."""
    return effects(mosaic) == {} and all(request["method"] == "GET" for request in mosaic.requests())


def sent(mosaic: Emulator, request: str) -> int:
    """How many requests of a kind the server received."""
    return mosaic.counts().requests.get(request, 0)
