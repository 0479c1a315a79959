"""Watchers that poll when Airflow was told by a webhook that a run has ended. A hint alone makes no event."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
from mosaic_emulator import Emulator
from tasks.fixtures import AGENT, run_bounded, sent

from airflow_provider_mosaic.hooks.mosaic import MosaicHook
from airflow_provider_mosaic.triggers import run_watcher, webhook_hints

from .watch import GET_RUN, LIST, OTHER_AGENT, Watching, ended

KEY = "mosaic_webhook.mosaic_default"
#: No poll comes by itself.
RARELY = 3600.0


class Variables:
    """Airflow's Variables, as a triggerer reads them."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.reads: Counter[str] = Counter()
        self.hints = 0
        self.broken = False
        self.hold: asyncio.Event | None = None
        self.cancelled = 0

    async def read(self, name: str) -> str | None:
        self.reads[name] += 1
        if self.broken:
            raise RuntimeError("the API server is away")
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self.values.get(name)

    async def write(self, name: str, value: str, description: str) -> None:
        assert description
        self.values[name] = value

    def hint(self) -> None:
        """Do what the receiver does."""
        self.hints += 1
        self.values[KEY] = f"2026-11-29T01:00:00.{self.hints:06}+00:00"


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Variables:
    variables = Variables()
    monkeypatch.setattr(webhook_hints, "aread_variable", variables.read)
    monkeypatch.setattr(webhook_hints, "awrite_variable", variables.write)
    monkeypatch.setattr(webhook_hints, "_READ_INTERVAL", 0.02)
    monkeypatch.setattr(run_watcher, "_HINT_INTERVAL", 0.05)
    monkeypatch.setattr(run_watcher, "_RECHECK_INTERVAL", RARELY)
    return variables


pytestmark = pytest.mark.usefixtures("quick_handover")


async def polled(watching: Watching, mosaic: Emulator, polls: int = 2) -> None:
    """Wait until so many polls have been sent: by default the first, and that of the first read of the Variable."""
    await watching.until(lambda: sent(mosaic, "GET " + LIST) >= 2 * polls)


def test_hint_makes_a_poll(held: Emulator, hook: MosaicHook, variables: Variables) -> None:
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            await polled(watching, held)
            held.finish_run(run_id, "failed")
            variables.hint()
            await watching.until(lambda: watching.events)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id, "failed")]


def test_hint_alone_makes_no_event(held: Emulator, hook: MosaicHook, variables: Variables) -> None:
    """A forged, repeated or late webhook, or one about the run of another agent or organization."""
    hook.run_agent(AGENT)
    held.finish_run(hook.run_agent(OTHER_AGENT, video_urls=["https://cdn.example.org/a.mp4"]))

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            for polls in range(2, 5):
                await polled(watching, held, polls)
                variables.hint()
            await polled(watching, held, 5)
            return watching.events

    assert run_bounded(scenario()) == []
    assert sent(held, "GET " + GET_RUN) == 0


def test_repeated_hints_report_a_run_once(held: Emulator, hook: MosaicHook, variables: Variables) -> None:
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            await polled(watching, held)
            held.finish_run(run_id)
            for polls in range(3, 7):
                variables.hint()
                await polled(watching, held, polls)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id)]


def test_lost_webhook_delays_the_event_to_the_next_poll(held: Emulator, hook: MosaicHook, variables: Variables) -> None:
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(webhook=True, poll_interval=0.5) as watching:
            await polled(watching, held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.events)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id)]
    assert variables.hints == 0


def test_many_hints_make_few_polls(held: Emulator, variables: Variables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_watcher, "_HINT_INTERVAL", 1.0)

    async def scenario() -> float:
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            await polled(watching, held)
            started = time.monotonic()
            for _ in range(150):
                variables.hint()
                await asyncio.sleep(0.02)
            return time.monotonic() - started

    seconds = run_bounded(scenario())
    assert 2 * 2 < sent(held, "GET " + LIST) <= 2 * (2 + seconds + 1)


def test_poll_of_a_hint_is_repeated_because_lists_lag(
    held: Emulator, hook: MosaicHook, variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watcher, "_RECHECK_INTERVAL", 0.5)
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            # The first poll, that of the first read, and the one after it.
            await polled(watching, held, 3)
            variables.hint()
            await polled(watching, held, 4)
            # The list of the fourth poll still showed the run as running.
            held.finish_run(run_id)
            await watching.until(lambda: watching.events)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id)]


def test_failed_poll_of_a_hint_is_repeated_soon(
    held: Emulator, hook: MosaicHook, variables: Variables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watcher, "_RECHECK_INTERVAL", 0.3)
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            await polled(watching, held, 3)
            held.finish_run(run_id)
            held.inject("server_error", method="GET", path=LIST, times=2)
            variables.hint()
            await watching.until(lambda: watching.events)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id)]


def test_watchers_of_a_connection_share_a_reader(held: Emulator, variables: Variables) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            watchers = [
                await stack.enter_async_context(Watching(webhook=True, agent_id=agent, poll_interval=RARELY))
                for agent in (AGENT, OTHER_AGENT)
            ]
            await polled(watchers[0], held, 4)
            started, before = time.monotonic(), variables.reads[KEY]
            await asyncio.sleep(0.5)
            await watchers[0].until(lambda: variables.reads[KEY] > before)
            reads = variables.reads[KEY] - before
            assert 0 < reads <= (time.monotonic() - started) / 0.02 + 1
            assert len(webhook_hints._readers[asyncio.get_running_loop()]) == 1
            variables.hint()
            await polled(watchers[0], held, 6)
        # Without watchers nothing is read.
        assert webhook_hints._readers[asyncio.get_running_loop()] == {}
        await asyncio.sleep(0)
        before = variables.reads[KEY]
        await asyncio.sleep(0.2)
        assert variables.reads[KEY] == before

    run_bounded(scenario())
    assert set(variables.reads) == {KEY}


def test_missing_variable_is_created_once(held: Emulator, variables: Variables) -> None:
    async def scenario() -> None:
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            await watching.until(lambda: variables.reads[KEY] > 2)

    run_bounded(scenario())
    assert variables.values == {KEY: "none"}


def test_variable_that_cannot_be_read_leaves_the_polls(
    held: Emulator, hook: MosaicHook, variables: Variables, caplog: pytest.LogCaptureFixture
) -> None:
    variables.broken = True
    run_id = hook.run_agent(AGENT)

    async def scenario() -> list[dict[str, Any]]:
        async with Watching(webhook=True, poll_interval=0.3) as watching:
            await polled(watching, held)
            held.finish_run(run_id)
            await watching.until(lambda: watching.events and variables.reads[KEY] > 5)
            return watching.runs

    assert run_bounded(scenario()) == [ended(run_id)]
    assert caplog.text.count(f"Variable {KEY} could not be read") == 1


def test_read_is_not_cancelled(held: Emulator, variables: Variables) -> None:
    """Airflow 3.1 mixes up responses after a cancelled request."""

    async def scenario() -> None:
        variables.hold = asyncio.Event()
        async with Watching(webhook=True, poll_interval=RARELY) as watching:
            await watching.until(lambda: variables.reads[KEY])
        variables.hold.set()
        while not variables.values:
            await asyncio.sleep(0.01)

    run_bounded(scenario())
    assert (variables.cancelled, variables.values) == (0, {KEY: "none"})


def test_without_webhooks_no_variable_is_read(held: Emulator, variables: Variables) -> None:
    async def scenario() -> None:
        async with Watching() as watching:
            await watching.complete_poll(held)

    run_bounded(scenario())
    assert variables.reads == Counter()
